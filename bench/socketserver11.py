"""A Python socketserver reply made in eleven writes."""

import os

import counts
import lib
import pairs
import report
import servers

ABOUT = "a reply in eleven writes, one client"
GAIN = 2
SENDS = 2
SUBJECTS = {
    "as it is": servers.socketserver_eleven,
    "with TCP_NODELAY": servers.socketserver_nodelay,
}


def kernel_writes_a_reply(server, load, replies):
    """By the library's own counters, at full speed."""
    with load.gate(server) as client:
        before = server.samples()
        done = client.round(replies)["replies"]
        after = server.samples()
    name = "weir_kernel_writes_total"
    grown = lib.sum_of(after, name, role="accepted") - lib.sum_of(
        before, name, role="accepted")
    return grown / done


def run(out, bench):
    seconds = 0.7 if bench.quick else 1.5
    for name, make in SUBJECTS.items():
        lib.log(f"socketserver11: {name}")
        directory = os.path.join(bench.tmp, make.__name__)
        with pairs.both(make, directory) as (native, preloaded, load):
            runs = pairs.interleave(lambda s: load.run(s, "-t", seconds),
                                    [native, preloaded], bench.rounds(7))
            a, b = (pairs.median_of(r, "rate") for r in runs)
            gain = pairs.ratio(b, a)
            out.row(f"{name}: replies", report.rate(a), report.rate(b),
                    report.times(gain), f">= {GAIN}x", gain >= GAIN)
            out.raw[name] = {"native": runs[0], "preloaded": runs[1]}
            if lib.preloaded_is_real():
                sends = kernel_writes_a_reply(preloaded, load, 2000)
                out.row(f"{name}: sends a reply", "11", f"{sends:.3f}", f"{sends:.3f}",
                        f"<= {SENDS}", sends <= SENDS)
            else:
                calls = counts.calls_a_reply(native, load, 40)
                sends = calls.get("sendto", 0)
                out.row(f"{name}: sends a reply", f"{sends:.2f}", "", "")
