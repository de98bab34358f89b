"""The 40 ms: servers whose reply leaves in pieces without TCP_NODELAY."""

import os

import lib
import pairs
import report
import servers

ABOUT = "replies that waited for a delayed ACK, one keep-alive client"
SUBJECTS = {
    "python http.server 1.1": servers.python_http,
    "Tcl, eleven lines": servers.tcl_eleven,
    "C, two writes": servers.two_write,
    "WEBrick, chunked": servers.webrick,
}
GAIN = 20  # times native's replies a second
LONGEST_MS = 35  # a delayed ACK takes 40
SHARE = 20  # a median reply is under a twentieth of native's second one


def steady(out, name, native, preloaded, load, bench):
    seconds = 0.7 if bench.quick else 2
    runs = pairs.interleave(lambda s: load.run(s, "-t", seconds), [native, preloaded],
                            bench.rounds(5))
    a, b = (pairs.median_of(r, "rate") for r in runs)
    gain = pairs.ratio(b, a)
    out.row(f"{name}: replies", report.rate(a), report.rate(b), report.times(gain),
            f">= {GAIN}x", gain >= GAIN)
    out.raw[name] = {"native": runs[0], "preloaded": runs[1]}


def short(out, name, native, preloaded, load, bench):
    """Two replies a connection, over many connections one after the other."""
    rounds, each = (2, 20) if bench.quick else (4, 50)
    runs = pairs.interleave(lambda s: load.run(s, "-k", 2, "-n", 2 * each),
                            [native, preloaded], rounds)
    times = []
    for subject in runs:
        times.append([sum((r["by_turn_us"][turn] for r in subject), [])
                      for turn in (0, 1)])
    second = lib.median(times[0][1])
    for turn, word in enumerate(("first", "second")):
        a, b = times[0][turn], times[1][turn]
        worst, middle = max(b) / 1e3, lib.median(b)
        holds = worst <= LONGEST_MS and middle < second / SHARE
        out.row(f"{name}: {word} of {len(b)}", f"{lib.median(a) / 1e3:.2f} ms",
                f"{middle / 1e3:.2f} ms", f"longest {worst:.1f} ms",
                f"<= {LONGEST_MS} ms, median < {second / SHARE / 1e3:.2f} ms", holds)


def run(out, bench):
    for name, make in SUBJECTS.items():
        lib.log(f"stall40: {name}")
        directory = os.path.join(bench.tmp, make.__name__)
        try:
            with pairs.both(make, directory) as (native, preloaded, load):
                steady(out, name, native, preloaded, load, bench)
                short(out, name, native, preloaded, load, bench)
        except lib.Missing as why:
            out.skip(name, why)
