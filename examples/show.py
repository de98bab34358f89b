"""Tables for the demo: two runs side by side, and the metrics for people."""

import os
import sys

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
# Families of /metrics that say in one line each what happened.
FAMILIES = (
    "weir_streams_opened_total", "weir_app_writes_total", "weir_kernel_writes_total",
    "weir_sent_bytes_total", "weir_pending_bytes", "weir_flushes_total",
    "weir_write_hold_seconds_sum", "weir_write_hold_seconds_count",
    "weir_send_backpressure_seconds_total", "weir_errors_total",
    "weir_internal_errors_total",
)


def bold(text):
    return f"\033[1m{text}\033[0m" if COLOUR else text


def time_of(us):
    return f"{us / 1e3:,.2f} ms" if us >= 1000 else f"{us:,.1f} us"


def size_of(n):
    for unit, step in (("MB", 1e6), ("kB", 1e3)):
        if n >= step:
            return f"{n / step:,.1f} {unit}"
    return f"{n:,.0f} B"


def rate_of(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}"


def columns(rows, gap="   "):
    """The first column to the left, the others to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = []
    for r in rows:
        cells = [c.rjust(w) if i else c.ljust(w)
                 for i, (c, w) in enumerate(zip(r, widths))]
        lines.append("  " + gap.join(cells).rstrip())
    return lines


def compared(native, ours):
    """How many times more or less, in words that need no sign."""
    if not native or not ours:
        return ""
    factor = ours / native
    if 0.95 < factor < 1.05:
        return "the same"
    if factor > 1:
        return f"{factor:,.1f} times"
    return f"{factor:.2g} of native" if factor >= 0.1 else f"1/{1 / factor:,.0f}"


def total(text, family):
    """The sum of a family's samples in /metrics."""
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith((family + "{", family + " ")))


def table(subject, native, ours):
    unit = subject.unit
    plural = "replies" if unit == "reply" else unit + "s"
    rows = [["", "native", "with libweir", "ratio"]]

    def row(what, key, form):
        a, b = (r.get(key) for r in (native, ours))
        rows.append([what, *("?" if x is None else form(x) for x in (a, b)),
                     compared(a, b)])

    row(f"{plural} per second", "rate", rate_of)
    row(f"{subject.latency}, median", "p50_us", time_of)
    row(f"{subject.latency}, p99", "p99_us", time_of)
    row(f"system calls per {unit}", "calls", "{:.2f}".format)
    row(f"sends per {unit}", "sends", "{:.2f}".format)
    row(f"CPU per {unit}", "cpu_us", time_of)
    lines = columns(rows)
    lines[0] = bold(lines[0])
    if "calls" not in native or "calls" not in ours:
        lines.append("  ?: strace may not attach here (see kernel.yama.ptrace_scope)")
    return "\n".join([bold(subject.title), *lines, ""])


def nonzero(counts):
    return " ".join(f"{k} {v:,}" for k, v in counts.items() if v) or "-"


def streams_table(document):
    rows = [["peer", "age", "writes", "sends", "sent", "held now", "blocked"]]
    notes = []
    for s in document["streams"]:
        # What an accepted socket sends are responses, what a connected one sends requests.
        flow = s["response" if s["role"] == "accepted" else "request"]
        peer = s["peer"] or f"fd {s['fd']}"
        rows.append([peer, f"{flow['duration'] / 1e3:.1f} s", f"{flow['appCalls']:,}",
                     f"{flow['kernelCalls']:,}", size_of(flow["totalBytes"]),
                     size_of(flow["pendingBytes"]), f"{flow['backpressureTime']:.0f} ms"])
        notes.append(f"  {peer} flushes: {nonzero(flow['flushes'])}")
    return columns(rows) + notes[:1] if len(rows) > 1 else ["  no open stream"]


def pool_table(document):
    rows = [["chunk", "buffers", "in use", "peak", "taken again", "allocated", "refused"]]
    for t in document["tiers"]:
        if t["buffers"] or t["hits"] or t["misses"]:
            rows.append([f"{t['size'] // 1024} KiB", f"{t['buffers']:,}", f"{t['inUse']:,}",
                         f"{t['peakInUse']:,}", f"{t['hits']:,}", f"{t['misses']:,}",
                         f"{t['exhausted']:,}"])
    return columns(rows) if len(rows) > 1 else ["  nothing was held: no chunk was made"]


def some_lines(text):
    """Lines of /metrics whose value is not zero."""
    lines = []
    for line in text.splitlines():
        name = line.split("{")[0].split(" ")[0]
        if name in FAMILIES and float(line.split()[-1]) != 0:
            lines.append("  " + line)
    return lines


def metrics(commands, streams, pool, text):
    parts = []
    for command, lines in zip(commands, (streams_table(streams), pool_table(pool),
                                         some_lines(text))):
        parts += [bold("$ " + command), *lines, ""]
    return "\n".join(parts)
