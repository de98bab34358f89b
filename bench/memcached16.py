"""memcached with 16 requests in flight.

By hand: one request for 16 keys, which memcached answers in one send by itself, so what
there is to gain. With one connection on two cores that is mostly how long an idle core
takes to wake up, natively while the first replies are read already: shown, not judged.
"""

import os

import lib
import pairs
import report
import servers

ABOUT = "16 ASCII gets in flight on each connection"
DEPTH = 16
GAIN = 3
CPU_SHARE = 0.3
BY_HAND = "get " + " ".join(["k"] * DEPTH) + "\\r\\n"


def by_hand(load, server, conns, seconds):
    """A reply is one of the 16 values."""
    result = load.run(server, "-d", 1, "-c", conns, "-t", seconds, "-r", BY_HAND)
    return {**result, "replies": DEPTH * result["replies"],
            "rate": DEPTH * result["rate"]}


def measure(out, what, trio, conns, seconds, bench, judged):
    native, preloaded, load = trio
    lib.log(f"memcached16: {what}")
    ways = [
        lambda: load.run(native, "-d", DEPTH, "-c", conns, "-t", seconds),
        lambda: load.run(preloaded, "-d", DEPTH, "-c", conns, "-t", seconds),
        lambda: by_hand(load, native, conns, seconds)]
    runs = pairs.interleave(lambda way: way(), ways, bench.rounds(7))
    a, b, hand = (pairs.median_of(r, "rate") for r in runs)
    x, y, least = (pairs.cpu_a_reply(r) for r in runs)
    gain, share = pairs.ratio(b, a), pairs.ratio(y, x)
    out.row(f"{what}: replies", report.rate(a), report.rate(b), report.times(gain),
            f">= {GAIN}x" if judged else "", gain >= GAIN if judged else None)
    out.row(f"{what}: CPU a reply", f"{x * 1e6:.2f} us", f"{y * 1e6:.2f} us",
            f"{share:.2f}", f"<= {CPU_SHARE}", share <= CPU_SHARE)
    out.row(f"{what}: by hand", report.rate(a), report.rate(hand),
            f"{report.times(pairs.ratio(hand, a))} at {pairs.ratio(least, x):.2f} CPU")
    out.raw[what] = {"native": runs[0], "preloaded": runs[1]}


def run(out, bench):
    seconds = 0.7 if bench.quick else 1.5
    directory = os.path.join(bench.tmp, "memcached")
    with lib.on_one_core(), \
            pairs.both(servers.memcached, os.path.join(directory, "one")) as trio:
        measure(out, "1 connection, one core", trio, 1, seconds, bench, True)
    with pairs.both(servers.memcached, os.path.join(directory, "two")) as trio:
        measure(out, "8 connections", trio, 8, seconds, bench, True)
        measure(out, "1 connection, two cores", trio, 1, seconds, bench, False)
