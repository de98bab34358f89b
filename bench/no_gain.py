"""Servers with one write a reply have nothing to gain: they must notice nothing.

Four questions for each: is anything held, is a system call added a request, how many
instructions are added, and does the throughput differ from native by more than native
differs from itself?
"""

import contextlib
import functools
import os

import counts
import lib
import pairs
import postgres
import report
import servers

ABOUT = "one write a reply: nothing held, no call added, no throughput lost"
# name: (how to make it, instructions it may add a request, requests they are counted
# over); the cheaper a request, the more a server's own timers blur it. Where a reply
# passes through condition variables, as from Tcl's notifier, it may be more. slapd's is
# two writes of a worker, which are left alone once a connection is known for it.
SUBJECTS = {
    "redis": (servers.redis, 300, 2000),
    "memcached": (servers.memcached, 300, 4000),
    "nginx, 1 KiB file": (servers.nginx, 300, 1000),
    "haproxy": (servers.haproxy, 300, 1000),
    "slapd, one entry": (servers.slapd, 400, 500),
    "Tcl, one line": (servers.tcl_one, 400, 1000),
    "Apache event, 1 KiB file": (servers.apache, 400, 500),
    "pgbench -S": (servers.postgresql, 300, 300),
    "C, pool worker": (servers.pool_worker, 400, 2000),
}
QUICK_COUNTS = ("redis", "memcached", "C, pool worker")
KNOWN_LATER = ("slapd, one entry",)  # a worker's first reply is held: by it the
WARM = 3  # connection is known, so these come before what is judged
CALL_NOISE = 0.05  # calls a request that a server's own timers may add
WIDE = 0.1  # a middle half wider than this can't tell


def held(out, name, server, load, replies):
    with load.gate(server) as client:
        if name in KNOWN_LATER:
            client.round(WARM)
        before = server.samples()
        client.round(replies)
        after = server.samples()

    def grown(family):
        return lib.sum_of(after, family) - lib.sum_of(before, family)

    app, kernel = grown("weir_app_writes_total"), grown("weir_kernel_writes_total")
    holds = grown("weir_write_hold_seconds_count")
    out.row(f"{name}: held", "", f"{holds:.0f} holds",
            f"{app:.0f} writes, {kernel:.0f} to the kernel",
            "0 holds, as many writes", holds == 0 and app == kernel and app > 0)


def calls(out, name, trio, load, bench):
    """Each kind of call against the most that the native servers made of it: how often
    threads meet at a lock (futex) changes from run to run."""
    replies = 200 if bench.quick else 400
    runs = pairs.interleave(lambda s: counts.calls_a_reply(s, load, replies), trio,
                            1 if bench.quick else 2)
    native, preloaded = runs[0] + runs[2], runs[1]
    totals = [lib.median([sum(run.values()) for run in side])
              for side in (native, preloaded)]
    added = {}
    for call in sorted(set().union(*preloaded)):
        most = max(r.get(call, 0) for r in native)
        ours = lib.median([r.get(call, 0) for r in preloaded])
        if ours > most + CALL_NOISE:
            added[call] = ours - most
    if totals[1] <= totals[0]:
        added = {}  # one kind for another
    out.row(f"{name}: calls a request", f"{totals[0]:.2f}", f"{totals[1]:.2f}",
            " ".join(f"{call} {n:+.2f}" for call, n in added.items()) or "none added",
            "none added", not added)
    out.raw[f"{name}: calls"] = {"native": native, "preloaded": preloaded}


def instructions(out, name, make, limit, directory, replies):
    """The least of two runs: what a server's own timers do comes on top. The names are
    equally long: PostgreSQL takes 100 instructions more or less by how its paths lie."""
    a, b = (min(counts.instructions_a_reply(make, os.path.join(directory, f"{word}{i}"),
                                            flag, replies) for i in range(2))
            for word, flag in (("cg-native", False), ("cg-loaded", True)))
    out.row(f"{name}: instructions", f"{a:,.0f}", f"{b:,.0f}", f"{b - a:+,.0f}",
            f"<= +{limit}", b - a <= limit)
    out.raw[f"{name}: instructions"] = {"native": a, "preloaded": b}


def one_run(load, bench, server):
    """A run of a server that was started for it: two processes of one program differ by
    up to a per cent for as long as they live, natively too, by where the kernel put
    their pages. Of servers kept for all runs each pair would have the same difference
    in it, and native's middle half lie beside 1."""
    server.restart()
    if isinstance(server, postgres.Postgres):
        postgres.pgbench(server, 500)
        return postgres.pgbench(server, 2000 if bench.quick else 6000)
    load.run(server, "-t", 0.08)
    return load.run(server, "-t", 0.15 if bench.quick else 0.25)


def throughput(out, name, trio, load, bench):
    rounds = 5 if bench.quick else 15
    runs = pairs.interleave(functools.partial(one_run, load, bench), trio, rounds)
    rates = [[r["rate"] for r in side] for side in runs]
    ours = lib.median([b / a for a, b in zip(rates[0], rates[1])])
    low, high = lib.quartiles([b / a for a, b in zip(rates[0], rates[2])])
    silent = high - low > WIDE or bench.quick
    why = " (too few pairs to tell)" if bench.quick else " (too wide to tell)"
    goal = f"{low:.3f} to {high:.3f}" + (why if silent else "")
    out.row(f"{name}: throughput", report.rate(lib.median(rates[0])),
            report.rate(lib.median(rates[1])), f"{ours:.3f}x", goal,
            None if silent else ours >= low)
    out.raw[f"{name}: rates"] = dict(zip(("native", "preloaded", "native2"), rates))


def subject(out, name, make, limit, replies, bench):
    directory = os.path.join(bench.tmp, make.__name__ if hasattr(make, "__name__")
                             else "postgresql")
    with contextlib.ExitStack() as stack:
        stack.enter_context(lib.on_one_core())
        trio = []
        for word, preload in (("native", False), ("preloaded", True),
                              ("native2", False)):
            server, load = make(os.path.join(directory, word), preload)
            trio.append(stack.enter_context(server))
        throughput(out, name, trio, load, bench)
        calls(out, name, trio, load, bench)
        if lib.preloaded_is_real():  # last: whoever asks is watched for a minute
            held(out, name, trio[1], load, 500 if bench.quick else 2000)
    if not bench.quick or name in QUICK_COUNTS:
        instructions(out, name, make, limit, directory, replies)


def run(out, bench):
    for name, (make, limit, replies) in SUBJECTS.items():
        lib.log(f"no_gain: {name}")
        try:
            if make is servers.postgresql:
                filled = postgres.template(os.path.join(bench.tmp, "filled"))
                make = functools.partial(make, template=filled)
            subject(out, name, make, limit, replies, bench)
        except lib.Missing as why:
            out.skip(name, why)
