"""redis's own tests, against Debian's redis.

The Tcl suite starts servers, replicas, sentinels and clusters, and talks to them by a
client of its own, redis-cli and redis-benchmark: all of them are preloaded.
"""
import os
import random
import re

from sources import copy_to, edit, source_of
from way import Job, free_port, worst

AT_ONCE = 3
BINARIES = ("redis-server", "redis-cli", "redis-benchmark", "redis-check-aof",
            "redis-check-rdb")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Redis:
    """Parts: the units of the Tcl suite by kind, small clusters among them; sentinels;
    redis-benchmark.  Its suite of twenty servers in a cluster is not run."""

    watched = "redis-server"
    unit_seconds = 900
    # It is about the allocator alone, and takes as long as all the rest.
    skipped = "/^Active defrag"
    kinds = {"type": "unit/type/", "unit": "unit/", "integration": "integration/"}
    parts = [*kinds, "sentinel", "benchmark"]

    def run(self, part, only, way):
        if part == "benchmark":
            return Benchmark().run(only, way)
        if part == "sentinel":
            return self.sentinel(way)
        units = sorted({case.partition(":")[0] for case in only}) or self.units(part)
        first, results = random.randrange(40), {}
        jobs = [self.job(unit, (first + number) % 40, way)
                for number, unit in enumerate(units)]
        for unit, (status, said) in zip(units, way.run_all(jobs, AT_ONCE)):
            results.update(self.read(unit, status, COLOUR.sub("", said)))
        return results

    def units(self, part):
        """Each belongs to the first kind that it fits."""
        with open(f"{source_of('redis-server')}/tests/test_helper.tcl",
                  encoding="utf-8") as text:
            listed = re.search(r"set ::all_tests \{(.*?)\}", text.read(), re.S)[1].split()
        return [unit for unit in listed
                if next(kind for kind, prefix in self.kinds.items()
                        if unit.startswith(prefix)) == part]

    @staticmethod
    def tree(way):
        """The tests write beside themselves, and look for the programs in src."""
        place = copy_to(way.place(), source_of("redis-server"), "tests", "utils",
                        "redis.conf", "sentinel.conf")
        os.makedirs(f"{place}/src")
        for name in BINARIES:
            os.symlink(f"/usr/bin/{name}", f"{place}/src/{name}")
        # It goes by its name.
        os.symlink("/usr/bin/redis-server", f"{place}/src/redis-sentinel")
        return place

    def job(self, unit, number, way):
        """Its ports, and those 10,000 above for clusters, are below the kernel's own."""
        command = ["tclsh", "tests/test_helper.tcl", "--single", unit, "--clients", "1",
                   "--durable", "--dont-clean", "--skiptest", self.skipped,
                   "--timeout", "240", "--baseport", str(10132 + 300 * number),
                   "--portcount", "250"]
        return Job(self.unit_seconds, command, place=self.tree(way))

    @staticmethod
    def read(unit, status, said):
        results = {}
        for kind, text in re.findall(
                r"^\[(ok|err|skip|exception)\]: (.*(?:\n(?!\[).*)*)", said, re.M):
            name = text.partition("\n")[0]
            if kind == "ok":
                worst(results, f"{unit}: {re.sub(r' .[0-9]+ ms.$', '', name)}", "ok")
            elif kind == "skip":
                worst(results, f"{unit}: {name}", "skip")
            else:
                name = re.sub(r" in tests/\S+$", "", name)
                worst(results, f"{unit}: {name}", "fail", text)
        whole = "The End" in said
        results[f"{unit}: (its end)"] = ("ok" if whole else "fail",
                                         f"ended with {status}\n{said[-2000:]}")
        return results

    def sentinel(self, way):
        """Each step says what became of it on its line."""
        place = self.tree(way)
        # Theirs are also the kernel's, and those of whoever runs this besides.
        edit(f"{place}/tests/instances.tcl", r"(?m)^(set ::redis_base_port) .*",
             rf"\1 {11000 + 1100 * random.randrange(9)}")
        status, said = way.run(self.unit_seconds, ["tclsh", "tests/sentinel/run.tcl"],
                               place=place)
        results, unit = {}, "sentinel"
        for line in COLOUR.sub("", said).split("\n"):
            if line.startswith("Testing unit: "):
                unit = line.partition(": ")[2]
            step = re.match(r"\d\d:\d\d:\d\d> (.*?): (.*)$", line)
            if step:
                name, what = step.groups()
                worst(results, f"{unit}: {name}",
                     "ok" if what.endswith("OK") else "fail", what)
        results["(its end)"] = ("fail" if status else "ok",
                                f"ended with {status}\n{said[-2000:]}")
        return results


class Benchmark:
    """Each of redis-benchmark's sub-tests in each of these manners."""

    nr_requests = 5000
    manners = {
        "one by one": [],
        "by one client": ["-c", "1", "-n", "1000"],
        "16 in flight": ["-P", "16"],
        "100 in flight of one client": ["-P", "100", "-c", "1"],
        "random keys": ["-r", "100000", "-c", "20"],
        "random keys in flight": ["-r", "100000", "-P", "7", "-c", "300"],
        "two threads": ["--threads", "2", "-P", "16"],
        "reconnecting": ["-k", "0", "-n", "1000"],
        "values of 5000 bytes": ["-d", "5000", "-P", "4", "-n", "200"],
        "a Unix socket": ["-s", "redis.sock", "-P", "16"],
        "RESP3": ["-3", "-P", "3"],
    }
    script = """
        port=$1; shift
        redis-server --port "$port" --unixsocket redis.sock --save '' &
        until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done
        redis-benchmark -p "$port" -n "$@"; status=$?
        redis-cli -p "$port" shutdown nosave; wait $! && exit $status
    """

    def run(self, only, way):
        manners = sorted({case.partition(":")[0] for case in only}) or self.manners
        results = {}
        for manner in manners:
            place = way.place()
            status, said = way.run(
                300, ["sh", "-c", self.script, "sh", str(free_port()),
                      str(self.nr_requests), *self.manners[manner]], place=place)
            results.update(self.read(manner, status, said))
        return results

    def read(self, manner, status, said):
        asked = [word for flag, word in zip(self.manners[manner],
                                            self.manners[manner][1:]) if flag == "-n"]
        # A multiple of what is in flight.
        wanted = int(asked[0]) if asked else self.nr_requests
        results = {}
        pieces = re.split(r"====== (.*) ======", said)[1:]
        for name, text in zip(pieces[::2], pieces[1::2]):
            done = re.search(r"(\d+) requests completed", text)
            good = done and int(done[1]) >= wanted and "rror" not in text
            worst(results, f"{manner}: {name}", "ok" if good else "fail", text[:2000])
        results[f"{manner}: (its end)"] = ("fail" if status else "ok",
                                           f"ended with {status}\n{said[-2000:]}")
        return results
