"""Makes the library's system calls fail, one at a time, under real programs.

    faults.py [--whole] [PROGRAM...]       what make check runs, or all of it
    faults.py --one PROGRAM KIND K ERROR   one fault again; K may be 3, 3-9 or 3-
    faults.py --storm PROGRAM SEED EVERY   one storm again
    faults.py --list PROGRAM               the kinds of calls it makes, and how many

subject.c is the program, libfaulty.so the library with faulty.c between it and the kernel, and
this its peer. A first run counts the calls of each kind that the library makes. Then,
for every kind, every k and every plausible errno, a run in which the k-th call fails:
the peer compares every byte, the program must say that all its calls went well and end
with status 0, and the library may say one line on stderr. Where the errno is one of the
connection (a reset), the program may be told of it, once, and then what has arrived is a
beginning of what it sent. Then the same with several calls in a row, as where memory is short for
a while; with all calls from the first on, as behind a filter; and storms, in which many calls of all
kinds fail.
"""
import argparse
import itertools
import multiprocessing
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import kinds
import peer

BUILD = os.path.abspath(os.environ.get("WEIR_BUILD", "."))
SUBJECT = f"{BUILD}/tests/faults/subject"
LIBRARY = f"{BUILD}/tests/faults/.libs/libfaulty.so"

HEAD = struct.Struct("<QQQQQqQ")
ENTRY = struct.Struct("<Qq")
NR_KINDS = NR_ERRORS = 250
ALL = 2**64 - 1
# How long a program is left waiting, and what it may use of the processor meanwhile, in seconds.
WAIT = 0.3
BUSY = 0.25
# Whoever waits by these must not go round and round where they are refused.
WAITS = {"rt_sigtimedwait all", "ppoll all", "futex all", "timer_settime all", "fcntl all"}
# So many calls in a row fail where the kernel is short of something for a while.
SPELL = 6
# Runs in which one call in so many fails, and how many of each.
STRENGTHS = (4, 15, 60)
STORMS, STORMS_WHOLE = 2, 60

# The name, CONNECTIONS, the settings. The metrics socket is off or "bound"; "asked", between connections; or
# "watched": asked at first, and the peer is a slow one.
PROGRAMS = {
    "serve": ("serve", 2, {"STREAM_TEST": "eager"}),
    "asked": ("serve", 2, {"socket": "asked"}),
    "fork": ("fork", 3, {"socket": "asked"}),
    "turns": ("turns", 1, {"STREAM_FLUSH_DELAY_US": "20000"}),
    "epoll": ("epoll", 3, {}),
    "threads": ("threads", 2, {"STREAM_TEST": "eager", "STREAM_FLUSH_DELAY_US": "2000"}),
    "hand-over": ("hand-over", 3, {"STREAM_TEST": "eager"}),
    "unix": ("unix", 2, {"STREAM_TEST": "eager", "STREAM_BUFFER_POOL_ENABLED": "0",
                         "STREAM_RESPONSE_CHUNK_SIZE": "4096", "socket": "asked"}),
    "sandbox": ("sandbox", 2, {"STREAM_TEST": "eager", "socket": "bound"}),
    "watched": ("serve", 2, {"socket": "watched", "STREAM_METRICS_AT_EXIT": "file"}),
    "client": ("client", 2, {"STREAM_TEST": "eager"}),
}

# What calls on a connection say that is no more.
AFTERWARDS = {"EPIPE", "ECONNRESET", "ENOTCONN", "ENODATA"}

# Slow, and like another: not in a short run.
LONG = {"watched"}


# ---- one run ----

