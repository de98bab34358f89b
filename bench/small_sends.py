"""64-byte sends against the same loop rewritten by hand, in CPU time."""

import os

import lib
import pairs

ABOUT = "64-byte sends, CPU time of the sender; 1.00 is the loop rewritten by hand"
GOALS = {"TCP": 0.70, "AF_UNIX": 0.60}


def one_run(directory, kind, mode, sends):
    """Nanoseconds of CPU a send."""
    result = pairs.one_loop("small_sends", "drain", directory, kind, mode, sends)
    return result["cpu_ns"] / result["sends"]


def run(out, bench):
    sends = 3_000_000 if bench.quick else 10_000_000
    for kind, goal in GOALS.items():
        lib.log(f"small_sends: {kind}")
        directory = os.path.join(bench.tmp, "small_sends")
        native, hand, preloaded = pairs.interleave(
            lambda mode, k=kind: one_run(directory, k, mode, sends), pairs.LOOPS,
            bench.rounds(9))
        # Of each round its own ratio: the machine's moods last longer than a round.
        share = lib.median([h / p for h, p in zip(hand, preloaded)])
        of_native = lib.median([h / n for h, n in zip(hand, native)])
        out.row(f"{kind}: by hand {lib.median(hand):.1f} ns a send",
                f"{lib.median(native):.0f} ns ({of_native:.3f})",
                f"{lib.median(preloaded):.1f} ns", f"{share:.2f} of by hand",
                f">= {goal:.2f}", share >= goal)
        out.raw[kind] = {"native": native, "hand": hand, "preloaded": preloaded}
