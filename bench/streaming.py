"""The sweep: chunk sizes through the library's own path, and what to set here.

sweep.c writes and reads small records at both ends of sockets, under the library with
that chunk size; sweep_memory.c takes chunks from the library's pool and hands them over
without a socket. Every cell (way, chunk size, streams, pool) is run several times, in
turns with all others. Writes streaming.json, .md, .png and .svg.
"""

import json
import os
import subprocess
import sys
import time

import lib
import streaming_plot

ABOUT = "chunk sizes: throughput, latency and allocations; a setting for this machine"
CHUNKS = [4096 << i for i in range(6)]  # 4 to 128 KiB
STREAMS = [1, 10, 100, 1000]
WAYS = {"tcp": "TCP", "unix": "AF_UNIX", "memory": "in memory"}
SOCKETS = ("tcp", "unix")
DEFAULT = 32768
NATIVE_UNIT = 16384  # without the library: as much at a time as a queue surely takes
LEAST_GAIN = 0.03  # a smaller one is not worth a setting

# The figures that made 32 KiB the default: an implementation in TypeScript that hands
# chunks over inside one process. Megabytes a second, and milliseconds where known.
THEIRS = {4096: (17847, 0.06), 8192: (15490, None), 16384: (37077, None),
          32768: (88202, 0.01), 65536: (116392, None), 131072: (131145, None)}
THEIR_MEANING = (
    "Theirs are of an earlier implementation in TypeScript, whose default weir has "
    "inherited; on another machine it handed chunks over in memory, inside one process "
    "and through no socket: 32 KiB took 0.01 ms, and a pool made about 99 % fewer "
    "allocations. Ours through TCP and AF_UNIX are what a server gets: small records "
    "gathered, sent, received and read through the kernel. 'In memory' copies the "
    "records into a chunk of the pool and out of it again; 'hand-over alone' takes a "
    "chunk, passes it on and puts it back with its bytes untouched, so its megabytes "
    "are no bytes moved, only the price of a chunk.")


class Cell:
    def __init__(self, way, chunk, streams, pool):
        self.way, self.chunk, self.streams, self.pool = way, chunk, streams, pool
        self.runs = []

    def median(self, key):
        return lib.median([run[key] for run in self.runs])

    def document(self):
        return {"way": self.way, "chunk": self.chunk, "streams": self.streams,
                "pool": self.pool, "runs": self.runs}


class Progress:
    """How far it is, and how long it will take: one line where there is a terminal."""

    def __init__(self, total):
        self.total, self.done = total, 0
        self.begin = self.told = time.monotonic()

    def step(self, cell):
        self.done += 1
        now = time.monotonic()
        if now - self.told < 1 and self.done < self.total:
            return
        terminal = sys.stderr.isatty()
        if not terminal and now - self.told < 10 and self.done < self.total:
            return
        self.told = now
        left = (now - self.begin) / self.done * (self.total - self.done)
        text = (f"streaming: {self.done} of {self.total} runs, "
                f"{left // 60:.0f}:{left % 60:02.0f} left "
                f"({WAYS[cell.way]}, {words(cell.streams)})")
        end = "\n" if not terminal or self.done == self.total else ""
        print(f"\r{text:70}" if terminal else text, end=end, file=sys.stderr,
              flush=True)


def words(streams):
    return f"{streams:,} stream{'s' if streams > 1 else ''}"


def kib(size):
    return f"{size >> 10} KiB"


def environment(cell, directory):
    env = {k: v for k, v in os.environ.items() if not k.startswith("STREAM_")}
    env.pop("LD_PRELOAD", None)
    if cell.chunk is None:
        return env
    env.update({
        "LD_PRELOAD": lib.LIB,
        "STREAM_REQUEST_CHUNK_SIZE": str(cell.chunk),
        "STREAM_RESPONSE_CHUNK_SIZE": str(cell.chunk),
        "STREAM_BUFFER_POOL_ENABLED": str(int(cell.pool)),
        # Chunks leave when they are full or asked for; delays are not the question.
        "STREAM_FLUSH_DELAY_US": "1000000",
        "STREAM_METRICS_SOCKET": os.path.join(directory, "m.sock"),
        "STREAM_METRICS_AT_EXIT": os.path.join(directory, "last.json"),
    })
    return env


