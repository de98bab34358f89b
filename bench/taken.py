"""How long a sender is stalled by bytes that were read but are still the kernel's.

The sender fills its peer's queue until nothing more fits. The peer then reads 200
records of 64 bytes, which natively makes room at once, and computes without a call. The
library serves such reads from a copy and takes the bytes out of the kernel later: the
sender may wait for that no longer than the delay, and the p99 lateness of a nanosleep
loop that runs beside it on the same core.
"""

import contextlib
import fcntl
import os
import socket
import struct
import time

import delay
import lib

ABOUT = "how long a sender waits for room that its peer's reads have made"
RECORD = 64
BLOCK = b"w" * RECORD * 16  # a send
END = b"E" * RECORD
SEGMENT = 1448  # an Ethernet's: on loopback's 64 KiB no window opens for a few KiB
UNIX_QUEUE = 16 << 10
SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B
ROUND_S = 2
SHARE = 0.95  # one native TCP stall in a hundred lasts milliseconds
WARM_UP = 10  # rounds in which TCP finds its window


class Sender:
    def __init__(self, server, kind):
        self.server = server
        if kind == "TCP":
            host, _, port = server.address.rpartition(":")
            self.socket, self.asked = socket.socket(), SIOCOUTQNSD
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.connect((host, int(port)))
        else:
            self.socket, self.asked = socket.socket(socket.AF_UNIX), SIOCOUTQ
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_QUEUE)
            self.socket.connect(server.address)

    def close(self):
        self.socket.close()

    def stuck(self):
        """Bytes that the peer's side has no room for (TCP), or has not read."""
        return struct.unpack("i", fcntl.ioctl(self.socket, self.asked, b"\0" * 4))[0]

    def fill(self):
        """Sends until nothing more fits; returns what is stuck then, and how much of a
        block is still to be sent."""
        self.socket.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += self.socket.send(BLOCK)
        time.sleep(0.003)  # a third of the time that the peer gives it
        return self.stuck(), -sent % RECORD

    def one_round(self):
        """Microseconds from the first of the reads until something moved, or None
        where it never stood."""
        stuck, rest = self.fill()
        deadline = time.monotonic() + ROUND_S
        while self.stuck() >= stuck:
            if time.monotonic() > deadline:
                raise RuntimeError("the sender was never let go on")
        moved = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.socket.settimeout(20)
        stamp = int(self.socket.recv(delay.RECORD))
        self.socket.sendall(b"w" * rest + END)
        self.socket.recv(delay.RECORD)  # all is read: the next round finds it empty
        return (moved - stamp) / 1e3 if moved > stamp else None


def start(stack, bench, kind, core, preload):
    number = len(os.listdir(bench.tmp))
    directory = os.path.join(bench.tmp, f"{number}")
    where = "127.0.0.1:0" if kind == "TCP" else os.path.join(directory, "s")
    argv = delay.pinned(core, [lib.program("late"), "sip", where])
    server = stack.enter_context(lib.Server(argv, None, preload, directory))
    return stack.enter_context(contextlib.closing(Sender(server, kind)))


def stalls(out, bench, kind, core, full):
    what = f"{kind}, {delay.LABELS[full]}"
    rounds = 40 if bench.quick else 200
    waits = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        if full:
            stack.enter_context(delay.Beside(core, "burn", 300000))
        senders = {p: start(stack, bench, kind, core, p) for p in waits}
        beside = stack.enter_context(delay.Beside(core, "sleep", delay.DELAY_US,
                                                  rounds * 2 * 25))
        for sender in senders.values():
            for _ in range(WARM_UP):
                sender.one_round()
        for _ in range(rounds):
            for preload, sender in senders.items():
                waits[preload].append(sender.one_round())
        lateness = beside.result()["p99_us"]
    for preload, found in waits.items():
        stood = [x for x in found if x is not None]
        if len(stood) < 0.8 * rounds:
            raise RuntimeError(f"{what}: the sender seldom stood")
        waits[preload] = stood
    delay.judge(out, what, waits[False], waits[True], lateness, SHARE)


def run(out, bench):
    core = os.cpu_count() - 1
    with delay.instrument():
        for full in (False, True):
            for kind in ("TCP", "AF_UNIX"):
                lib.log(f"taken: {kind}, {delay.LABELS[full]}")
                stalls(out, bench, kind, core, full)
