"""The sweep's picture, by gnuplot: a column for each way, throughput above latency."""

import os
import subprocess
import tempfile

import lib

COLORS = {1: "#0b3c5d", 10: "#328cc1", 100: "#e07a1f", 1000: "#b3261e"}
TERMINALS = {"png": "pngcairo size 1500,900 font 'DejaVu Sans,11' background 'white'",
             "svg": "svg size 1500,900 font 'DejaVu Sans,11' background 'white'"}
# The first panel's legend stands below all of them; the third adds a curve of its own.
KEYS = {
    ("tcp", "mb_s"): "set key default; set key at screen 0.5, screen 0.08 center "
                     "horizontal maxcols 5 reverse Left width 2",
    ("memory", "mb_s"): "set key default; set key top left reverse Left",
}
HEAD = """\
set multiplot layout 2,3 margins 0.055,0.985,0.175,0.95 spacing 0.045,0.1
set logscale x 2
set xrange [3400:155000]
set xtics ("4" 4096, "8" 8192, "16" 16384, "32" 32768, "64" 65536, "128" 131072)
set grid ytics lt 1 lw 0.5 lc rgb '#cccccc'
set arrow 1 from 32768, graph 0 to 32768, graph 1 nohead dt 3 lc rgb '#888888'
set label 1 'default' at 32768, graph 0.04 offset 0.4,0 tc rgb '#888888'
set label 2 'Solid: pool on; dashed: pool off. One thread at both ends of all streams, \
records of 256 bytes, one core.' at screen 0.5, screen 0.022 center
"""


def blocks(cells, key, scale):
    """The data of one panel: {(streams, pool): [(chunk, value)]}."""
    series = {}
    for c in cells:
        if c.chunk:
            series.setdefault((c.streams, c.pool), []).append(
                (c.chunk, c.median(key) * scale))
    return series


def panel(way, title, cells, key, scale, theirs=None):
    """Commands of one panel, its data before it."""
    lines, curves = [], []
    for (streams, pool), points in blocks(cells, key, scale).items():
        name = f"${way}_{key}_{streams}_{int(pool)}"
        lines += [f"{name} << EOD", *(f"{x} {y:.6g}" for x, y in sorted(points)), "EOD"]
        style = f"lc rgb '{COLORS[streams]}' " + ("lw 2 pt 7 ps 0.8" if pool else
                                                  "lw 1.3 dt 2 pt 6 ps 0.6")
        word = "stream" if streams == 1 else "streams"
        label = f"title '{streams:,} {word}'" if pool and not theirs else "notitle"
        curves.append(f"{name} using 1:2 with linespoints {style} {label}")
    natives = [c.median(key) * scale for c in cells if not c.chunk]
    if natives and key == "mb_s":
        curves.append(f"{lib.median(natives):.6g} with lines lc rgb '#555555' dt 3 "
                      "lw 2 title 'no library'")
    if theirs:
        name = f"${way}_theirs"
        lines += [f"{name} << EOD"]
        lines += [f"{chunk} {rate}" for chunk, (rate, _) in theirs.items()] + ["EOD"]
        curves.append(f"{name} using 1:2 with linespoints lc rgb '#2e7d32' lw 1.5 "
                      "pt 4 ps 0.8 title 'TypeScript, in process'")
    # Where a few values are a hundred times the others, only a logarithm shows both.
    log = key == "p50_ns" or theirs is not None
    lines += [f"set title '{title}' noenhanced",
              "set logscale y" if log else "unset logscale y",
              "set yrange [*:*]" if log else "set yrange [0:*]",
              "set format y " + ("'%.0s%c'" if theirs else "'%.10g'"),
              "plot " + ", \\\n\t".join(curves)]
    return lines


def script(path, terminal, cells, ways, theirs):
    lines = [f"set terminal {TERMINALS[terminal]}", f"set output '{path}.{terminal}'",
             HEAD]
    for key, what, scale in (("mb_s", "MB/s", 1), ("p50_ns", "microseconds a chunk",
                                                   1e-3)):
        lines.append(f"set ylabel '{what}' offset 0.5,0")
        lines.append(f"set xlabel '{'chunk, KiB' if key == 'p50_ns' else ''}'")
        for way, name in ways.items():
            of_way = [c for c in cells if c.way == way]
            beside = theirs if way == "memory" and key == "mb_s" else None
            lines.append(KEYS.get((way, key), "set key off"))
            title = f"{name}: {'throughput' if key == 'mb_s' else 'latency'}"
            lines += panel(way, title, of_way, key, scale, beside)
            lines += ["unset ylabel", "unset label 2"]
    return "\n".join(lines + ["unset multiplot", ""])


def draw(path, cells, ways, theirs):
    gnuplot = lib.tool("gnuplot", "gnuplot-nox")
    with tempfile.TemporaryDirectory() as cache:
        for terminal in TERMINALS:
            done = subprocess.run([gnuplot], text=True, timeout=60, check=False,
                                  input=script(path, terminal, cells, ways, theirs),
                                  capture_output=True,
                                  env={**os.environ, "XDG_CACHE_HOME": cache})
            if done.returncode:
                raise RuntimeError(f"gnuplot: {done.stderr[-300:]}")
