"""cases.py REPORT SECONDS MODULE: run the cases of test.MODULE of CPython's own tests.

What becomes of each goes to the file REPORT as it happens, a JSON object a line:
{"case": ID, "begun": true} and then {"case": ID, "status": ..., "why": ...}, where
the status is "ok", "skip" or "fail".  So whoever reads it knows what a run that
died was about, and has the others' results all the same.  A case that takes SECONDS
ends the run, after every thread's stack was printed.

Standard input has the wanted cases' ids, one a line; nothing: all of them.  A line
"-ID" leaves one out.

Started by compare.py; spawned multiprocessing children import it as well.
"""
import faulthandler
import json
import os
import sys
import time
import unittest

# What the tests may use: "network" is mostly this machine's own. Not gigabytes of disk.
RESOURCES = ["cpu", "network", "subprocess", "walltime"]
RANK = {None: 0, "ok": 1, "skip": 2, "fail": 3}


class Result(unittest.TestResult):
    """Writes a line per case.  The worst of what it did counts, subtests included."""

    def __init__(self, report, seconds):
        super().__init__()
        self.report = report
        self.seconds = seconds
        self.status = None
        self.why = ""
        self.began = 0.0
        self.seen = {}

    def say(self, **what):
        self.report.write(json.dumps(what) + "\n")
        self.report.flush()

    def startTest(self, test):
        super().startTest(test)
        # Generated classes may have the same name: such cases are numbered.
        name = test.id()
        self.seen[name] = self.seen.get(name, 0) + 1
        self.name = name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"
        self.status, self.why, self.began = None, "", time.monotonic()
        self.say(case=self.name, begun=True)
        print(f"--- {self.name}", file=sys.__stderr__, flush=True)
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=sys.__stderr__)

    def stopTest(self, test):
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        self.say(case=self.name, status=self.status or "fail", why=self.why,
                 seconds=round(time.monotonic() - self.began, 2))

    def note(self, test, status, why=""):
        if not hasattr(test, "_testMethodName") and test.id() not in self.seen \
                and not hasattr(test, "_dt_test"):
            # A class's or module's set-up, which is no case.
            self.say(case=test.id(), status=status, why=why)
            return
        if RANK[status] > RANK[self.status]:
            self.status, self.why = status, why

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skip", reason)

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "fail", self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "fail", self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "fail", f"{subtest.id()}\n"
                      f"{self._exc_info_to_string(err, test)}")

    def addExpectedFailure(self, test, err):
        self.note(test, "ok")

    def addUnexpectedSuccess(self, test):
        self.note(test, "fail", "succeeded, which was not expected")


def flat(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flat(item)
        else:
            yield item


def chosen(cases, wanted):
    """In their order; ids that occur twice are numbered as in Result."""
    only = {line for line in wanted if not line.startswith("-")}
    without = {line[1:] for line in wanted if line.startswith("-")}
    for case in cases:
        name = case.id().partition("#")[0]
        if name not in without and (not only or name in only):
            yield case


def main():
    from test import support
    from test.support import os_helper

    report, seconds, module = sys.argv[1:]
    if "LD_PRELOAD" in os.environ:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            if "libweir" not in maps.read():
                sys.exit("cases.py: LD_PRELOAD is set and the library is not here")
    wanted = sys.stdin.read().split("\n")[:-1]
    faulthandler.enable()
    support.use_resources = RESOURCES
    support.verbose = False
    with open(report, "a", encoding="utf-8") as out, os_helper.temp_cwd(quiet=True):
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName(f"test.{module}")
        except unittest.SkipTest as skip:
            out.write(json.dumps({"case": module, "status": "skip",
                                  "why": str(skip)}) + "\n")
            return
        suite = unittest.TestSuite(chosen(flat(suite), wanted))
        suite.run(Result(out, float(seconds)))


if __name__ == "__main__":
    main()
