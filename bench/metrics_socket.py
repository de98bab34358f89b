"""What those who ask for metrics, or only pretend to, cost the server that is watched.

The other side of each comparison is the same attack, or the same scrapes, at another
server that idles beside: so the machine is as busy, and what differs is whose socket it is.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time

import counts
import lib
import pairs
import servers

ABOUT = "10,000 connects, dribblers, garbage; and 5,000 streams with a scrape a second"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run_ns(pid, tids):
    """The time that threads have run."""
    total = 0
    for tid in tids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total


def own_and_helpers(server):
    """Run time of the server's own threads, and of the library's, in ns."""
    own = counts.application_threads(server)
    every = [tid for _, tid, _ in lib.threads(server.pid)]
    return (run_ns(server.pid, own), run_ns(server.pid, set(every) - set(own)))


def resident(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1]) * 1024


class Beside:
    """Something that goes on while the server is measured: a thread, once a `period`."""

    def __init__(self, period, act):
        self.period, self.act, self.stop = period, act, threading.Event()
        self.thread = threading.Thread(target=self.go)

    def go(self):
        while not self.stop.wait(self.period):
            self.act()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()


class GoodClient:
    """Asks politely and notes how long the answer took. One 408 or 503 is no failure
    of its own: it asks again, and the clock goes on."""

    def __init__(self, server):
        self.path, self.worst, self.asked = server.metrics_path, 0.0, 0

    def once(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.path)
            s.sendall(HEALTH)
            return b" 200 " in s.recv(64)

    def ask(self):
        begin = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                if self.once():
                    break
            if time.monotonic() - begin > 10:
                break
        self.worst = max(self.worst, time.monotonic() - begin)
        self.asked += 1


@contextlib.contextmanager
def attack(server, did):
    argv = [lib.PYTHON, servers.script("hostile.py"), server.metrics_path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        try:
            lib.read_line(p.stdout, 20)
            yield
            p.stdin.close()
            for what, times in json.loads(lib.read_line(p.stdout, 20)).items():
                did[what] = did.get(what, 0) + times
        finally:
            p.kill()


def loaded(server, load, *args):
    """CPU of the server's own threads a reply, and the helpers' share of a core."""
    own, helpers = own_and_helpers(server)
    begin = time.monotonic()
    result = load.run(server, *args)
    seconds = time.monotonic() - begin
    own_after, helpers_after = own_and_helpers(server)
    return {"own": own_after - own, "replies": result["replies"],
            "helpers": (helpers_after - helpers) / 1e9 / seconds}


def own_a_reply(runs):
    return sum(r["own"] for r in runs) / sum(r["replies"] for r in runs)


def compare(watched, beside, measure, rounds):
    """measure(target) with the target's socket the watched server's, and the other's."""
    runs = pairs.interleave(measure, (watched, beside), rounds)
    return runs, own_a_reply(runs[0]) / own_a_reply(runs[1])


def attacked(out, bench, watched, beside, load):
    replies = 200000 if bench.quick else 400000
    did, good = {}, GoodClient(watched)
    watched.ask("/metrics.json")
    before = resident(watched)

    def measure(target):
        with attack(target, did if target is watched else {}):
            if target is beside:
                return loaded(watched, load, "-n", replies, "-c", 16)
            with Beside(0.05, good.ask):
                return loaded(watched, load, "-n", replies, "-c", 16)

    runs, figure = compare(watched, beside, measure, bench.rounds(7))
    what = ", ".join(f"{n} {name}" for name, n in sorted(did.items()))
    out.row("attacked: own CPU a reply, against an attack beside",
            f"{own_a_reply(runs[1]) / 1e3:.2f} us", f"{own_a_reply(runs[0]) / 1e3:.2f} us",
            f"{figure:.3f}", "1.03", figure <= 1.03)
    out.row(f"attacked: a good client's worst of {good.asked} answers", "",
            f"{good.worst * 1e3:.0f} ms", what, "1 s", good.worst <= 1)
    grown = resident(watched) - before
    out.row("attacked: memory grown", "", f"{grown / 1e6:.1f} MB", "", "16 MB",
            grown <= 16e6)
    out.raw["attack"] = {"runs": runs, "did": did, "worst": good.worst}


def scraped(out, bench, watched, beside, load):
    replies = 300000 if bench.quick else 500000
    count = 5000

    def measure(target):
        with Beside(1.0, lambda: target.ask("/metrics")):
            return loaded(watched, load, "-n", replies, "-c", 16)

    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(lib.connect(watched.address))
        watched.ask("/metrics")
        runs, figure = compare(watched, beside, measure, bench.rounds(7))
        helpers = lib.median([r["helpers"] for r in runs[0]])
    out.row(f"{count} streams, a scrape a second: own CPU a reply",
            f"{own_a_reply(runs[1]) / 1e3:.2f} us", f"{own_a_reply(runs[0]) / 1e3:.2f} us",
            f"{figure:.3f}", "1.02", figure <= 1.02)
    out.row("the same: the library's threads, of a core", "", f"{helpers:.2%}", "",
            "1.5 %", helpers <= 0.015)
    out.raw["scrape"] = runs


def run(out, bench):
    if not lib.preloaded_is_real():
        out.skip("metrics_socket", "there is no socket without the library")
        return
    watched, load = servers.memcached(os.path.join(bench.tmp, "watched"), True,
                                      connections=6000)
    beside, _ = servers.memcached(os.path.join(bench.tmp, "beside"), True)
    with watched, beside:
        for server in (watched, beside):
            load.run(server, "-n", 2000)
            server.ask("/metrics")
        attacked(out, bench, watched, beside, load)
        scraped(out, bench, watched, beside, load)
