"""How the programs of a suite are run: natively, or under the library."""
import collections
import os
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SUPERVISE = os.path.join(HERE, "..", "servers", "supervise.py")

# A command, how long it may take, what it reads, and where it runs: by default in the
# directory of its way.
Job = collections.namedtuple("Job", "seconds command stdin place", defaults=("", None))


class Way:
    """Natively, or under the library.  What the programs print goes to log.N."""

    def __init__(self, name, scratch, library=None, **settings):
        self.name = name
        # Short, and as long for each way: socket paths have room for 108 bytes.
        self.scratch = os.path.join(scratch, name[0])
        self.sockets = os.path.join(self.scratch, "m")
        self.nr_logs = self.nr_places = 0
        os.makedirs(self.sockets)
        # Programs that give up their rights have metrics too.
        os.chmod(scratch, 0o755)
        os.chmod(self.sockets, 0o777)
        self.preload = []
        if library:
            settings["STREAM_METRICS_SOCKET"] = self.sockets + "/%e.%p.sock"
            settings["STREAM_METRICS_AT_EXIT"] = self.sockets + "/%e.%p.json"
            self.preload = ["env", f"LD_PRELOAD={library}"]
            self.preload += [f"{key}={value}" for key, value in settings.items()]

    def place(self):
        """A new directory, for one run of a suite."""
        self.nr_places += 1
        path = f"{self.scratch}/{self.nr_places}"
        os.mkdir(path)
        return path

    def run(self, seconds, command, stdin="", place=None):
        """The exit status, as supervise.py has it, and what was printed.  The library
        is the command's."""
        return self.run_all([Job(seconds, command, stdin, place)], 1)[0]

    def run_all(self, jobs, at_once):
        """The same of several jobs, some of them at once; in their order."""
        waiting, running, ended = list(enumerate(jobs)), {}, {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    number, job = waiting.pop(0)
                    running[number] = self.start(job)
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                for number, (child, log) in list(running.items()):
                    if child.poll() is not None:
                        ended[number] = (child.returncode, text_of(log))
                        del running[number]
        except BaseException:
            for child, _ in running.values():
                child.send_signal(signal.SIGTERM)
            for child, _ in running.values():
                child.wait()
            raise
        return [ended[number] for number in sorted(ended)]

    def start(self, job):
        self.nr_logs += 1
        path = f"{self.scratch}/log.{self.nr_logs}"
        with open(path, "wb") as log, open(path + ".in", "w+b") as stdin:
            stdin.write(job.stdin.encode())
            stdin.seek(0)
            child = subprocess.Popen(
                [sys.executable, SUPERVISE, str(job.seconds), *self.preload,
                 *job.command],
                stdin=stdin, stdout=log, stderr=log, cwd=job.place or self.scratch,
                start_new_session=True)
        return child, path

    def watched(self, program):
        """Was the library in a program of this name that ended by itself?"""
        return not self.preload or any(name.startswith(program + ".") and
                                       name.endswith(".json")
                                       for name in os.listdir(self.sockets))

    def complaints(self):
        """What the library said, in the programs' logs too; it has no reason to."""
        found = set()
        for place, _, files in os.walk(self.scratch):
            for path in (os.path.join(place, name) for name in files):
                if os.path.isfile(path):
                    found.update(line.strip() for line in text_of(path).split("\n")
                                 if line.startswith("weir:"))
        return found


RANK = {"ok": 0, "skip": 1, "fail": 2}


def worst(results, case, status, why=""):
    """Cases of the same name are one; the worst that is said of it counts."""
    if RANK[status] >= RANK[results.get(case, ("ok", ""))[0]]:
        results[case] = (status, why)


def free_port():
    """Of the kernel's choice, and nobody's now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def text_of(path):
    with open(path, encoding="utf-8", errors="replace") as lines:
        return lines.read()
