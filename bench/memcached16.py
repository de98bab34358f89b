"""memcached with 16 requests in flight."""

import os

import lib
import pairs
import report
import servers

ABOUT = "16 ASCII gets in flight on each connection"
GAIN = 3
CPU_SHARE = 0.3


def run(out, bench):
    seconds = 0.7 if bench.quick else 1.5
    directory = os.path.join(bench.tmp, "memcached")
    with pairs.both(servers.memcached, directory) as (native, preloaded, load):
        for conns in (1, 8):
            lib.log(f"memcached16: {conns} connections")
            runs = pairs.interleave(
                lambda s, c=conns: load.run(s, "-d", 16, "-c", c, "-t", seconds),
                [native, preloaded], bench.rounds(7))
            a, b = (pairs.median_of(r, "rate") for r in runs)
            x, y = (pairs.cpu_a_reply(r) for r in runs)
            gain, share = pairs.ratio(b, a), pairs.ratio(y, x)
            what = f"{conns} connection{'s' if conns > 1 else ''}"
            out.row(f"{what}: replies", report.rate(a), report.rate(b),
                    report.times(gain), f">= {GAIN}x", gain >= GAIN)
            out.row(f"{what}: CPU a reply", f"{x * 1e6:.2f} us", f"{y * 1e6:.2f} us",
                    f"{share:.2f}", f"<= {CPU_SHARE}", share <= CPU_SHARE)
            out.raw[what] = {"native": runs[0], "preloaded": runs[1]}
