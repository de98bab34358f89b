"""64-byte sends against the same loop rewritten by hand, in CPU time."""

import json
import os
import subprocess

import lib
import pairs

ABOUT = "64-byte sends, CPU time of the sender; 1.00 is the loop rewritten by hand"
GOALS = {"TCP": 0.70, "AF_UNIX": 0.60}
# The native loop is a hundred times slower: fewer sends measure it as well.
MODES = {"native": ("plain", False, 0.1), "hand": ("hand", False, 1),
         "preloaded": ("plain", True, 1)}


def one_run(directory, kind, mode, sends):
    """Nanoseconds of CPU a send."""
    how, preload, scale = MODES[mode]
    os.makedirs(directory, exist_ok=True)
    address = "127.0.0.1:0"
    if kind == "AF_UNIX":
        address = os.path.join(directory, "s")
        if os.path.exists(address):
            os.unlink(address)
    env = {**os.environ, "STREAM_METRICS_SOCKET": os.path.join(directory, "m")}
    if preload and lib.preloaded_is_real():
        env["LD_PRELOAD"] = lib.LIB
    count = int(sends * scale)
    sender = subprocess.Popen([lib.program("small_sends"), how, address, str(count)],
                              stdout=subprocess.PIPE, env=env)
    try:
        where = lib.read_line(sender.stdout, 20)
        subprocess.run([lib.program("small_sends"), "drain", where], check=True,
                       capture_output=True, timeout=60)
        result = json.loads(lib.read_line(sender.stdout, 20))
        sender.wait(20)
    finally:
        sender.kill()
        sender.stdout.close()
        sender.wait()
    return result["cpu_ns"] / count


def run(out, bench):
    sends = 3_000_000 if bench.quick else 10_000_000
    for kind, goal in GOALS.items():
        lib.log(f"small_sends: {kind}")
        directory = os.path.join(bench.tmp, "small_sends")
        native, hand, preloaded = pairs.interleave(
            lambda mode, k=kind: one_run(directory, k, mode, sends), MODES,
            bench.rounds(9))
        # Of each round its own ratio: the machine's moods last longer than a round.
        share = lib.median([h / p for h, p in zip(hand, preloaded)])
        of_native = lib.median([h / n for h, n in zip(hand, native)])
        out.row(f"{kind}: by hand {lib.median(hand):.1f} ns a send",
                f"{lib.median(native):.0f} ns ({of_native:.3f})",
                f"{lib.median(preloaded):.1f} ns", f"{share:.2f} of by hand",
                f">= {goal:.2f}", share >= goal)
        out.raw[kind] = {"native": native, "hand": hand, "preloaded": preloaded}
