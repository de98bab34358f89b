"""Makes the library's system calls fail, one at a time, under real programs.

    faults.py [--whole] [PROGRAM...]       what make check runs, or all of it
    faults.py --one PROGRAM KIND K ERROR   one fault again; K may be 3, 3-9 or 3-
    faults.py --list PROGRAM               the kinds of calls it makes, and how many

subject.c is the program, libfaulty.so the library with faulty.c between it and the kernel, and
this its peer. A first run counts the calls of each kind that the library makes. Then,
for every kind, every k and every plausible errno, a run in which the k-th call fails:
the peer compares every byte, the program must say that all its calls went well and end
with status 0, and the library may say one line on stderr. Where the errno is one of the
connection (a reset), the program may be told of it, once, and then what has arrived is a
beginning of what it sent. Then the same with several calls in a row, as where memory is short for
a while, and with all calls from the first on, as behind a filter.
"""
import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import kinds

BUILD = os.path.abspath(os.environ.get("WEIR_BUILD", "."))
SUBJECT = f"{BUILD}/tests/faults/subject"
LIBRARY = f"{BUILD}/tests/faults/.libs/libfaulty.so"

PATTERN = bytes(i * i >> 3 & 0xff for i in range(4093)) * 60
NR_PATTERN = 4093
HEAD = struct.Struct("<QQQqQ")
ENTRY = struct.Struct("<QQ")
NR_KINDS = 250
TABLE = HEAD.size + NR_KINDS * ENTRY.size
ALL = 2**64 - 1
# A run takes some 20 ms; the longest that the library waits by itself is a second.
PATIENCE = 5.0
# How long a program is left waiting, and what it may use of the processor meanwhile, in seconds.
WAIT = 0.3
BUSY = 0.25
# Whoever waits by these must not go round and round where they are refused.
WAITS = {"rt_sigtimedwait all", "ppoll all", "futex all", "timer_settime all", "fcntl all"}
# So long the metrics are asked for.
ASKS = 0.15
# So many calls in a row fail where the kernel is short of something for a while.
SPELL = 6

# The name, CONNECTIONS, the settings. "asked": for metrics, between connections; "watched": at first, and
# the peer is a slow one.
PROGRAMS = {
    "serve": ("serve", 2, {"STREAM_TEST": "eager"}),
    "asked": ("serve", 2, {"socket": "asked"}),
    "fork": ("fork", 3, {"socket": "asked"}),
    "epoll": ("epoll", 3, {}),
    "threads": ("threads", 2, {"STREAM_TEST": "eager", "STREAM_FLUSH_DELAY_US": "2000"}),
    "hand-over": ("hand-over", 3, {"STREAM_TEST": "eager"}),
    "unix": ("unix", 2, {"STREAM_TEST": "eager", "STREAM_BUFFER_POOL_ENABLED": "0",
                         "STREAM_RESPONSE_CHUNK_SIZE": "4096", "socket": "asked"}),
    "watched": ("serve", 2, {"socket": "watched", "STREAM_METRICS_AT_EXIT": "file"}),
    "client": ("client", 2, {"STREAM_TEST": "eager"}),
}

# What calls on a connection say that is no more.
AFTERWARDS = {"EPIPE", "ECONNRESET", "ENOTCONN", "ENODATA"}

# Slow, and like another: not in a short run.
LONG = {"watched"}


class Wrong(Exception):
    """What a run showed that must not be."""


def body(number, length):
    """The pattern of subject.h."""
    at = number * 37 % NR_PATTERN
    return PATTERN[at:at + length]


def request(number, length):
    """A request, and the reply that it asks for."""
    sent = b"%07d %07d\n" % (number, length) + body(number, number % 50)
    return sent, b"%07d:" % number + body(number, length) if length else b""


def receive(sock, expected, told):
    """All of `expected`, and nothing else; after an error that the program was told, a part."""
    got = bytearray()
    while len(got) < len(expected):
        piece = sock.recv(len(expected) - len(got))
        if not piece:
            break
        got += piece
    if got != expected[:len(got)]:
        at = next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)
        raise Wrong(f"byte {at} of {len(expected)} differs")
    if len(got) < len(expected):
        if told:
            raise EOFError
        raise Wrong(f"{len(expected) - len(got)} of {len(expected)} bytes are missing")


def ask(path):
    """The metrics, if anybody answers; what he says must be whole."""
    until = time.monotonic() + ASKS
    while time.monotonic() < until:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            try:
                sock.settimeout(ASKS)
                sock.connect(path)
                sock.sendall(b"GET /metrics.json HTTP/1.1\r\nHost: weir\r\n\r\n")
                answer = http.client.HTTPResponse(sock)
                answer.begin()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
                continue
        if answer.status == 200:
            check_document(text)
            return


