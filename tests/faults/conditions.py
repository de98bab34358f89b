"""Programs where something is missing: descriptors, memory, threads, room, directories, system calls.

    conditions.py [--whole] [NAME...]     NAME: a part of what a line of the output says

Each program of faults.py runs natively under each condition (under.c), then with the library. Where it
runs natively it must run preloaded: the same bytes, no error, at most one line of the library's.
"""
import argparse
import errno
import functools
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time

import faults

BUILD = faults.BUILD
# Found from the working directory, whatever is mounted over the way to it.
UNDER = "tests/faults/under"
SUBJECT = "tests/faults/subject"
LIBRARY = os.path.relpath(os.environ.get("WEIR_LIB", f"{BUILD}/src/.libs/libweir.so"), BUILD)
NOBODY = 65534
MEGABYTE = 1 << 20
# Above what the program needs by itself. Below it, the library may be what it lacks room for: then the
# loader says so, or the program hears it.
ENOUGH = 6 * MEGABYTE
TIGHT = re.compile(r"ERROR: ld\.so: object|error while loading shared libraries")
LACKS = re.compile(r"E (malloc ENOMEM|pthread_create EAGAIN|posix_spawn ENOMEM|"
                   r"(vfork|fork|execve) (ENOMEM|EAGAIN))")


class Conditioned(faults.Run):
    """One program under a condition, natively or preloaded."""

    def __init__(self, program, options, preloaded, tight=False):
        under = [UNDER, *(["-l", LIBRARY] if preloaded else []), *options]
        super().__init__(program, under=under)
        self.subject = SUBJECT
        self.tight = tight

    def environment(self, directory):
        env = super().environment(directory)
        del env["LD_PRELOAD"], env["WEIR_FAULTS"]
        if env["STREAM_METRICS_SOCKET"] != "off":
            del env["STREAM_METRICS_SOCKET"]  # where it would be by itself
        return env

    def between(self, directory, i):
        pass

    def judge(self, status, said, wrong):
        if self.tight and (TIGHT.search(self.stderr) or LACKS.search(said)):
            return None if not wrong or "differs" not in wrong else wrong
        return super().judge(status, said, wrong)


@functools.lru_cache(maxsize=None)
def natively(program, options):
    """None where it runs so, or why not."""
    return Conditioned(program, options, False).run()


@functools.lru_cache(maxsize=None)
def calls_of(program):
    """The numbers of the system calls that the program makes by itself; None: nobody can tell."""
    with tempfile.TemporaryDirectory(prefix="weir-calls.") as directory:
        trace = ["/usr/bin/strace", "-f", "-n", "-qq", "-o", f"{directory}/trace"]
        run = faults.Run(program, under=trace)
        run.environment = lambda unused: {"PATH": os.environ["PATH"]}
        if not os.path.exists(trace[0]) or run.run():
            return None
        with open(f"{directory}/trace", encoding="ascii", errors="replace") as file:
            return sorted({int(nr) for nr in re.findall(r"^\d+ +\[ *(\d+)\]",
                                                    file.read(), re.M)})


def least(program, resource, step, most):
    """The least of a limit with which the program runs natively."""
    low, high = 0, most // step
    while low < high:
        middle = (low + high) // 2
        if natively(program, ("-r", f"{resource}={middle * step}")):
            low = middle + 1
        else:
            high = middle
    return low * step


# What follows gives all that is to be tried of a program: the options of `under`, and whether they leave no
# room for the library.

def filtered(error):
    def options(program):
        calls = calls_of(program)
        numbers = ",".join(str(nr) for nr in calls or [])
        return [(("-s", f"{error},{numbers}"), False)] if calls else []
    return options


def few_descriptors(program):
    start = least(program, "nofile", 1, 64)
    return [(("-r", f"nofile={start + i}"), False) for i in range(6)]


def little_memory(resource):
    def options(program):
        start = least(program, resource, MEGABYTE // 4, 64 * MEGABYTE)
        return [(("-r", f"{resource}={start + more}"), more < ENOUGH)
                for more in range(MEGABYTE // 4, 2 * ENOUGH, 3 * MEGABYTE // 2)]
    return options


def always(*options):
    return lambda program: [(options, False)]


def own_root(*more):
    kept = [d for d in ("/usr", "/lib", "/lib64", BUILD) if os.path.exists(d)]
    return always("-m", "chroot=/mnt=" + "=".join(kept), *more)


CONDITIONS = [
    ("the calls it makes by itself, others EPERM", filtered(errno.EPERM)),
    ("the calls it makes by itself, others ENOSYS", filtered(errno.ENOSYS)),
    ("the calls it makes by itself, others EACCES", filtered(errno.EACCES)),
    ("as few descriptors as it needs, and some more", few_descriptors),
    ("little address space", little_memory("as")),
    ("little data", little_memory("data")),
    ("no queued signal", always("-r", "sigpending=0")),
    ("no file", always("-r", "fsize=0")),
    ("another user", always("-u", str(NOBODY))),
    ("descriptor 0 is closed", always("-c", "0")),
    ("descriptors 0 and 2 are closed", always("-c", "02")),
    ("no /proc", always("-m", "no-proc")),
    ("no /proc, another user", always("-m", "no-proc", "-u", str(NOBODY))),
    ("no directory for the socket", always("-m", "no-dirs")),
    ("full directories", always("-m", "no-room")),
    ("full directories, another user", always("-m", "no-room", "-u", str(NOBODY))),
    ("a system that is read-only", always("-m", "read-only")),
    ("a root of its own", own_root()),
    ("a root of its own, another user, no queued signal",
     own_root("-u", str(NOBODY), "-r", "sigpending=0")),
]


def examine(job):
    """(programs that ran, what is wrong)"""
    index, program = job
    name, options_of = CONDITIONS[index]
    ran, wrong = 0, []
    for options, tight in options_of(program):
        if natively(program, options):
            continue
        ran += 1
        what = Conditioned(program, options, True, tight).run()
        if what:
            wrong.append(f"{program} {' '.join(options)[:120]}: {what}")
    return ran, wrong


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if os.environ.get("WEIR_SANITIZER"):
        sys.exit(77)
    programs = list(faults.PROGRAMS) if args.whole else ["asked", "threads"]
    chosen = [i for i, (name, _) in enumerate(CONDITIONS)
              if not args.names or any(part in name for part in args.names)]
    os.chdir(BUILD)
    start, bad = time.monotonic(), False
    with multiprocessing.Pool(4) as pool:
        results = pool.imap(examine, [(index, p) for index in chosen for p in programs])
        for nr, index in enumerate(chosen, 1):
            ran, wrong = 0, []
            for _ in programs:
                some, more = next(results)
                ran += some
                wrong += more
            for line in wrong:
                print(f"# {line}")
            skipped = "" if ran or wrong else " # SKIP cannot be had here"
            print(f"{'not ' if wrong else ''}ok {nr} - {CONDITIONS[index][0]}: {ran} runs"
                  f"{skipped}", flush=True)
            bad |= bool(wrong)
    print(f"1..{len(chosen)}\n# {time.monotonic() - start:.0f} s")
    sys.exit(bad)


if __name__ == "__main__":
    main()
