"""The servers of the demo: how each is started, put under load, and how its answers are
compared with what was asked for.

A subject has
    title, unit, latency   for people
    sends         how the names of the system calls begin with which it sends
    traced        how many replies strace counts: natively, preloaded
    counted       how many the library counts
    receivers     how many clients get each of them
    start()       (server, load): bench/servers.py makes it, nothing runs yet
    client()      a load client with open, warm connections: round(n) does n replies
    measure()     {"rate", "p50_us", "p99_us", "replies"} of about so many seconds
    check()       what was compared, in words; raises Wrong
"""

import http.client
import os
import random
import socket
import struct
import time

import lib
import servers

SECONDS = 4  # of load; the native http.server gives 90 replies meanwhile
PROBE = 2000  # messages that show how fast a broker is


class Wrong(Exception):
    """The server answered, but not with what it should have."""


def receive(s, n):
    data = b""
    while len(data) < n:
        block = s.recv(n - len(data))
        if not block:
            raise Wrong(f"the connection ended after {len(data)} of {n} bytes")
        data += block
    return data


def same(got, wanted, what):
    if got != wanted:
        raise Wrong(f"{what}: the {len(got)} bytes that came are not the {len(wanted)} "
                    "that should have")


class Http:
    title = "python3 -m http.server --protocol HTTP/1.1, one keep-alive client"
    unit, latency = "reply", "latency"
    sends = ("send",)
    traced, counted, receivers = {False: 40, True: 1500}, 4000, 1

    def start(self, directory, preload, **kw):
        self.files = {}
        os.makedirs(directory, exist_ok=True)
        for size in (1, 100, 1447, 4096, 32768, 100_000, 1_000_000):
            self.files[f"/f{size}"] = random.randbytes(size)
            path = os.path.join(directory, f"f{size}")
            with open(path, "wb") as f:
                f.write(self.files[f"/f{size}"])
        return servers.python_http(directory, preload, **kw)

    def client(self, server, load):
        return load.gate(server)

    def measure(self, server, load):
        return load.run(server, "-t", SECONDS)

    def check(self, server):
        host, _, port = server.address.rpartition(":")
        c = http.client.HTTPConnection(host, int(port), timeout=20)
        total = 0
        for path, body in list(self.files.items()) * 2:
            c.request("GET", path)
            same(c.getresponse().read(), body, path)
            total += len(body)
        c.close()
        return f"{2 * len(self.files)} files, {total / 1e6:.1f} MB on one connection"


class Memcached:
    title = "memcached, 4 clients, 16 requests in flight on each"
    unit, latency = "reply", "latency of 16"
    sends = ("send",)
    traced, counted, receivers = {False: 8000, True: 8000}, 100_000, 1
    conns, depth = 4, 16

    def start(self, directory, preload, **kw):
        return servers.memcached(directory, preload, **kw)

    def client(self, server, load):
        return load.gate(server, "-c", self.conns, "-d", self.depth)

    def measure(self, server, load):
        return load.run(server, "-c", self.conns, "-d", self.depth, "-t", SECONDS)

    def check(self, server):
        values = [random.randbytes(random.choice((1, 64, 1000, 20_000)))
                  for _ in range(160)]
        with lib.connect(server.address) as s:
            for i, value in enumerate(values):
                s.sendall(b"set c%d 0 0 %d\r\n%b\r\n" % (i, len(value), value))
                same(receive(s, 8), b"STORED\r\n", "set")
            for at in range(0, len(values), self.depth):
                batch = range(at, at + self.depth)
                s.sendall(b"".join(b"get c%d\r\n" % i for i in batch))
                for i in batch:
                    wanted = (b"VALUE c%d 0 %d\r\n%b\r\nEND\r\n"
                              % (i, len(values[i]), values[i]))
                    same(receive(s, len(wanted)), wanted, f"get c{i}")
        size = sum(map(len, values)) / 1e6
        return f"{len(values)} values, {size:.1f} MB, {self.depth} requests in flight"


class Mosquitto:
    title = "mosquitto, 1 publisher, 4 subscribers, 32-byte messages, QoS 0"
    unit, latency = "message", "latency of 16"
    sends = ("send", "write")
    traced, counted, receivers = {False: 2000, True: 2000}, 50_000, 4
    burst = 16  # messages sent at once where their latency is measured

    def start(self, directory, preload, **kw):
        return servers.mosquitto(directory, preload, **kw)

    def client(self, server, _load):
        return lib.Gate([lib.program("fan"), str(self.receivers), server.address])

    def measure(self, server, load):
        with self.client(server, load) as client:
            probe = client.round(PROBE)
            count = int(min(1e6, max(PROBE, probe["rate"] * (SECONDS - 1))))
            result = client.round(count)
        times = sorted(self.bursts(server, 400))
        return {"rate": result["rate"] * self.receivers,
                "replies": (result["replies"] + PROBE + 400 * self.burst)
                * self.receivers,
                "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}

    def bursts(self, server, number):
        """Microseconds from a burst's send until a subscriber has all of it."""
        sub, pub = mqtt_open(server, b"s"), mqtt_open(server, b"p")
        others = [mqtt_open(server, b"%d" % i) for i in range(self.receivers - 1)]
        with sub, pub:
            for s in (sub, *others):
                s.sendall(b"\x82\x08\x00\x01\x00\x03d/x\x00")
                same(receive(s, 5), b"\x90\x03\x00\x01\x00", "SUBACK")
            for _ in range(number):
                sent = b"".join(b"\x30\x25\x00\x03d/x" + random.randbytes(32)
                                for _ in range(self.burst))
                begin = time.perf_counter()
                pub.sendall(sent)
                got = receive(sub, len(sent))
                yield (time.perf_counter() - begin) * 1e6
                same(got, sent, "messages")
                for s in others:
                    same(receive(s, len(sent)), sent, "messages")
        for s in others:
            s.close()

    def check(self, server):
        number = sum(1 for _ in self.bursts(server, 100)) * self.burst
        return f"{number} messages to each of {self.receivers} subscribers"


def mqtt_open(server, name):
    s = lib.connect(server.address)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    s.sendall(bytes([0x10, len(body)]) + body)
    same(receive(s, 4), b"\x20\x02\x00\x00", "CONNACK")
    return s


SUBJECTS = {"http": Http, "memcached": Memcached, "mosquitto": Mosquitto}
