"""Counts that a noisy machine does not blur: system calls by strace, instructions by
callgrind, both for a known number of replies on connections that are already open."""

import collections
import os
import signal
import subprocess
import time

import lib

# strace makes a turn take half a millisecond and valgrind more: with the usual delay
# the keeper would flush what at full speed leaves with the reply.
SLOW = {"STREAM_FLUSH_DELAY_US": "1000000"}
OWN_THREADS = "weir-"  # the library's helpers are named so


def own_threads(server):
    return sorted(name for _, _, name in lib.threads(server.pid)
                  if name.startswith(OWN_THREADS))


def application_threads(server):
    return [tid for _, tid, name in lib.threads(server.pid)
            if not name.startswith(OWN_THREADS)]


class Strace:
    """Counts the calls of a server's present threads, its keeper apart.

    With `follow` also those of what it starts meanwhile. `calls` is filled at exit.
    """

    def __init__(self, server, follow=False):
        self.out = os.path.join(server.directory, "strace.out")
        self.log = os.path.join(server.directory, "strace.log")
        self.tids = application_threads(server)
        argv = [lib.tool("strace", "strace"), "-c", "-U", "calls,name", "-o", self.out]
        argv += ["-f"] if follow else []
        self.argv = argv + [x for tid in self.tids for x in ("-p", str(tid))]
        self.calls = collections.Counter()
        self.process = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.argv, stderr=log)
        lib.wait_until(self.attached, "strace to attach")
        return self

    def attached(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"strace ended: see {self.log}")
        with open(self.log, encoding="utf-8") as f:
            return f.read().count(" attached") >= len(self.tids)

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        if not os.path.exists(self.out):
            return
        with open(self.out, encoding="utf-8") as f:
            for line in f:
                fields = line.split()
                if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                    self.calls[fields[1]] += int(fields[0])


def calls_a_reply(server, load, replies, *extra):
    """System calls a reply, by name, on one warm connection."""
    with load.gate(server, *extra) as client:
        client.round(replies // 4)
        with Strace(server) as strace:
            done = client.round(replies)["replies"]
    return {name: count / done for name, count in strace.calls.items()}


def callgrind(directory):
    """The command to put in front of a server; its counts go into the directory."""
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o777)  # servers change their user
    # memcached insists on a limit of exactly its connections, and valgrind only grants
    # the soft limit it was started with.
    return ["prlimit", "--nofile=1024:8192", lib.tool("valgrind", "valgrind"),
            "--tool=callgrind", "--quiet", "--vgdb-poll=100", "--trace-children=yes",
            f"--vgdb-prefix={directory}/vgdb",
            f"--callgrind-out-file={directory}/cg.%p"]


def total_of(path):
    """The instructions of one part, or None while it is still being written."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="latin-1") as f:
        for line in f:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    return None


class Callgrind:
    """Reads and resets the count of the one process that serves a connection.

    A command reaches valgrind when the process next runs a few instructions, not by
    ptrace: waking it out of a wait call that way crashes valgrind 3.19. So each dump
    is followed by some requests, the first of which takes it.
    """

    PUSH = 20

    def __init__(self, server, client, directory):
        self.client, self.directory = client, directory
        before = {pid: lib.cpu_of(pid) for pid in lib.tree(server.pid)}
        client.round(300)
        self.pid = max(before, key=lambda pid: lib.cpu_of(pid) - before[pid])
        self.parts = 0

    def dump(self):
        """Instructions since the last dump."""
        # As the server's user: valgrind asks by a signal whether its caller lives.
        owner = os.stat(f"/proc/{self.pid}").st_uid
        who = {} if owner == os.geteuid() else {"user": owner}
        command = subprocess.Popen(
            ["vgdb", f"--pid={self.pid}", f"--vgdb-prefix={self.directory}/vgdb",
             "--max-invoke-ms=0", "--wait=10", "dump"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)
        try:
            time.sleep(0.1)  # for the command to lie in valgrind's pipe
            self.client.round(self.PUSH)
            command.wait(20)
        finally:
            command.kill()
            command.wait()
        self.parts += 1
        path = f"{self.directory}/cg.{self.pid}.{self.parts}"
        return lib.wait_until(lambda: total_of(path), path)


def instructions_a_reply(make, directory, preload, replies):
    """By the slope between `replies` and twice as many on one warm connection: what a
    dump or a wake-up costs falls out. A server's own timers only ever add: of several
    measurements the least counts."""
    out = os.path.join(directory, "callgrind")
    server, load = make(directory, preload, via=callgrind(out), env=SLOW)
    once, twice = [], []
    with server, load.gate(server) as client:
        grind = Callgrind(server, client, out)
        grind.dump()
        for _ in range(3):
            client.round(replies)
            once.append(grind.dump())
            client.round(2 * replies)
            twice.append(grind.dump())
    return (min(twice) - min(once)) / replies