def check_document(text):
    """Bytes balance."""
    for direction in json.loads(text)["totals"].values():
        if direction["totalBytes"] < 0 or direction["pendingBytes"] < 0:
            raise Wrong("figures below 0")


# ---- the peers ----

def talk(sock, told, pause=0.0):
    """One connection to a server: one at a time, then many at once, then a large one."""
    number = 0
    for length in (40, 700):
        number += 1
        sent, reply = request(number, length)
        sock.sendall(sent)
        receive(sock, reply, told)
    if pause:
        # It waits; then it is left blocked in a write, for longer than the library goes without a look.
        time.sleep(pause / 2)
        sent, reply = request(number + 1, 150000)
        sock.sendall(sent)
        time.sleep(pause / 2)
        receive(sock, reply, told)
    many = [request(number + i, 90 + 50 * i) for i in range(1, 15)]
    number += len(many)
    sock.sendall(b"".join(sent for sent, _ in many))
    receive(sock, b"".join(reply for _, reply in many), told)
    sent, reply = request(number + 1, 150000)
    sock.sendall(sent + request(number + 2, 0)[0])
    receive(sock, reply, told)
    end(sock)


def end(sock):
    if sock.recv(1):
        raise Wrong("there is more than was written")


def connect(port):
    """To a port, or to the path of a socket."""
    if isinstance(port, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(port)
        return sock
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def connection(port):
    """One that ends early, where the program was told why, is no reason not to make the next."""
    with contextlib.closing(connect(port)) as sock, contextlib.suppress(EOFError):
        yield sock


def talk_in_turn(port, nr, told, between, pause):
    for i in range(nr):
        with connection(port) as sock:
            between(i)
            talk(sock, told, pause if i == 0 else 0.0)


def talk_at_once(port, nr, told):
    """Each connection some of the way, then the next."""
    socks = [connect(port) for _ in range(nr)]
    pieces = [(1, 60), (2, 900), (4, 2000), (5, 60000)]
    for number, length in pieces:
        sent, reply = request(number, length)
        for sock in socks:
            sock.sendall(sent[:10])
        for sock in socks:
            sock.sendall(sent[10:])
        for sock in socks:
            receive(sock, reply, told)
    for sock in socks:
        many = [request(10 + i, 80 + i) for i in range(12)] + [request(30, 0)]
        sock.sendall(b"".join(sent for sent, _ in many))
        receive(sock, b"".join(reply for _, reply in many), told)
        end(sock)
        sock.close()


def talk_ahead(port, nr, told):
    """All requests before the first reply is read: those for whoever takes over lie in the queue."""
    for _ in range(nr):
        with connection(port) as sock:
            many = [request(i, 100 + 30 * i) for i in range(1, 9)] + [request(9, 0)]
            sock.sendall(b"".join(sent for sent, _ in many))
            receive(sock, b"".join(reply for _, reply in many), told)
            end(sock)


def serve_client(listener, nr, told):
    """What subject's client says is known beforehand."""
    number = 0
    for _ in range(nr):
        sock, _ = listener.accept()
        sock.settimeout(PATIENCE)
        with contextlib.closing(sock):
            for _ in range(3):
                number += 1
                sent, reply = request(number, 40)
                receive(sock, sent, told)
                sock.sendall(reply)
            many = [request(number + 1 + i, 100 + i) for i in range(20)]
            number += 21
            receive(sock, b"".join(sent for sent, _ in many), told)
            sock.sendall(b"".join(reply for _, reply in many))
            receive(sock, request(number, 0)[0], told)
            end(sock)


# ---- one run ----

class Run:
    """One program, with one fault or none."""

    def __init__(self, program, plan=(0, 0, 0, 0), told=frozenset(), pause=0.0, under=()):
        self.program, self.plan, self.told, self.pause = program, plan, told, pause
        self.under, self.subject = list(under), SUBJECT
        self.name, self.nr, self.settings = PROGRAMS[program]
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
            ask(f"{directory}/socket")

    def play(self, process, listener, directory):
        """The peer's part."""
        told = bool(self.told)
        if listener:
            serve_client(listener, self.nr, told)
            return
        line = process.stdout.readline().split()
        if len(line) != 2 or line[0] != b"port":
            raise Wrong(f"no port: {line}")
        port = int(line[1]) or f"{directory}/peer"
        if self.name == "epoll":
            talk_at_once(port, self.nr, told)
        elif self.name == "hand-over":
            talk_ahead(port, self.nr, told)
        else:
            talk_in_turn(port, self.nr, told, lambda i: self.between(directory, i),
                         WAIT if self.settings.get("socket") == "watched" else self.pause)

    def start(self, directory):
        listener, arguments = None, []
        with open(f"{directory}/table", "wb") as table:
            table.write(HEAD.pack(*self.plan, 0).ljust(TABLE, b"\0"))
        if self.name == "client":
            listener = socket.create_server(("127.0.0.1", 0))
            listener.settimeout(PATIENCE)
            arguments = [str(listener.getsockname()[1])]
        if self.name == "unix":
            arguments = [f"{directory}/peer"]
        with open(f"{directory}/stderr", "wb") as stderr:
            process = subprocess.Popen(
                self.under + [self.subject, self.name, str(self.nr), *arguments],
                env=self.environment(directory), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=stderr, close_fds=False)
        return process, listener

    def finish(self, process, directory, wrong):
        """How it ended, what it said. The first complaint counts, unless the program says why."""
        until = time.monotonic() + PATIENCE
        status = 0
        while time.monotonic() < until:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.used = usage.ru_utime + usage.ru_stime
                break
            time.sleep(0.001)
        else:
            os.kill(process.pid, signal.SIGKILL)
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
        self.hits = HEAD.unpack_from(table)[4]
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
        lines = 1 + ("STREAM_METRICS_AT_EXIT" in self.settings)
        if self.stderr.count("\n") > lines or not re.fullmatch(r"(weir: .*\n)*", self.stderr):
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
            except Wrong as what:
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
                os.kill(process.pid, signal.SIGKILL)
            return self.finish(process, directory, wrong)


# ---- which faults ----

def count(program):
    """The calls of each kind that the program's library makes, of two runs the most."""
    calls = {}
    for _ in range(2):
        run = Run(program)
        wrong = run.run()
        if wrong:
            raise Wrong(f"without a fault: {wrong}")
        for word, nr in run.calls.items():
            calls[word] = max(nr, calls.get(word, 0))
    return {kinds.Kind(word): nr for word, nr in calls.items()}


def some(nr):
    """The first of the calls, and the last."""
    return sorted({1, nr})


def plans(calls, whole):
    """(kind, first, last, error) of all runs."""
    for kind, nr in sorted(calls.items(), key=lambda item: item[0].name):
        errors = kind.errors()
        for error in errors if whole else errors[:1]:
            for k in range(1, nr + 1) if whole else some(nr):
                yield kind.name, k, k, error
        if whole and kind.name in kinds.PASSING:
            for k in range(1, nr + 1):
                yield kind.name, k, k + SPELL, kinds.PASSING[kind.name]
        if kind.call in ("getsockopt", "setsockopt"):
            yield kind.name, 1, ALL, "ENOPROTOOPT"
    # As behind a filter.
    for call in sorted({kind.call for kind in calls} - kinds.NEVER):
        yield f"{call} all", 1, ALL, "EPERM"
        if whole:
            yield f"{call} all", 1, ALL, "ENOSYS"


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


def spell(job):
    program, (name, first, last, error) = job
    calls = f"{first}-{'' if last == ALL else last}" if last > first else str(first)
    return f"{program} '{name}' {calls} {error}"


def examine(pool, program, whole):
    """One line of TAP."""
    start = time.monotonic()
    try:
        calls = count(program)
    except Wrong as wrong:
        return False, f"{program}: {wrong}"
    names = {kind.name for kind in calls}
    for needed in ("sendmmsg", "recvmsg peek", "mmap"):
        if needed not in names:
            return False, f"{program}: no call of {needed} to fail"
    jobs = [(program, plan) for plan in plans(calls, whole)]
    met = bad = 0
    for job, hit, wrong in pool.imap_unordered(one, jobs, 4):
        met += hit
        if wrong:
            bad += 1
            print(f"# {spell(job)}: {wrong}", flush=True)
    return not bad, (f"{program}: {len(calls)} kinds of calls, {met} of {len(jobs)} faults met, "
                     f"{bad} seen by the program or its peer ({time.monotonic() - start:.0f} s)")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--one", nargs=4)
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
    if args.list:
        for program in args.programs:
            for kind, nr in sorted(count(program).items(), key=lambda item: item[0].name):
                print(f"{nr:6} {kind.name}")
        return
    programs = args.programs or [p for p in PROGRAMS if args.whole or p not in LONG]
    failed = False
    # More than there are processors: most of them wait.
    with multiprocessing.Pool(4) as pool:
        for i, program in enumerate(programs, 1):
            good, text = examine(pool, program, args.whole)
            print(f"{'' if good else 'not '}ok {i} - {text}", flush=True)
            failed |= not good
    print(f"1..{len(programs)}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
