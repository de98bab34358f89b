"""memcached with 16 requests in flight.

By hand: one request for 16 keys, which memcached answers in one send by itself: what the
machine's wake-ups leave to be gained.
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


def run(out, bench):
    seconds = 0.7 if bench.quick else 1.5
    directory = os.path.join(bench.tmp, "memcached")
    with pairs.both(servers.memcached, directory) as (native, preloaded, load):
        for conns in (1, 8):
            lib.log(f"memcached16: {conns} connections")
            ways = [
                lambda c=conns: load.run(native, "-d", DEPTH, "-c", c, "-t", seconds),
                lambda c=conns: load.run(preloaded, "-d", DEPTH, "-c", c, "-t", seconds),
                lambda c=conns: by_hand(load, native, c, seconds)]
            runs = pairs.interleave(lambda way: way(), ways, bench.rounds(7))
            a, b, hand = (pairs.median_of(r, "rate") for r in runs)
            x, y, least = (pairs.cpu_a_reply(r) for r in runs)
            gain, share = pairs.ratio(b, a), pairs.ratio(y, x)
            what = f"{conns} connection{'s' if conns > 1 else ''}"
            out.row(f"{what}: replies", report.rate(a), report.rate(b),
                    report.times(gain), f">= {GAIN}x", gain >= GAIN)
            out.row(f"{what}: CPU a reply", f"{x * 1e6:.2f} us", f"{y * 1e6:.2f} us",
                    f"{share:.2f}", f"<= {CPU_SHARE}", share <= CPU_SHARE)
            out.row(f"{what}: by hand", report.rate(a), report.rate(hand),
                    f"{report.times(pairs.ratio(hand, a))} at "
                    f"{pairs.ratio(least, x):.2f} CPU")
            out.raw[what] = {"native": runs[0], "preloaded": runs[1]}