def counted(result, directory):
    """Adds what the library counted: its last metrics."""
    with open(os.path.join(directory, "last.json"), encoding="utf-8") as f:
        last = json.load(f)
    result["allocations"] = sum(t["misses"] for t in last["pool"]["tiers"])
    result["kernel_calls"] = sum(d["kernelCalls"] for d in last["totals"].values())
    return result


def one_run(cell, ms, directory):
    if cell.way == "memory":
        argv = ["sweep_memory", str(int(cell.pool)), str(cell.streams), str(cell.chunk)]
        env = None
    else:
        argv = ["sweep", cell.way, str(cell.streams), str(cell.chunk or NATIVE_UNIT)]
        env = environment(cell, directory)
    argv[0] = lib.program(argv[0])
    done = subprocess.run([*argv, str(ms)], env=env, check=True, capture_output=True,
                          timeout=lib.LOAD_TIMEOUT)
    result = json.loads(done.stdout)
    if cell.way != "memory" and cell.chunk:
        counted(result, directory)
    return result


def all_cells():
    cells = [Cell(way, chunk, streams, pool) for way in WAYS for chunk in CHUNKS
             for streams in STREAMS for pool in (True, False)]
    # Beside them, the same records without the library.
    return cells + [Cell(way, None, streams, True) for way in SOCKETS
                    for streams in STREAMS]


def sweep(cells, ms, rounds, directory):
    progress = Progress(len(cells) * rounds)
    order = list(cells)
    for _ in range(rounds):
        for cell in order:
            cell.runs.append(one_run(cell, ms, directory))
            progress.step(cell)
        order.reverse()


def geometric_mean(values):
    product = 1.0
    for value in values:
        product *= value
    return product ** (1 / len(values))


def against_default(found, chunk, rounds):
    """Of each round, this size's throughput by the default's: the mean over sockets and
    numbers of streams, pool on."""
    return [geometric_mean([found[way, chunk, n, True].runs[r]["mb_s"] /
                            found[way, DEFAULT, n, True].runs[r]["mb_s"]
                            for way in SOCKETS for n in STREAMS])
            for r in range(rounds)]


def recommend(found, rounds):
    """The size whose gain over the default is beyond the noise, if there is one.

    A gain has to be there in every round, and larger than the rounds differ. Of such
    sizes the smallest that comes within the noise of the best: memory is one chunk for
    each stream with bytes under way.
    """
    gains = {c: against_default(found, c, rounds) for c in CHUNKS if c != DEFAULT}
    noise = {c: max(LEAST_GAIN, max(g) - min(g)) for c, g in gains.items()}
    middle = {c: lib.median(g) for c, g in gains.items()}
    better = [c for c, g in gains.items()
              if min(g) > 1 and middle[c] > 1 + noise[c] and rounds > 1]
    chosen = DEFAULT
    if better:
        best = max(better, key=middle.get)
        chosen = min(c for c in better if middle[c] >= middle[best] - noise[best])
    return {"chunk": chosen, "gain": middle.get(chosen, 1.0),
            "noise": noise.get(chosen, lib.median(noise.values())),
            "against_default": {str(c): g for c, g in gains.items()}}


def advice(choice):
    within = f"(noise {choice['noise'] * 100:.0f} %)"
    if choice["chunk"] == DEFAULT:
        return f"keep the default of {kib(DEFAULT)}: no other size is better {within}"
    return (f"STREAM_REQUEST_CHUNK_SIZE={choice['chunk']} "
            f"STREAM_RESPONSE_CHUNK_SIZE={choice['chunk']}: "
            f"{(choice['gain'] - 1) * 100:+.0f} % throughput {within}")


