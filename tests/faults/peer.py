"""The peers of subject.c's programs: they know every byte beforehand, and compare it."""
import contextlib
import http.client
import json
import socket
import time

PATTERN = bytes(i * i >> 3 & 0xff for i in range(4093)) * 60
NR_PATTERN = 4093
# A run takes some 20 ms; the longest that the library waits by itself is a second. Only a hang takes so long.
PATIENCE = 30.0
# So long the metrics are asked for.
ASKS = 0.15


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
    for name, of in json.loads(text)["totals"].items():
        if of["appBytes"] != of["totalBytes"] + of["pendingBytes"] + of["discardedBytes"]:
            raise Wrong(f"the figures of the {name} direction do not add up")


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
