"""One process of a family overwrites the memory that they share with noise, again and again.
The traffic of the other goes on with the right bytes, every answer of the metrics socket is
well-formed or an error, and nobody crashes or hangs.
"""
import ctypes
import json
import os
import random
import re
import signal
import socket
import threading
import time

import metrics
import watched
from metrics import require

SECONDS = 6.0
EVERY = 0.05
LINES = 30
PATHS = ("/metrics.json", "/streams", "/streams?sort=blocked&limit=50", "/metrics",
         "/buffer-pool-metrics", "/healthz")
LARGEST = 1 << 20  # of what is written at once


# The server.

def shared():
    """Address and length of what this process shares with its family."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = [line for line in maps if re.search(r" rw-s .* /dev/zero \(deleted\)$", line)]
    require(len(found) == 1, f"{len(found)} shared mappings")
    start, end = (int(number, 16) for number in found[0].split()[0].split("-"))
    return start, end - start


def make_noise():
    """Bytes of all kinds, small numbers and large ones, zeros and ones."""
    start, length = shared()
    source = random.Random(length)
    kinds = (source.randbytes(LARGEST),
             b"".join(source.randrange(64).to_bytes(4, "little")
                      for _ in range(LARGEST // 4)),
             b"".join((1 << source.randrange(64)).to_bytes(8, "little")
                      for _ in range(LARGEST // 8)),
             bytes(LARGEST), b"\xff" * LARGEST)
    watched.say("noise", os.getpid(), length)
    while True:
        for at in range(0, length, LARGEST):
            ctypes.memmove(start + at, source.choice(kinds), min(LARGEST, length - at))


def reply(line):
    """Small writes that follow from the request, and how many bytes."""
    seed = int(line)
    return [b"%d %d\n" % (seed, seed * 7919 + number) for number in range(LINES)]


def answer(sock):
    with sock, sock.makefile("rb", buffering=0) as lines:
        for line in lines:
            for piece in reply(line):
                sock.send(piece)


def accept(listener):
    while True:
        sock = listener.accept()[0]
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def serve():
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    starts, start = os.pipe()
    noisy = os.fork()
    if not noisy:
        os.close(start)
        if os.read(starts, 1):
            make_noise()
        os._exit(1)
    watched.say(listener.getsockname()[1])
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    for verb, in watched.commands():
        if verb == "noise":
            os.write(start, b"!")
        else:
            ended = os.waitpid(noisy, os.WNOHANG)
            os.kill(noisy, signal.SIGKILL)
            os.waitpid(noisy, 0)
            watched.say(ended)


# The clients.

class Clients:
    """Half of them keep their connection, half make one for each request."""

    def __init__(self, port):
        self.port, self.ends, self.problems, self.turns = port, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.guarded, args=(i,), daemon=True)
                        for i in range(4)]
        for thread in self.threads:
            thread.start()

    def guarded(self, index):
        try:
            while not self.ends.is_set():
                with socket.create_connection(("127.0.0.1", self.port)) as sock:
                    sock.settimeout(watched.TIMEOUT)
                    for number in range(100 if index % 2 else 1):
                        self.turn(sock, index * 1000 + number)
        except Exception as problem:  # a thread's own end would go unseen
            self.problems.append(f"client {index}: {problem!r}")

    def turn(self, sock, seed):
        wanted = b"".join(reply(b"%d" % seed))
        sock.sendall(b"%d\n" % seed)
        got = watched.exactly(sock, len(wanted))
        require(got == wanted, f"{got[:40]!r} instead of {wanted[:40]!r}")
        self.turns += 1

    def end(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(watched.TIMEOUT)
        require(not self.problems, "; ".join(self.problems))
        require(not any(thread.is_alive() for thread in self.threads), "a client hangs")


def no_number(name):
    raise ValueError(name)


def look(path, target):
    """The document, well-formed, or None: the answer was an error."""
    connection = metrics.Local(path)
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if answer.status != 200:
        require(400 <= answer.status < 600, f"{target}: {answer.status}")
        return None
    try:
        if target == "/metrics":
            metrics.samples(body[:-1].split("\n"), False)
        else:
            return json.loads(body, parse_constant=no_number)
    except ValueError as problem:
        raise metrics.Wrong(f"{target}: {problem}") from problem
    return {}


def test(server):
    port = server.hear()
    clients = Clients(port)
    metrics.check_streams(server.document("/streams", time.time()))
    server.tell("noise")
    _, noisy, length = server.hear()
    before, end = clients.turns, time.monotonic() + SECONDS
    seen, harmed = [], False
    while time.monotonic() < end:
        for target in PATHS:
            document = look(server.socket, target)
            seen.append(document is not None)
            if target == "/metrics.json" and document:
                harmed |= document["totals"]["response"]["appBytes"] > 1 << 50
        time.sleep(EVERY)
    require(clients.turns > before + 100, f"{clients.turns - before} turns beside noise")
    require(harmed or not all(seen), "the noise did no harm")
    ended = server.ask("stop")
    require(ended == [0, 0], f"the process that makes noise, {noisy}, ended: {ended}")
    clients.end()
    look(server.socket, "/streams")
    server.end()
    return f"{length >> 20} MiB of noise, {clients.turns - before} turns beside it, " \
           f"{sum(seen)} documents and {len(seen) - sum(seen)} errors"


watched.main(serve, test)
