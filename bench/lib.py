"""What every bench needs: servers started natively or under the library, the load
client, CPU time of a process tree, the metrics socket, and medians.

Only the server gets LD_PRELOAD; load clients and this script never do. Everything
that is started here is ended here, by its own process group, and every wait is
bounded. Times are seconds, sizes bytes.
"""

import contextlib
import json
import os
import platform
import pwd
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

PYTHON = "/usr/bin/python3"
BIN = os.environ.get("BENCH_BIN", "")  # where the C programs are
LIB = os.environ.get("WEIR_LIB", "none")  # "none": native against native
LOAD_TIMEOUT = 120
TICK = os.sysconf("SC_CLK_TCK")
COUNT_PEEKS = {"STREAM_TEST": "count"}


class Missing(Exception):
    """A program that this machine does not have; the row says how to get it."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def preloaded_is_real():
    return LIB != "none"


def tool(name, package):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{name} is missing: apt-get install {package}")
    return path


def program(name):
    return os.path.join(BIN, name)


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.01)


def median(values):
    return statistics.median(values)


def quartiles(values):
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def tree(root):
    """The pids of a process and its descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = proc_stat(name)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def proc_stat(pid):
    """The fields of /proc/PID/stat from the state on, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_of(pid):
    """User and system time of a process, ended threads and reaped children included.

    Its own comes from its CPU clock, in nanoseconds: a server that answers 22 times a
    second would hardly ever fill one of /proc's ticks of 10 ms. The number of that
    clock is as clock_getcpuclockid(3) makes it.
    """
    fields = proc_stat(pid)
    if not fields:
        return 0.0
    children = sum(int(x) for x in fields[13:15]) / TICK
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2) + children
    return 0.0


def cpu_seconds(root):
    return sum(cpu_of(pid) for pid in tree(root))


@contextlib.contextmanager
def on_one_core():
    """Whatever is started in here shares the last core.

    On two cores the rate of one client that waits for each reply jumps between two
    values, six times apart, with where the scheduler happens to put the two. On one
    core it is steady, and all that a request costs shows in it.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rss_bytes(root):
    pages = 0
    for pid in tree(root):
        fields = proc_stat(pid)
        pages += int(fields[21]) if fields else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def threads(root):
    """(pid, tid, name) of every thread of a tree."""
    found = []
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for tid in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{pid}/task/{tid}/comm", encoding="latin-1") as f:
                        found.append((pid, int(tid), f.read().strip()))
    return found


class Server:
    """A server under measurement.

    argv starts it in the foreground; `address` is where it will listen: "HOST:PORT",
    a path, or None where the program prints it as its first line. `preload` says
    whether it gets the library. Use as a context manager.
    """

    def __init__(self, argv, address, preload, directory, env=None, user=None, via=()):
        self.argv, self.address, self.user = list(via) + list(argv), address, user
        self.prints_address = address is None
        self.preload = preload and preloaded_is_real()
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        run = os.path.join(directory, "run")
        os.makedirs(run, exist_ok=True)
        os.chmod(run, 0o777)
        self.metrics_path = os.path.join(run, "metrics.sock")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("STREAM_")}
        self.env.pop("LD_PRELOAD", None)
        if self.preload:
            self.env["LD_PRELOAD"] = LIB
            self.env["STREAM_METRICS_SOCKET"] = self.metrics_path
            self.env["STREAM_METRICS_SOCKET_MODE"] = "0666"
        self.env.update(env or {})
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        log_path = os.path.join(self.directory, "server.log")
        who = {}
        if self.user and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            give(self.directory, entry)
        with open(log_path, "ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.prints_address else out,
                stderr=out,
                env=self.env,
                cwd=self.directory,
                start_new_session=True,
                **who,
            )
        try:
            if self.prints_address:
                self.address = read_line(self.process.stdout, 60)
            wait_until(self.answers, f"{self.argv[0]} (see {log_path})", 60)
        except Exception:
            self.stop()
            raise

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.argv} ended: see {self.directory}/server.log")
        return can_connect(self.address)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        if self.process is None:
            return
        members = tree(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        for pid in members[1:]:  # workers that outlive their master
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def cpu(self):
        return cpu_seconds(self.pid)

    def ask(self, path):
        """GET from the metrics socket; JSON is parsed, text is returned."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            try:
                s.connect(self.metrics_path)
            except OSError as why:
                raise RuntimeError(f"no metrics at {self.metrics_path}: {why}") from why
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while block := s.recv(1 << 16):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"metrics {path}: {head[:80]!r}")
        text = body.decode()
        return json.loads(text) if b"application/json" in head else text

    def peeks(self):
        """How often the server's library read ahead, and how often that served fewer
        than two reads, with COUNT_PEEKS in its environment; None: it does not count."""
        time.sleep(1.1)
        found = self.ask("/metrics.json").get("test")
        return found and (found["borrows"], found["poorBorrows"])

    def samples(self):
        """Every sample of /metrics as {"name{labels}": value}.

        One snapshot a second is shared by all who ask: a figure that must be newer
        than what was just done needs the pause.
        """
        time.sleep(1.1)
        found = {}
        for line in self.ask("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found


def give(directory, entry):
    """Makes a directory and what is in it a user's own."""
    for path, _, files in os.walk(directory):
        for name in [path] + [os.path.join(path, f) for f in files]:
            os.chown(name, entry.pw_uid, entry.pw_gid)


def read_line(stream, seconds):
    """One line of a pipe, bounded in time."""
    line = b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        if not select.select([stream], [], [], left)[0]:
            raise RuntimeError("no line within the time")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            raise RuntimeError("ended without a line: see its stderr above or its log")
        line += byte
    return line.decode().strip()


def connect(address):
    if address.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(address)
        return s
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def can_connect(address):
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def sum_of(samples, name, **labels):
    """The sum of a family's samples that have these label values."""
    total = 0.0
    for key, value in samples.items():
        base, _, rest = key.partition("{")
        if base == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
            total += value
    return total


class Load:
    """How to ask a server: the arguments of the load client, without the address."""

    def __init__(self, request=None, until=None, reply_bytes=None, prologue=None):
        self.args = []
        for flag, value in (("-r", request), ("-u", until), ("-b", reply_bytes),
                            ("-i", prologue)):
            if value is not None:
                self.args += [flag, escape(value)]

    def argv(self, address, *extra):
        args = [str(x) for x in extra]
        return [program("client"), *self.args, *args, address]

    def run(self, server, *extra):
        """One timed run; the client's JSON, with `cpu` of the server added."""
        before = server.cpu()
        done = subprocess.run(self.argv(server.address, *extra), check=True,
                              capture_output=True, timeout=LOAD_TIMEOUT)
        result = json.loads(done.stdout)
        result["cpu"] = server.cpu() - before
        return result

    def gate(self, server, *extra):
        return Gate(self.argv(server.address, "-g", *extra))


def escape(value):
    if isinstance(value, bytes):
        return "".join(f"\\x{b:02x}" for b in value)
    return str(value)


class Gate:
    """A load client that waits for orders: connections open and warm, then rounds."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def __enter__(self):
        try:
            if read_line(self.process.stdout, 60) != "ready":
                raise RuntimeError("the load client is not ready")
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def round(self, replies):
        self.process.stdin.write(f"{replies}\n".encode())
        self.process.stdin.flush()
        return json.loads(read_line(self.process.stdout, LOAD_TIMEOUT))