class Run:
    """One program, with one fault or none."""

    def __init__(self, program, plan=(0, 0, 0, 0), told=frozenset(), pause=0.0, under=()):
        self.program, self.plan, self.told, self.pause = program, plan, told, pause
        self.under, self.subject = list(under), SUBJECT
        self.name, self.nr, self.settings = PROGRAMS[program]
        self.storm, self.errors = (0, 0), []
        self.hits, self.calls, self.stderr, self.used = 0, {}, "", 0.0

    def environment(self, directory):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("STREAM_", "LD_PRELOAD"))}
        env["LD_PRELOAD"] = LIBRARY
        env["WEIR_FAULTS"] = f"{directory}/table"
        env["STREAM_METRICS_SOCKET"] = "off"
        for name, value in self.settings.items():
            if name == "socket":
                env["STREAM_METRICS_SOCKET"] = f"{directory}/socket"
            elif value == "file":
                env[name] = f"{directory}/file"
            else:
                env[name] = value
        return env

    def between(self, directory, i):
        """The connection `i` has been made."""
        if i == {"asked": 1, "watched": 0}.get(self.settings.get("socket")):
            peer.ask(f"{directory}/socket")

    def play(self, process, listener, directory):
        """The peer's part."""
        told = bool(self.told)
        if listener:
            peer.serve_client(listener, self.nr, told)
            return
        line = process.stdout.readline().split()
        if len(line) != 2 or line[0] != b"port":
            raise peer.Wrong(f"no port: {line}")
        port = int(line[1]) or f"{directory}/peer"
        if self.name == "epoll":
            peer.talk_at_once(port, self.nr, told)
        elif self.name in ("hand-over", "turns"):
            peer.talk_ahead(port, self.nr, told)
        else:
            peer.talk_in_turn(port, self.nr, told, lambda i: self.between(directory, i),
                         WAIT if self.settings.get("socket") == "watched" else self.pause)

    def start(self, directory):
        listener, arguments = None, []
        with open(f"{directory}/table", "wb") as table:
            table.write(HEAD.pack(*self.storm, *self.plan, 0))
            table.write(bytes(NR_KINDS * ENTRY.size))
            for word, error in self.errors:
                table.write(ENTRY.pack(word, error))
            table.write(bytes((NR_ERRORS - len(self.errors)) * ENTRY.size))
        if self.name == "client":
            listener = socket.create_server(("127.0.0.1", 0))
            listener.settimeout(peer.PATIENCE)
            arguments = [str(listener.getsockname()[1])]
        if self.name == "unix":
            arguments = [f"{directory}/peer"]
        with open(f"{directory}/stderr", "wb") as stderr:
            process = subprocess.Popen(
                self.under + [self.subject, self.name, str(self.nr), *arguments],
                env=self.environment(directory), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=stderr, close_fds=False,
                start_new_session=True)
        return process, listener

    def finish(self, process, directory, wrong):
        """How it ended, what it said. The first complaint counts, unless the program says why."""
        until = time.monotonic() + peer.PATIENCE
        status = 0
        while time.monotonic() < until:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.used = usage.ru_utime + usage.ru_stime
                break
            time.sleep(0.001)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            wrong = f"it does not end; {wrong or ''}"
        said = process.stdout.read().decode(errors="replace")
        process.stdout.close()
        with open(f"{directory}/stderr", encoding="utf-8", errors="replace") as file:
            self.stderr = file.read()
        with open(f"{directory}/table", "rb") as file:
            self.read_table(file.read())
        return self.judge(process.returncode, said, wrong)

    def read_table(self, table):
        self.hits = HEAD.unpack_from(table)[-1]
        for i in range(NR_KINDS):
            word, nr = ENTRY.unpack_from(table, HEAD.size + i * ENTRY.size)
            if word:
                self.calls[word] = nr

    def judge(self, status, said, wrong):
        errors = re.findall(r"^E .*$", said, re.M)
        # A child that was told ends with status 3.
        allowed = self.told | AFTERWARDS | {"0x300", "ECHILD"}
        if self.told and errors and {line.split()[-1] for line in errors} <= allowed:
            return None
        if errors:
            return f"{errors[0]}; {wrong or ''}"
        if wrong:
            return f"{wrong}; status {status}"
        if status != 0:
            return f"exit status {status}"
        # One for each thing that a process does without: the socket, the threads, the file.
        lines = 3 if self.storm[1] else 1 + ("STREAM_METRICS_AT_EXIT" in self.settings)
        if len(set(self.stderr.splitlines())) > lines or not re.fullmatch(r"(weir: .*\n?)*", self.stderr):
            return f"stderr: {self.stderr!r}"
        return None

    def run(self):
        """What is wrong with it, or None."""
        wrong = None
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None,
                                         prefix="weir-faults.") as directory:
            process, listener = self.start(directory)
            try:
                self.play(process, listener, directory)
            except peer.Wrong as what:
                wrong = str(what)
            except EOFError:
                pass  # told, and so at its end
            except TimeoutError:
                wrong = "no answer"
            except OSError as what:
                wrong = None if self.told else str(what)
            if listener:
                listener.close()
            if wrong == "no answer":
                os.killpg(process.pid, signal.SIGKILL)
            return self.finish(process, directory, wrong)


# ---- which faults ----

def count(program):
    """The calls of each kind that the program's library makes, of two runs the most."""
    calls = {}
    for _ in range(2):
        run = Run(program)
        wrong = run.run()
        if wrong:
            raise peer.Wrong(f"without a fault: {wrong}")
        for word, nr in run.calls.items():
            calls[word] = max(nr, calls.get(word, 0))
    return {kinds.Kind(word): nr for word, nr in calls.items()}


def all_plans(calls):
    """(kind, first, last, error) of all runs."""
    for kind, nr in sorted(calls.items(), key=lambda item: item[0].name):
        for error in kind.errors():
            for k in range(1, nr + 1):
                yield kind.name, k, k, error
        if kind.name in kinds.PASSING:
            for k in range(1, nr + 1):
                yield kind.name, k, k + SPELL, kinds.PASSING[kind.name]
        if kind.name in kinds.NEW_OPTIONS:
            yield kind.name, 1, ALL, "ENOPROTOOPT"
    # As behind a filter.
    for call in sorted({kind.call for kind in calls} - kinds.NEVER):
        yield f"{call} all", 1, ALL, "EPERM"
        yield f"{call} all", 1, ALL, "ENOSYS"


