"""Native and preloaded runs in the same minutes, in turns."""

import contextlib
import json
import os
import subprocess

import lib


@contextlib.contextmanager
def both(make, directory, **kw):
    """Two servers of one kind, running: yields (native, preloaded, load)."""
    with contextlib.ExitStack() as stack:
        native, load = make(os.path.join(directory, "native"), False, **kw)
        stack.enter_context(native)
        preloaded, _ = make(os.path.join(directory, "preloaded"), True, **kw)
        stack.enter_context(preloaded)
        yield native, preloaded, load


def interleave(measure, subjects, rounds):
    """measure(subject) for all subjects in turns; who begins changes every round.

    Returns one list of results for each subject.
    """
    results = [[] for _ in subjects]
    order = list(enumerate(subjects))
    for _ in range(rounds):
        for index, subject in order:
            results[index].append(measure(subject))
        order.reverse()
    return results


def median_of(runs, key):
    return lib.median([run[key] for run in runs])


def cpu_a_reply(runs):
    """Over all runs together: one run is too short for the clock tick of /proc."""
    return sum(r["cpu"] for r in runs) / sum(r["replies"] for r in runs)


def ratio(a, b):
    return a / b if b else float("inf")


# A loop of small calls: how it is written, preloaded, and the share of the calls it makes:
# the native one is many times slower, and fewer measure it as well.
LOOPS = {"native": ("plain", False, 0.1), "hand": ("hand", False, 1),
         "preloaded": ("plain", True, 1)}


def one_loop(program, peer, directory, kind, mode, count):
    """Runs `program HOW ADDRESS COUNT` and its peer; the JSON of its last line."""
    how, preload, scale = LOOPS[mode]
    os.makedirs(directory, exist_ok=True)
    address = "127.0.0.1:0"
    if kind == "AF_UNIX":
        address = os.path.join(directory, "s")
        if os.path.exists(address):
            os.unlink(address)
    env = {**os.environ, "STREAM_METRICS_SOCKET": os.path.join(directory, "m")}
    if preload and lib.preloaded_is_real():
        env["LD_PRELOAD"] = lib.LIB
    argv = [lib.program(program), how, address, str(int(count * scale))]
    loop = subprocess.Popen(argv, stdout=subprocess.PIPE, env=env)
    try:
        where = lib.read_line(loop.stdout, 20)
        subprocess.run([lib.program(program), peer, where], check=True,
                       capture_output=True, timeout=120)
        result = json.loads(lib.read_line(loop.stdout, 20))
        loop.wait(20)
    finally:
        loop.kill()
        loop.stdout.close()
        loop.wait()
    return result
