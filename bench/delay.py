"""How long a held byte can wait while its thread neither sleeps nor calls.

chat writes a stamped line, computes, writes another; drip writes 40 bytes every 300 us
from a busy loop. A line waits from its stamp to its arrival. What the library adds to
native's p99 of the same way may be the delay and the p99 lateness of a nanosleep loop
that runs beside it on the same core.
"""

import contextlib
import json
import os
import socket
import subprocess
import time

import lib
import report

ABOUT = "how long the oldest held byte waits while the server computes"
DELAY_US = 500  # STREAM_FLUSH_DELAY_US's default
RECORD = 40
LABELS = {False: "free core", True: "core at 100 %"}


class Beside:
    """A program of `late` that runs while something is measured."""

    def __init__(self, core, *args):
        self.argv = pinned(core, [lib.program("late"), *[str(a) for a in args]])
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def result(self):
        return json.loads(lib.read_line(self.process.stdout, 60))


def pinned(core, argv):
    return ["taskset", "-c", str(core), *argv]


def stamps(block):
    """The stamps of the records in a block that holds whole records."""
    return [int(block[i:i + RECORD]) for i in range(0, len(block) - RECORD + 1, RECORD)]


class Client:
    """Reads stamped records, and notes how long the oldest of each arrival waited."""

    def __init__(self, server):
        self.server = server
        self.socket = lib.connect(server.address)
        self.socket.settimeout(20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.socket.close()

    def arrival(self, rest=b""):
        block = self.socket.recv(1 << 16)
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if not block:
            raise RuntimeError("the server closed")
        return now, rest + block

    def chat(self, ms):
        """Microseconds until the first line was here."""
        self.socket.sendall(b"%d\n" % ms)
        now, block = self.arrival()
        waited = (now - stamps(block)[0]) / 1e3
        while len(block) < 2 * RECORD:
            _, block = self.arrival(block)
        return waited

    def drip(self, ms):
        """Of each arrival, the microseconds its oldest record waited."""
        self.socket.sendall(b"%d\n" % ms)
        waits, rest = [], b""
        while True:
            now, rest = self.arrival(rest)
            found = stamps(rest)
            if found:
                waits.append((now - found[0]) / 1e3)
                rest = rest[len(found) * RECORD:]
            if rest.startswith(b"end\n"):
                return waits


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def judge(out, what, native, preloaded, lateness, share=0.99):
    """native and preloaded: waits in us; lateness: of nanosleep, in us, p99."""
    a, b = percentile(native, share), percentile(preloaded, share)
    out.row(f"{what}, p{share * 100:.0f} of {len(preloaded)}", report.us(a),
            report.us(b), report.us(b - a),
            f"<= {DELAY_US} + {lateness:.0f} us (nanosleep's p99)",
            b - a <= DELAY_US + lateness)
    out.raw[what] = {"native_us": native, "preloaded_us": preloaded,
                     "lateness_p99_us": lateness}


def kept(out, what, client):
    """A library that holds nothing would keep every promise above."""
    if client.server.preload:
        flushed = lib.sum_of(client.server.samples(), "weir_flushes_total",
                             reason="delay")
        out.row(f"{what}: flushes by the keeper", "", f"{flushed:.0f}", "", "> 0",
                flushed > 0)


def start(stack, bench, what, core, preload):
    number = len(os.listdir(bench.tmp))
    directory = os.path.join(bench.tmp, f"{what}-{preload}-{number}")
    argv = pinned(core, [lib.program("late"), what, "127.0.0.1:0"])
    server = stack.enter_context(lib.Server(argv, None, preload, directory))
    return stack.enter_context(contextlib.closing(Client(server)))


def chat(out, bench, core, full):
    """Two kinds of pause: the long one of the promise, and short ones for a p99."""
    label = LABELS[full]
    long_ms, longs = (1000, 1) if bench.quick else (3000, 3)
    short_ms, shorts = 20, 40 if bench.quick else 200
    waits = {False: [], True: []}
    first = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        if full:
            stack.enter_context(Beside(core, "burn", 300000))
        clients = {p: start(stack, bench, "chat", core, p) for p in waits}
        for _ in range(4):  # the server learns that two lines follow each other
            for client in clients.values():
                client.chat(1)
        beside = stack.enter_context(Beside(
            core, "sleep", DELAY_US, 2 * (shorts * short_ms + longs * long_ms)))
        for i in range(shorts + longs):
            for preload, client in clients.items():
                if i < longs:
                    first[preload].append(client.chat(long_ms))
                else:
                    waits[preload].append(client.chat(short_ms))
        lateness = beside.result()["p99_us"]
        kept(out, f"chat, {label}", clients[True])
    judge(out, f"chat, {label}: computes {short_ms} ms", waits[False], waits[True],
          lateness)
    judge(out, f"chat, {label}: computes {long_ms / 1000:.0f} s", first[False],
          first[True], lateness)


def drip(out, bench, core, full):
    label = LABELS[full]
    rounds = 1 if bench.quick else 4
    waits = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        if full:
            stack.enter_context(Beside(core, "burn", 300000))
        clients = {p: start(stack, bench, "drip", core, p) for p in waits}
        beside = stack.enter_context(Beside(core, "sleep", DELAY_US, rounds * 2000))
        for _ in range(rounds):
            for preload, client in clients.items():
                waits[preload] += client.drip(1000)
        lateness = beside.result()["p99_us"]
        kept(out, f"drip, {label}", clients[True])
    judge(out, f"drip, {label}: 40 bytes every 300 us", waits[False], waits[True],
          lateness)


@contextlib.contextmanager
def instrument():
    """The clients get a core of their own and, where allowed, go first: they are the
    clock that the servers are measured with."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setaffinity(0, {0})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK,
                              os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)
        os.sched_setaffinity(0, range(os.cpu_count()))


def run(out, bench):
    core = os.cpu_count() - 1
    with instrument():
        for full in (False, True):
            lib.log(f"delay: {LABELS[full]}")
            chat(out, bench, core, full)
            drip(out, bench, core, full)
