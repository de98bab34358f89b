"""Servers that read headers, then bodies, or whole requests: reading ahead must cost
them nothing. And one that reads byte by byte, which gains."""

import functools
import itertools
import json
import os
import subprocess

import counts
import lib
import pairs
import postgres
import report
import servers
import sql

ABOUT = "reading ahead where there is little or nothing to read ahead"
CPU = 1.05        # of native's CPU an operation
POOR = 0.05       # an operation: peeks that served fewer than two reads
PING = 1.02       # of native's median round trip
TINYPROXY = 20    # reads a request; 31 natively
RECEIVE = ("read", "readv", "recvfrom", "recvmsg")


def cpu(out, name, pair, load, bench):
    seconds = 0.3 if bench.quick else 0.6
    runs = pairs.interleave(lambda s: load.run(s, "-t", seconds), pair,
                            bench.rounds(9))
    each = [[r["cpu"] / r["replies"] * 1e6 for r in side] for side in runs]
    share = lib.median([b / a for a, b in zip(*each)])
    out.row(f"{name}: CPU an operation", f"{lib.median(each[0]):.2f} us",
            f"{lib.median(each[1]):.2f} us", f"{share:.3f} of native", f"<= {CPU}",
            share <= CPU)
    out.raw[name] = {"native": runs[0], "preloaded": runs[1]}


def poor_peeks(out, name, server, load, bench):
    operations = 1000 if bench.quick else 5000
    with load.gate(server) as client:
        before = server.peeks()
        if before is None:
            out.row(f"{name}: poor peeks an operation", "", "not counted", "",
                    f"<= {POOR}")
            return
        client.round(operations)
        after = server.peeks()
    made, poor = ((b - a) / operations for a, b in zip(before, after))
    out.row(f"{name}: poor peeks an operation", "", f"{poor:.4f}",
            f"of {made:.4f} peeks", f"<= {POOR}", poor <= POOR)
    out.raw[f"{name}: peeks"] = {"peeks": made, "poor": poor}


def subject(out, name, make, bench):
    directory = os.path.join(bench.tmp, name.partition(",")[0])
    servers_of = pairs.both(make, directory, env=lib.COUNT_PEEKS)
    with lib.on_one_core(), servers_of as (native, preloaded, load):
        cpu(out, name, [native, preloaded], load, bench)
        if preloaded.preload:  # last: whoever asks is watched for a minute
            poor_peeks(out, name, preloaded, load, bench)


def tinyproxy(out, bench):
    """Natively by strace; else by the library's counters, at full speed."""
    requests = 100 if bench.quick else 500
    directory = os.path.join(bench.tmp, "tinyproxy")
    with pairs.both(servers.tinyproxy, directory) as (native, preloaded, load):
        load.run(native, "-k", 1, "-n", 20)
        with counts.Strace(native, follow=True) as strace:
            load.run(native, "-k", 1, "-n", requests)
        calls = sum(strace.calls[call] for call in RECEIVE) / requests
        if not preloaded.preload:
            return
        load.run(preloaded, "-k", 1, "-n", 20)
        before = preloaded.samples()
        load.run(preloaded, "-k", 1, "-n", requests)
        after = preloaded.samples()
    family = "weir_kernel_reads_total"
    ours = (lib.sum_of(after, family) - lib.sum_of(before, family)) / requests
    out.row("tinyproxy: reads a request", f"{calls:.1f}", f"{ours:.1f}", "",
            f"<= {TINYPROXY}", ours <= TINYPROXY)
    out.raw["tinyproxy"] = {"native": calls, "preloaded": ours}


def pinned(core, argv):
    return ["taskset", "-c", str(core), *argv]


def pingpong_server(directory, preload, size, core):
    argv = pinned(core, [lib.program("pingpong"), "serve", str(size), "127.0.0.1:0"])
    return lib.Server(argv, None, preload, directory), None


def round_trip(size, core, count, server):
    """The median, in nanoseconds."""
    argv = [lib.program("pingpong"), "ask", str(size), server.address, str(count)]
    done = subprocess.run(pinned(core, argv), check=True, capture_output=True,
                          timeout=lib.LOAD_TIMEOUT)
    return json.loads(done.stdout)["p50_ns"]


def ping_pong(out, size, apart, bench):
    """On one core nothing but calls and two switches is in a round trip; on two it is
    mostly the waking of the other core, as it is for programs that talk by a wire."""
    cores = sorted(os.sched_getaffinity(0))
    client_core, core = cores[0 if apart else -1], cores[-1]
    count = 3000 if apart else 20_000
    directory = os.path.join(bench.tmp, f"pingpong-{size}-{apart}")
    make = functools.partial(pingpong_server, size=size, core=core)
    with pairs.both(make, directory) as (native, preloaded, _):
        runs = pairs.interleave(functools.partial(round_trip, size, client_core, count),
                                [native, preloaded], bench.rounds(15))
    share = lib.median([b / a for a, b in zip(*runs)])
    a, b = (lib.median(side) / 1e3 for side in runs)
    what = f"ping-pong, {size} byte{'s' if size > 1 else ''}, "
    what += "two cores" if apart else "one core"
    out.row(f"{what}: median", f"{a:.2f} us", f"{b:.2f} us", f"{share:.3f} of native",
            f"<= {PING}", share <= PING)
    out.raw[what] = {"native": runs[0], "preloaded": runs[1]}


def subjects(filled):
    """Each with how to make it, asked when its turn comes."""
    def filled_first(make):
        return functools.partial(make, template=filled())

    return {
        "MariaDB, select 1": lambda: sql.mariadb,
        "PostgreSQL, one row": lambda: filled_first(servers.postgresql),
        "pgbouncer": lambda: filled_first(sql.pgbouncer),
        "haproxy": lambda: servers.haproxy,
        "nginx, 1 KiB file": lambda: servers.nginx,
    }


def run(out, bench):
    @functools.cache
    def filled():
        return postgres.template(os.path.join(bench.tmp, "filled"))

    steps = {name: functools.partial(lambda n, make: subject(out, n, make(), bench),
                                     name, make)
             for name, make in subjects(filled).items()}
    steps["tinyproxy"] = functools.partial(tinyproxy, out, bench)
    for size, apart in itertools.product((1, 64), (True, False)):
        steps[f"ping-pong, {size}, {'two cores' if apart else 'one core'}"] = (
            functools.partial(ping_pong, out, size, apart, bench))
    for name, step in steps.items():
        lib.log(f"readers: {name}")
        try:
            step()
        except lib.Missing as why:
            out.skip(name, why)