def table_of(found, way):
    lines = [f"**{WAYS[way]}**: MB/s (microseconds a chunk) with the pool; then 100 "
             "streams without it; then how many chunks were allocated for how many "
             "that were moved, 100 streams with and without it", "",
             "| chunk | " + " | ".join(words(n) for n in STREAMS) +
             " | pool off | allocated, pool on | pool off |",
             "|--:" * (len(STREAMS) + 4) + "|"]
    for chunk in CHUNKS:
        cells = [f"{c.median('mb_s'):,.0f} ({c.median('p50_ns') / 1e3:.1f})"
                 for c in (found[way, chunk, n, True] for n in STREAMS)]
        on, off = (found[way, chunk, 100, pool] for pool in (True, False))
        cells.append(f"{off.median('mb_s'):,.0f} ({off.median('p50_ns') / 1e3:.1f})")
        cells += [f"{c.median('allocations'):,.0f} of {c.median('chunks'):,.0f}"
                  for c in (on, off)]
        lines.append(f"| {kib(chunk)} | " + " | ".join(cells) + " |")
    if way in SOCKETS:
        natives = [found[way, None, n, True].median("mb_s") for n in STREAMS]
        lines.append("| no library | " + " | ".join(f"{x:,.0f}" for x in natives) +
                     " | | | |")
    return lines


def beside_theirs(found):
    lines = ["**Beside the figures that made the default**: 1 stream, pool on, MB/s",
             "", "| chunk | TCP | AF_UNIX | in memory | hand-over alone | theirs |",
             "|--:|--:|--:|--:|--:|--:|"]
    for chunk, (rate, ms) in THEIRS.items():
        ours = [found[way, chunk, 1, True] for way in WAYS]
        cells = [f"{c.median('mb_s'):,.0f}" for c in ours]
        cells.append(f"{chunk * 1e3 / ours[2].median('handover_ns'):,.0f}")
        cells.append(f"{rate:,}" + (f" ({ms} ms)" if ms else ""))
        lines.append(f"| {kib(chunk)} | " + " | ".join(cells) + " |")
    return lines + ["", THEIR_MEANING]


def rows(out, found):
    """The default size against no library, and the pool's effect."""
    for way in SOCKETS:
        for n in STREAMS:
            native, ours = found[way, None, n, True], found[way, DEFAULT, n, True]
            calls = ours.median("kernel_calls") / ours.median("chunks")
            a, b = native.median("mb_s"), ours.median("mb_s")
            out.row(f"{WAYS[way]}, {words(n)}, {kib(DEFAULT)}", f"{a:,.0f} MB/s",
                    f"{b:,.0f} MB/s", f"{b / a:.2f}x", f"{calls:.1f} calls a chunk")
    for way in WAYS:
        made = [sum(found[way, c, n, pool].median("allocations") for c in CHUNKS
                    for n in STREAMS) /
                sum(found[way, c, n, pool].median("chunks") for c in CHUNKS
                    for n in STREAMS) for pool in (False, True)]
        out.row(f"{WAYS[way]}: allocations a chunk, pool off and on", f"{made[0]:.3f}",
                f"{made[1]:.4f}", f"{(1 - made[1] / made[0]) * 100:.1f} % fewer")


def save(out, directory, cells, choice):
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "streaming")
    with open(path + ".json", "w", encoding="utf-8") as f:
        json.dump({"schema": "weir.streaming/1", "machine": lib.machine(),
                   "cells": [c.document() for c in cells], "recommended": choice,
                   "theirs": {str(c): {"mb_s": r, "ms": ms}
                              for c, (r, ms) in THEIRS.items()}}, f, indent=1)
        f.write("\n")
    with open(path + ".md", "w", encoding="utf-8") as f:
        f.write(out.markdown + "\n")
    names = ".json .md"
    try:
        streaming_plot.draw(path, cells, WAYS, THEIRS)
        names += " .png .svg"
    except lib.Missing as why:
        out.skip("plot", why)
    out.row("written", "", "", names, path)


def run(out, bench):
    if not lib.preloaded_is_real():
        out.skip("streaming", "needs the library")
        return
    ms, rounds = (40, 2) if bench.quick else (200, 3)
    cells = all_cells()
    found = {(c.way, c.chunk, c.streams, c.pool): c for c in cells}
    with lib.on_one_core():
        sweep(cells, ms, rounds, bench.tmp)
    choice = recommend(found, rounds)
    rows(out, found)
    out.row("recommended here", "", "", advice(choice))
    out.raw["recommended"] = choice
    lines = []
    for way in WAYS:
        lines += table_of(found, way) + [""]
    out.markdown = "\n".join(lines + beside_theirs(found))
    save(out, bench.out, cells, choice)
