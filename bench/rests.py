"""Thousands of clients that pipeline, each with a borrowed rest, and little memory.

A busy loop reads a little of each in turn (rests.c), so that by the laws no rest has to
be dropped but at the pool's cap. Its replies are small writes, which need chunks too:
with the cap far below what the rests would take they must be joined as well as with a
cap that is never met.
"""

import contextlib
import json
import os
import time

import lib

ABOUT = "rests of pipelining clients never deny a write its chunk, and the cap holds"
REQUEST = 64
REQUESTS = 32  # a client, sent at once
CAP, ROOMY = 16 << 20, 1 << 30
JOINED = 1.1  # of the kernel writes a reply where memory is plenty


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


def one_run(directory, preload, cap, count):
    argv = [lib.program("rests"), "127.0.0.1:0", str(count), str(REQUESTS)]
    env = {"STREAM_BUFFER_POOL_MAX_BYTES": str(cap)} if preload else {}
    with Busy(argv, None, preload, directory, env=env) as server:
        clients = Clients(server, count)
        result = clients.run()
        result["rss"] = lib.rss_bytes(server.pid)
        if server.preload:
            samples = server.samples()
            for kind in ("reads", "writes"):
                total = lib.sum_of(samples, f"weir_kernel_{kind}_total")
                result[kind] = total / (count * REQUESTS)
            result |= pool(server)
            result["most"] = max(clients.most, result["bytes"])
    return result


def run(out, bench):
    if not lib.preloaded_is_real():
        out.skip("rests", "needs the library")
        return
    count = 2000 if bench.quick else 10_000
    cap = CAP // 5 if bench.quick else CAP
    runs = {}
    for name, preload, limit in (("native", False, 0), ("roomy", True, ROOMY),
                                 ("capped", True, cap)):
        lib.log(f"rests: {count} clients, {name}")
        runs[name] = one_run(os.path.join(bench.tmp, name), preload, limit, count)
    native, roomy, capped = (runs[name] for name in ("native", "roomy", "capped"))
    what = f"{count:,} clients, cap {ROOMY >> 20:,} and {cap / (1 << 20):.0f} MiB"
    share = capped["writes"] / roomy["writes"]
    out.row(f"{what}: kernel writes a reply", f"{roomy['writes']:.3f}",
            f"{capped['writes']:.3f}", f"{share:.2f}", f"<= {JOINED}", share <= JOINED)
    out.row(f"{what}: kernel reads a request", f"{roomy['reads']:.3f}",
            f"{capped['reads']:.3f}", f"refused chunks {capped['exhausted']:,}")
    out.row(f"{what}: most that the pool had", f"{roomy['most'] / 1e6:.1f} MB",
            f"{capped['most'] / 1e6:.1f} MB", "", f"<= {cap / 1e6:.1f} MB",
            capped["most"] <= cap)
    out.row(f"{what}: memory (RSS), native {native['rss'] / 1e6:.1f} MB",
            f"{roomy['rss'] / 1e6:.1f} MB", f"{capped['rss'] / 1e6:.1f} MB",
            f"took {roomy['seconds']:.2f} and {capped['seconds']:.2f} s, "
            f"native {native['seconds']:.2f}")
    out.raw["runs"] = runs
