"""Documents read every 20 ms while writes are held, reads are served from a borrow, and
streams come and go: each is well-formed, its bytes add up for every stream and in the
totals, and no counter falls.  A snapshot serves for a second, so there are some of them.
"""
import contextlib
import json
import socket
import threading
import time

import families
import metrics
import watched
from metrics import require

SECONDS = 5.5
EVERY = 0.02
PASSING = 4  # streams that are being made or closed at once
BURST = bytes(range(256)) * 64
PIECE = 48
REPLY = 40 * PIECE
GAUGES = {"avgChunkSize", "throughput", "blocked", "pendingBytes", "timestamp", "idle"}


# The server: a thread for each stream.

def answer(sock):
    """For each byte a reply in small writes, some computing between."""
    with sock:
        while sock.recv(1):
            for _ in range(REPLY // PIECE):
                sock.send(BURST[:PIECE])
                sum(range(1000))


def swallow(sock):
    """Bursts, in small reads; then the number of bytes."""
    with sock:
        left = len(BURST)
        while piece := sock.recv(min(PIECE, left)):
            left -= len(piece)
            if not left:
                sock.sendall(b"!")
                left = len(BURST)


def come_and_go(port, ends):
    while not ends.is_set():
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"hello")
            for _ in range(5):
                sock.send(b".")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass


def accept(listener, work):
    while True:
        sock = listener.accept()[0]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=work, args=(sock,), daemon=True).start()


def serve():
    ends, thread = threading.Event(), None
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for listener, work in zip(listeners, (answer, swallow)):
        threading.Thread(target=accept, args=(listener, work), daemon=True).start()
    watched.say([listener.getsockname()[1] for listener in listeners])
    for verb, port in watched.commands():
        if verb == "connect":
            thread = threading.Thread(target=come_and_go, args=(port, ends))
            thread.start()
        else:
            ends.set()
            thread.join()
            watched.say("quiet")


# The clients.

class Clients:
    def __init__(self):
        self.ends, self.threads, self.problems = threading.Event(), [], []
        self.rounds = 0

    def start(self, work, *arguments):
        def guarded():
            try:
                while not self.ends.is_set():
                    work(*arguments)
                    self.rounds += 1
            except Exception as problem:  # a thread's own end would go unseen
                self.problems.append(f"{work.__name__}: {problem!r}")

        self.threads.append(threading.Thread(target=guarded, daemon=True))
        self.threads[-1].start()

    def end(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(watched.TIMEOUT)
        require(not self.problems, "; ".join(self.problems))


def ask(sock):
    sock.sendall(b"?")
    require(watched.exactly(sock, REPLY) == BURST[:PIECE] * (REPLY // PIECE),
            "another reply")


def pour(sock):
    sock.sendall(BURST)
    require(sock.recv(1) == b"!", "no answer to a burst")


def short(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(watched.TIMEOUT)
        ask(sock)


def host(listener):
    """Of the connections that the server makes."""
    with contextlib.suppress(TimeoutError):
        sock = listener.accept()[0]
        with sock:
            sock.settimeout(watched.TIMEOUT)
            got = b""
            while piece := sock.recv(4096):
                got += piece
            require(got == b"hello.....", f"{got!r} instead of a greeting")
            sock.sendall(b"bye")


# What the documents say.

def figures(value, name=()):
    """Every number that may only grow, by its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in GAUGES:
                yield from figures(inner, name + (key,))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value


class Seen:
    """The figures so far, by what they are of."""

    def __init__(self):
        self.figures, self.stamps, self.pending = {}, set(), 0

    def note(self, of, value):
        before = self.figures.get(of, {})
        self.figures[of] = dict(figures(value))
        for name, was in before.items():
            now = self.figures[of].get(name)
            require(now is not None and now >= was, f"{of}: {name} fell: {was}, {now}")

    def metrics(self, document):
        metrics.check_metrics(document, PASSING)
        self.stamps.add(document["timestamp"])
        self.note("totals", document["totals"])
        self.note("errors", document["errors"])
        self.note("opened", {k: document["streams"][k] for k in ("opened", "closed")})

    def streams(self, document):
        for stream in metrics.check_streams(document):
            of = (stream["inode"], stream["local"], stream["peer"])
            self.note(of, {name: stream[name] for name in families.DIRECTIONS})
            self.pending += sum(stream[name]["pendingBytes"]
                                for name in families.DIRECTIONS)


def test(server):
    (replies, bursts), clients = server.hear(), Clients()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(1)
    for port, work in ((replies, ask), (replies, ask), (bursts, pour), (bursts, pour)):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.settimeout(watched.TIMEOUT)
        clients.start(work, sock)
    clients.start(short, replies)
    clients.start(host, listener)
    server.tell("connect", listener.getsockname()[1])
    seen, end, reads = Seen(), time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        seen.metrics(json.loads(metrics.ask(server.socket, "/metrics.json")))
        seen.streams(json.loads(metrics.ask(server.socket, "/streams")))
        reads += 1
        time.sleep(EVERY)
    server.ask("stop", None)
    clients.end()
    server.end()
    require(len(seen.stamps) >= SECONDS / 2, f"only {len(seen.stamps)} snapshots")
    totals = seen.figures["totals"]
    for name in families.DIRECTIONS:
        calls = [totals[name, kind] for kind in ("appCalls", "kernelCalls")]
        require(calls[1] < calls[0], f"{name}: nothing was gathered: {calls} calls")
    return f"{reads} times two documents, of {len(seen.stamps)} snapshots and " \
           f"{len(seen.figures) - 3} streams, {seen.pending} bytes pending, beside " \
           f"{clients.rounds} turns"


watched.main(serve, test)
