"""compare.py LIBRARY [SUITE[/PART]...]: other people's tests, natively and under the
library, case by case.

Each part is run natively, preloaded, and preloaded with STREAM_TEST=eager, which
reads ahead whether it pays or not.  A case that passes natively and not preloaded is
run up to three times more, both ways: it counts if it never passed preloaded and always
passed natively.  What passes now and then is shown as unsteady.

One line per part: "ok PART - counts", or "not ok PART - counts" with the cases that
differ as comments.  Exit status: 0 if nothing failed, 1 if something did.
"""
import glob
import os
import shutil
import signal
import sys
import tempfile
import time

from suites import SUITES
from way import Way

KEEP = os.environ.get("KEEP")
PAIRS = 3
# Cases that are told at length: one that dies early takes thousands with it.
SHOWN = 40


def suspects(native, other):
    return [case for case, (status, _) in native.items()
            if status == "ok" and other.get(case, ("missing", ""))[0] != "ok"]


def verdicts(suite, part, native, ways):
    """For each preloaded way what differs: {way name: {case: (steady, why)}}."""
    found = {}
    for way in ways[1:]:
        results = suite.run(part, [], way)
        print(f"#   {way.name}: {count(results)}", flush=True)
        cases = suspects(native, results)
        steady = set(cases)
        for _ in range(PAIRS):
            for run in (way, ways[0]):
                # All in one run, as one that hangs costs a minute.
                again = suite.run(part, sorted(steady), run) if steady else {}
                steady = {case for case in steady if (again.get(
                    case, ("missing",))[0] == "ok") == (run is ways[0])}
        found[way.name] = {case: (case in steady, "{}\n{}".format(
            *results.get(case, ("missing", "")))) for case in cases}
    return found


def count(results):
    by = {}
    for status, _ in results.values():
        by[status] = by.get(status, 0) + 1
    return ", ".join(f"{by[status]} {status}" for status in sorted(by)) or "no case"


def compare(name, part, ways):
    suite, began = SUITES[name], time.monotonic()
    native = suite.run(part, [], ways[0])
    print(f"#   natively: {count(native)}", flush=True)
    found = verdicts(suite, part, native, ways)
    said = {f"the library complained: {line}" for way in ways[1:]
            for line in way.complaints()}
    said |= {f"{way.name}: the library was in no {suite.watched}" for way in ways
             if suite.watched and not way.watched(suite.watched)}
    bad = any(steady for cases in found.values() for steady, _ in cases.values())
    # A part of which nothing runs would say nothing.
    bad = bad or not any(status in ("ok", "skip") for status, _ in native.values())
    nr = {way: (sum(steady for steady, _ in cases.values()), len(cases))
          for way, cases in found.items()}
    text = ", ".join(f"{way} {worse} worse and {all_ - worse} unsteady"
                     for way, (worse, all_) in nr.items())
    print(f"{'not ok' if bad or said else 'ok'} {name}/{part} - {count(native)} natively;"
          f" {text}; {time.monotonic() - began:.0f} s")
    for way, cases in found.items():
        for case, (steady, why) in list(cases.items())[:SHOWN]:
            print(f"# {way}: {case}: {'worse' if steady else 'unsteady'}: ", end="")
            print("\n# | ".join(why.rstrip().split("\n")[-25:] if steady
                                else why.split("\n")[:1]))
        if len(cases) > SHOWN:
            print(f"# {way}: and {len(cases) - SHOWN} more")
    for line in sorted(said):
        print(f"# {line}")
    sys.stdout.flush()
    return not bad and not said


def main():
    library = os.path.abspath(sys.argv[1])
    wanted = [word.partition("/") for word in sys.argv[2:] or SUITES]
    for name, _, part in wanted:
        if name not in SUITES or part and part not in SUITES[name].parts:
            print(f"compare.py: no {name}/{part}; see suites.py", file=sys.stderr)
            sys.exit(2)
    # Whoever ends the run ends what it started, and its directory, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = tempfile.mkdtemp(prefix="weir-suites.")
    passed = failed = 0
    try:
        for name, _, part in wanted:
            for part in [part] if part else SUITES[name].parts:
                place = f"{scratch}/{passed + failed + 1}"
                os.mkdir(place)
                os.chmod(scratch, 0o755)
                copy = shutil.copy(library, place)
                ways = [Way("natively", place), Way("preloaded", place, copy),
                        Way("eager", place, copy, STREAM_TEST="eager")]
                if compare(name, part, ways):
                    passed += 1
                else:
                    failed += 1
                if not KEEP:
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    print(f"# logs: {' '.join(glob.glob(place + '/*/log.*'))}")
    finally:
        if not KEEP:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
