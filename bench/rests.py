"""Thousands of clients that pipeline, each with a borrowed rest, and little memory.

A busy loop reads a little of each in turn (rests.c): no sleep ends a borrow, so rests
are kept until the delay, or until something else needs their place. With the longest
delay that is all there is. The replies are small writes, which need chunks too: they
must be joined as well as where nothing is read ahead.
"""

import contextlib
import json
import os
import time

import lib

ABOUT = "rests of pipelining clients never deny a write its chunk, and the cap holds"
REQUEST = 64
REQUESTS = 32  # a client, sent at once
CAP = 512 << 10  # a thread has something of 254 streams at most, here 4 KiB of each
DELAYS_US = (500, 1_000_000)
NOTHING_AHEAD = {"STREAM_REQUEST_CHUNK_SIZE": "0"}
JOINED = 1.1  # of the kernel writes a reply where nothing is read ahead


def requests_of(number):
    return b"".join(b"%-63d\n" % (number * REQUESTS + i) for i in range(REQUESTS))


def pool(server):
    document = server.ask("/buffer-pool-metrics")
    return {"bytes": document["totalBytes"], "in_use": document["totalInUse"],
            "exhausted": sum(t["exhausted"] for t in document["tiers"])}


def receive(s, size):
    block = b""
    while len(block) < size:
        more = s.recv(size - len(block))
        if not more:
            raise RuntimeError("the server closed")
        block += more
    return block


class Busy(lib.Server):
    def answers(self):
        """A connection that only looks would be taken for a client."""
        return self.process.poll() is None


class Clients:
    def __init__(self, server, count):
        self.server, self.count = server, count
        self.most = 0  # bytes of the pool, of all looks
        self.looked = 0.0

    def look(self):
        """A snapshot is a second old at most, so more of them tell nothing."""
        if self.server.preload and time.monotonic() - self.looked > 1.05:
            self.looked = time.monotonic()
            self.most = max(self.most, pool(self.server)["bytes"])

    def run(self):
        with contextlib.ExitStack() as stack:
            sockets = []
            for number in range(self.count):
                s = stack.enter_context(lib.connect(self.server.address))
                s.sendall(requests_of(number))
                sockets.append(s)
            for number, s in enumerate(sockets):
                s.settimeout(60)
                if receive(s, REQUESTS * REQUEST) != requests_of(number):
                    raise RuntimeError(f"client {number} got something else")
                self.look()
            return json.loads(lib.read_line(self.server.process.stdout, 60))


def one_run(directory, preload, count, env):
    argv = [lib.program("rests"), "127.0.0.1:0", str(count), str(REQUESTS)]
    with Busy(argv, None, preload, directory, env=env) as server:
        clients = Clients(server, count)
        result = clients.run()
        result["rss"] = lib.rss_bytes(server.pid)
        if server.preload:
            samples = server.samples()
            for kind in ("reads", "writes"):
                total = lib.sum_of(samples, f"weir_kernel_{kind}_total")
                result[kind] = total / (count * REQUESTS)
            result["peeks"] = server.peeks()
            result |= pool(server)
            result["most"] = max(clients.most, result["bytes"])
    return result


def judge(out, what, native, plain, ahead):
    share = ahead["writes"] / plain["writes"]
    out.row(f"{what}: kernel writes a reply of four",
            f"{plain['writes']:.3f} (no rests)", f"{ahead['writes']:.3f}",
            f"{share:.2f}", f"<= {JOINED}", share <= JOINED)
    out.row(f"{what}: most that the pool had", "", f"{ahead['most'] / 1e6:.2f} MB",
            f"{ahead['exhausted']:,} times at the cap", f"<= {CAP / 1e6:.2f} MB",
            ahead["most"] <= CAP)
    out.row(f"{what}: kernel reads a request", f"{plain['reads']:.3f} (no rests)",
            f"{ahead['reads']:.3f}", "" if ahead["peeks"] is None else
            f"{ahead['peeks'][0]:,} borrows")
    out.row(f"{what}: time, memory (RSS)",
            f"{native['seconds']:.2f} s, {native['rss'] / 1e6:.1f} MB",
            f"{ahead['seconds']:.2f} s, {ahead['rss'] / 1e6:.1f} MB",
            f"{plain['seconds']:.2f} s with no rests")


def run(out, bench):
    if not lib.preloaded_is_real():
        out.skip("rests", "needs the library")
        return
    count = 2000 if bench.quick else 10_000
    lib.log(f"rests: {count} clients, native")
    native = one_run(os.path.join(bench.tmp, "native"), False, count, {})
    out.raw["native"] = native
    for delay in DELAYS_US:
        env = {"STREAM_BUFFER_POOL_MAX_BYTES": str(CAP),
               "STREAM_FLUSH_DELAY_US": str(delay), **lib.COUNT_PEEKS}
        what = f"{count:,} clients, delay {delay / 1000:g} ms"
        lib.log(f"rests: {what}")
        plain, ahead = (
            one_run(os.path.join(bench.tmp, f"{delay}-{name}"), True, count,
                    {**env, **more})
            for name, more in (("plain", NOTHING_AHEAD), ("ahead", {})))
        judge(out, what, native, plain, ahead)
        out.raw[what] = {"plain": plain, "ahead": ahead}
