"""Native and preloaded runs in the same minutes, in turns."""

import contextlib
import os

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