def few_plans(calls, seen):
    """The last call of each kind; and where no program before has had the kind, the first, and all."""
    for kind, nr in sorted(calls.items(), key=lambda item: item[0].name):
        for error in kind.errors()[:1]:
            for k in {nr} if kind.name in seen else {1, nr}:
                yield kind.name, k, k, error
        if kind.name not in seen:
            yield f"{kind.call} all", 1, ALL, "EPERM"
        seen.add(kind.name)


def one(job):
    """Runs a fault. (the fault, was it met, what is wrong, seconds of processor)"""
    program, (name, first, last, error) = job
    told = frozenset([error]) if name in kinds.STREAM_CALLS else frozenset()
    told &= kinds.TOLD
    run = Run(program, (kinds.word(name), first, last, kinds.number(error)), told,
              WAIT if name in WAITS and program in ("serve", "asked") else 0.0)
    wrong = run.run()
    if not wrong and run.pause and run.used > BUSY:
        wrong = f"{run.used:.2f} seconds of processor while it waits"
    return job, run.hits > 0, wrong


def stormy(job):
    """Runs a program in a storm. The same as of one()."""
    program, (seed, every, calls) = job
    run = Run(program)
    run.storm = (seed, every)
    chooser = random.Random(seed)
    for word in calls:
        kind = kinds.Kind(word)
        errors = [e for e in kind.errors()
                  if kind.name not in kinds.STREAM_CALLS or e not in kinds.TOLD]
        if errors:
            run.errors.append((word, kinds.number(chooser.choice(errors))))
    wrong = run.run()
    return job, run.hits > 0, wrong


def spell(job):
    if len(job[1]) == 3:
        program, (seed, every, _) = job
        return f"--storm {program} {seed} {every}"
    program, (name, first, last, error) = job
    calls = f"{first}-{'' if last == ALL else last}" if last > first else str(first)
    return f"{program} '{name}' {calls} {error}"


def examine(pool, program, whole, seen):
    """One line of TAP."""
    start = time.monotonic()
    try:
        calls = count(program)
    except peer.Wrong as wrong:
        return False, f"{program}: {wrong}"
    names = {kind.name for kind in calls}
    for needed in ("sendmmsg", "recvmsg peek", "mmap"):
        if needed not in names:
            return False, f"{program}: no call of {needed} to fail"
    plans = all_plans(calls) if whole else few_plans(calls, seen)
    jobs = [(program, plan) for plan in dict.fromkeys(plans)]
    storms = [(program, (seed, every, sorted(kind.word for kind in calls)))
              for seed in range(STORMS_WHOLE if whole else STORMS)
              for every in STRENGTHS]
    results = itertools.chain(pool.imap_unordered(one, jobs, 4),
                              pool.imap_unordered(stormy, storms, 4))
    met = bad = 0
    for job, hit, wrong in results:
        met += hit
        if wrong:
            bad += 1
            print(f"# {spell(job)}: {wrong}", flush=True)
    return not bad, (f"{program}: {len(calls)} kinds of calls, {met} of {len(jobs) + len(storms)} faults met, "
                     f"{bad} seen by the program or its peer ({time.monotonic() - start:.0f} s)")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--one", nargs=4)
    parser.add_argument("--storm", nargs=3)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    if os.environ.get("WEIR_SANITIZER"):
        sys.exit(77)
    if args.one:
        program, name, k, error = args.one
        first, dash, last = k.partition("-")
        last = int(last or ALL if dash else first)
        _, hit, wrong = one((program, (name, int(first), last, error)))
        print("not met" if not hit else wrong or "all is well")
        sys.exit(bool(wrong))
    if args.storm:
        program, seed, every = args.storm
        calls = sorted(kind.word for kind in count(program))
        _, _, wrong = stormy((program, (int(seed), int(every), calls)))
        print(wrong or "all is well")
        sys.exit(bool(wrong))
    if args.list:
        for program in args.programs:
            for kind, nr in sorted(count(program).items(), key=lambda item: item[0].name):
                print(f"{nr:6} {kind.name}")
        return
    programs = args.programs or [p for p in PROGRAMS if args.whole or p not in LONG]
    failed, seen = False, set()
    # More than there are processors: most of them wait.
    with multiprocessing.Pool(4) as pool:
        for i, program in enumerate(programs, 1):
            good, text = examine(pool, program, args.whole, seen)
            print(f"{'' if good else 'not '}ok {i} - {text}", flush=True)
            failed |= not good
    print(f"1..{len(programs)}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
