"""Idle costs nothing: idle connections, a program without sockets, and servers that
nobody asks for metrics."""

import collections
import contextlib
import os
import subprocess
import time

import counts
import lib
import pairs
import servers

ABOUT = "idle connections hold no chunk; no thread, file or region without need"
PIPELINED = b"get k\r\n" * 4
ANSWER_END = b"END\r\n"


def open_many(stack, server, count):
    """Connections that were each answered four pipelined requests, and then idle."""
    for _ in range(count):
        s = stack.enter_context(lib.connect(server.address))
        s.sendall(PIPELINED)
        answer = b""
        while answer.count(ANSWER_END) < 4:
            block = s.recv(4096)
            if not block:
                raise RuntimeError("memcached closed")
            answer += block


def pool_bytes_in_use(server):
    pool = server.ask("/buffer-pool-metrics")
    return pool["totalInUse"], pool["totalBytes"]


def connections(out, bench):
    count = 2000 if bench.quick else 10000
    lib.log(f"idle: {count} connections")
    grown, in_use, pool = [], 0, 0
    for preload in (False, True):
        directory = os.path.join(bench.tmp, f"memcached-{preload}")
        server, _ = servers.memcached(directory, preload, connections=count + 100)
        with server, contextlib.ExitStack() as stack:
            before = lib.rss_bytes(server.pid)
            open_many(stack, server, count)
            time.sleep(1.5)  # whatever still flushes has long done so
            grown.append((lib.rss_bytes(server.pid) - before) / count)
            if server.preload:
                in_use, pool = pool_bytes_in_use(server)
    out.row(f"{count} idle connections: chunks in use", "", str(in_use),
            f"pool keeps {pool / 1e6:.1f} MB", "0", in_use == 0)
    out.row("memory a connection (RSS)", f"{grown[0]:,.0f} B", f"{grown[1]:,.0f} B",
            f"{grown[1] - grown[0]:+,.0f} B")
    out.raw["connections"] = {"count": count, "rss_each": grown, "in_use": in_use}


def inspect(pid, run):
    """What a process without sockets must not have more of."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        shared = sum(line.split()[1].endswith("s") for line in f)
    return {"threads": len(os.listdir(f"/proc/{pid}/task")),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "shared regions": shared, "files": len(os.listdir(run))}


def without_sockets(out, bench):
    lib.log("idle: a program without sockets")
    code = ("import os, time; r, w = os.pipe(); os.write(w, b'x'); os.read(r, 1);"
            "open('/etc/passwd').read(); time.sleep(0.01);"
            "print('up', flush=True); input()")
    found = {}
    for preload in (False, True):
        run = os.path.join(bench.tmp, f"none-{preload}")
        os.makedirs(run)
        env = {**os.environ, "STREAM_METRICS_SOCKET": os.path.join(run, "m.sock")}
        if preload and lib.preloaded_is_real():
            env["LD_PRELOAD"] = lib.LIB
        with subprocess.Popen([lib.PYTHON, "-c", code], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=env) as p:
            lib.read_line(p.stdout, 20)
            found[preload] = inspect(p.pid, run)
            p.stdin.write(b"\n")
    for what, native in found[False].items():
        out.row(f"no sockets: {what}", str(native), str(found[True][what]), "",
                "as many", found[True][what] == native)


def nobody_asks(out, bench, name, make):
    lib.log(f"idle: {name} unwatched")
    with pairs.both(make, os.path.join(bench.tmp, name)) as (native, preloaded, load):
        for server in (native, preloaded):
            load.run(server, "-n", 2000)
            load.run(server, "-n", 2000, "-c", 16)
        time.sleep(0.2)  # the last wake-ups
        names = [collections.Counter(thread[2] for thread in lib.threads(server.pid))
                 for server in (native, preloaded)]
        more = names[1] - names[0]
        out.row(f"{name}, nobody asks: threads", str(names[0].total()),
                str(names[1].total()), " ".join(sorted(more.elements())) or "no more",
                "no weir-keeper", "weir-keeper" not in more)
        if preloaded.preload:
            # The control: the figure above would also be 0 if threads had no names.
            preloaded.ask("/metrics")
            load.run(preloaded, "-n", 2000)
            after = counts.own_threads(preloaded)
            out.row(f"{name}, asked once: threads", str(names[0].total()),
                    str(len(lib.threads(preloaded.pid))), " ".join(after) or "none",
                    "a serving thread", len(after) > 0)


def run(out, bench):
    connections(out, bench)
    without_sockets(out, bench)
    for name, make in (("redis", servers.redis), ("nginx", servers.nginx)):
        try:
            nobody_asks(out, bench, name, make)
        except lib.Missing as why:
            out.skip(name, why)
