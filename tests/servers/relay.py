"""relay.py NAME NAME: two TUN devices with a long, slow wire between them.  It says when they
are there, and ends, with them, at the end of its input.
"""
import collections
import fcntl
import os
import select
import struct
import sys
import time

ONE_WAY = 0.020
BYTES_A_SECOND = 40e6 / 8
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def device(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


class Wire:
    """One way: a packet arrives its length and the way after it could leave."""

    def __init__(self, origin, end):
        self.origin, self.end = origin, end
        self.packets = collections.deque()
        self.free = 0.0

    def take(self):
        packet = os.read(self.origin, 65536)
        self.free = max(self.free, time.monotonic()) + len(packet) / BYTES_A_SECOND
        self.packets.append((self.free + ONE_WAY, packet))

    def give(self):
        """What has arrived: the time until the next does, or None."""
        while self.packets:
            wait = self.packets[0][0] - time.monotonic()
            if wait > 0:
                return wait
            try:
                os.write(self.end, self.packets.popleft()[1])
            except OSError:
                pass  # the device is not up: the wire loses it
        return None


def relay(one, other):
    wires = {one: Wire(one, other), other: Wire(other, one)}
    while True:
        waits = [w for w in [wire.give() for wire in wires.values()] if w is not None]
        ready, _, _ = select.select([sys.stdin, *wires], [], [], min(waits, default=None))
        if sys.stdin in ready:
            return
        for tun in ready:
            wires[tun].take()


ends = [device(name) for name in sys.argv[1:3]]
print("there", flush=True)
relay(*ends)
