"""64-byte recvs, queue full, against the same loop rewritten by hand, in CPU time."""

import os

import lib
import pairs
import report

ABOUT = "64-byte recvs, queue full, CPU time; 1.00 is the loop rewritten by hand"
GOALS = {"TCP": 0.55, "AF_UNIX": 0.45}  # of the speed of the loop rewritten by hand
TIMES_NATIVE = {"TCP": 15}


def one_run(directory, kind, mode, bursts):
    """Nanoseconds of CPU a recv."""
    result = pairs.one_loop("recv64", "feed", directory, kind, mode, bursts)
    return result["cpu_ns"] / result["recvs"]


def run(out, bench):
    bursts = 1000 if bench.quick else 4000
    for kind, goal in GOALS.items():
        lib.log(f"recv64: {kind}")
        directory = os.path.join(bench.tmp, "recv64")
        with lib.on_one_core():  # loop and peer never run at once: nothing is lost
            native, hand, preloaded = pairs.interleave(
                lambda mode, k=kind: one_run(directory, k, mode, bursts), pairs.LOOPS,
                bench.rounds(9))
        # Of each round its own ratio: the machine's moods last longer than a round.
        share = lib.median([h / p for h, p in zip(hand, preloaded)])
        gain = lib.median([n / p for n, p in zip(native, preloaded)])
        most = lib.median([n / h for n, h in zip(native, hand)])
        ns = [f"{lib.median(side):.1f} ns" for side in (native, hand, preloaded)]
        out.row(f"{kind}: by hand {ns[1]} a recv", f"{ns[0]} ({1 / most:.3f})", ns[2],
                f"{share:.2f} of by hand", f">= {goal:.2f}", share >= goal)
        wanted = TIMES_NATIVE.get(kind)
        out.row(f"{kind}: of native (by hand {report.times(most)})", ns[0], ns[2],
                report.times(gain), f">= {wanted}x" if wanted else "",
                gain >= wanted if wanted else None)
        out.raw[kind] = {"native": native, "hand": hand, "preloaded": preloaded}
