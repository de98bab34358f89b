"""Measures one server natively and under the library; started by demo.sh, which builds
what this needs and says where it is (WEIR_LIB, BENCH_BIN)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "bench")]

import counts  # noqa: E402
import lib  # noqa: E402
import loads  # noqa: E402
import show  # noqa: E402

EXPECTED = 17.0  # seconds that the whole takes, for the progress line
LONGEST = 120  # seconds after which it is given up
KERNEL_WRITES = "weir_kernel_writes_total"


class Progress:
    """One line on stderr that says what is being done; one line each where that is no
    terminal."""

    def __init__(self):
        self.begin, self.label = time.monotonic(), ""
        self.over = threading.Event()
        self.live = sys.stderr.isatty()
        self.thread = threading.Thread(target=self.draw, daemon=True)
        if self.live:
            self.thread.start()

    def say(self, label):
        self.label = label
        if not self.live:
            print(f"demo: {label}", file=sys.stderr, flush=True)

    def draw(self):
        while not self.over.wait(0.1):
            past = time.monotonic() - self.begin
            done = int(20 * min(1.0, past / EXPECTED))
            bar = "#" * done + "." * (20 - done)
            print(f"\r\033[K[{bar}] {past:3.0f} s  {self.label}", end="",
                  file=sys.stderr, flush=True)

    def end(self):
        if self.live and not self.over.is_set():
            self.over.set()
            self.thread.join()
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def cpu_ns(pid):
    """CPU time of a process, all its threads; CLOCK_PROCESS_CPUTIME_ID of another."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def trace(server, client, replies):
    """System calls by name while `client` does so many replies, or None where this user
    may not trace. All threads of the server count, the library's own among them."""
    out = os.path.join(server.directory, "strace.out")
    log = os.path.join(server.directory, "strace.log")
    argv = [lib.tool("strace", "strace"), "-c", "-f", "-U", "calls,name", "-o", out,
            "-p", str(server.pid)]
    with open(log, "wb") as err:
        process = subprocess.Popen(argv, stderr=err, start_new_session=True)
    try:
        def attached():
            with open(log, encoding="utf-8", errors="replace") as f:
                return " attached" in f.read() or process.poll() is not None
        lib.wait_until(attached, "strace")
        if process.poll() is not None:
            return None
        done = client.round(replies)["replies"]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(20)
    calls = {}
    with open(out, encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                calls[fields[1]] = int(fields[0]) / done
    return calls


def count_calls(subject, directory, preload):
    """strace makes every call take a hundred times as long. So the library gets a longer
    delay (counts.SLOW), or the keeper would flush what at full speed leaves with the
    reply."""
    server, load = subject.start(directory, preload, env=counts.SLOW)
    with server, subject.client(server, load) as client:
        client.round(subject.traced[preload] // 4)
        calls = trace(server, client, subject.traced[preload])
    return calls and {name: number / subject.receivers for name, number in calls.items()}


def curl(server, path):
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "10", "--unix-socket",
         server.metrics_path, f"http://localhost{path}"],
        capture_output=True, check=False)
    if done.returncode:
        raise loads.Wrong(f"curl {path}: {done.stderr.decode().strip()}")
    return done.stdout.decode()


def watch(subject, server, load):
    """The metrics while the clients of a load are connected, the commands to ask for
    them, and how many sends a reply took at full speed by the library's own count."""
    paths = ("/streams?state=open&sort=bytes&limit=4", "/buffer-pool-metrics", "/metrics")
    with subject.client(server, load) as client:
        before = show.total(curl(server, "/metrics"), KERNEL_WRITES)
        time.sleep(1.1)  # one snapshot a second is shared by all who ask
        replies = client.round(subject.counted)["replies"] * subject.receivers
        time.sleep(1.1)
        streams, pool, text = (curl(server, path) for path in paths)
    commands = [f"curl --unix-socket {server.metrics_path} 'http://localhost{p}'"
                for p in paths]
    sends = (show.total(text, KERNEL_WRITES) - before) / replies
    return sends, (commands, json.loads(streams), json.loads(pool), text)


def half(subject, directory, preload, progress):
    """Everything about one of the two runs."""
    word = "with libweir" if preload else "native"
    result = {}
    server, load = subject.start(directory, preload)
    progress.say(f"{word}: starting the server")
    with server:
        progress.say(f"{word}: comparing content")
        result["check"] = subject.check(server)
        progress.say(f"{word}: load for {loads.SECONDS} seconds")
        before = cpu_ns(server.pid)
        result.update(subject.measure(server, load))
        result["cpu_us"] = (cpu_ns(server.pid) - before) / 1e3 / result["replies"]
        if preload:
            progress.say(f"{word}: reading its metrics")
            result["sends"], result["metrics"] = watch(subject, server, load)
    progress.say(f"{word}: counting system calls with strace -c -f")
    calls = count_calls(subject, directory + "-strace", preload)
    if calls:
        result["calls"] = sum(calls.values())
        result.setdefault("sends", sum(n for name, n in calls.items()
                                       if name.startswith(subject.sends)))
    return result


def plain_path(directory):
    """LD_PRELOAD separates names by spaces and colons."""
    if not set(lib.LIB) & set(" :"):
        return
    copy = os.path.join(directory, "libweir.so")
    shutil.copy(lib.LIB, copy)
    os.chmod(copy, 0o755)
    lib.LIB = copy


def counted(text):
    """The library was there, and the counts say so."""
    return show.total(text, "weir_sent_bytes_total") > 0


def run(name, directory, progress):
    subject = loads.SUBJECTS[name]()
    plain_path(directory)
    native, ours = (half(subject, os.path.join(directory, word), preload, progress)
                    for word, preload in (("native", False), ("libweir", True)))
    progress.end()
    print(show.table(subject, native, ours))
    commands, streams, pool, text = ours["metrics"]
    print(show.metrics(commands, streams, pool, text))
    if not counted(text):
        raise loads.Wrong("the library counted no byte that was sent")
    print(f"ok: every byte was right ({ours['check']})")


def too_long(*_):
    raise RuntimeError(f"not done after {LONGEST} seconds")


def main():
    if not os.access(lib.LIB, os.R_OK):
        print(f"demo: cannot read the library {lib.LIB}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST)
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="weir-demo-",
                                     ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)  # servers change their user
        try:
            run(sys.argv[1], directory, progress)
            return 0
        except KeyboardInterrupt:
            return 130
        except (loads.Wrong, lib.Missing, RuntimeError, OSError, ValueError,
                subprocess.SubprocessError) as why:
            progress.end()
            print(f"demo: FAILED: {why}", file=sys.stderr)
            complaints(directory)
            return 1
        finally:
            progress.end()


def complaints(directory):
    """The last lines of the servers' logs."""
    for word in ("native", "native-strace", "libweir", "libweir-strace"):
        path = os.path.join(directory, word, "server.log")
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as f:
                for line in f.readlines()[-3:]:
                    print(f"demo: {word}: {line.rstrip()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
