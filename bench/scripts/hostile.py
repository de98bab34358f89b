"""Clients that nobody wants, at one AF_UNIX socket: hostile.py PATH

200 that send a byte now and then, a stream of connects that are dropped at once,
request lines of 1 MB, garbage, halves of requests, and readers of a large document that
never read it. Goes on until its stdin ends; then prints what it did as JSON. One thread,
and it never waits for the server: who refuses is tried again.
"""

import collections
import json
import os
import selectors
import socket
import sys
import time

DRIBBLERS = 200
STEP = 0.02  # a round of all kinds
CONNECTS = 60  # dropped at once, a round
GARBAGE = os.urandom(4096)
HUGE = b"GET /" + b"a" * (1 << 20)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(path)
    except OSError:
        s.close()
        return None
    return s


def send(s, data):
    """False: the server has had enough of it."""
    try:
        s.send(data)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


class Hostile:
    def __init__(self, path):
        self.path, self.did = path, collections.Counter()
        self.dribblers, self.lingering = [], collections.deque()

    def once(self, what, data, seconds):
        """Sends `data` and leaves the connection open for a while, unread."""
        s = connect(self.path)
        if s:
            self.did[what] += 1
            send(s, data)
            self.lingering.append((time.monotonic() + seconds, s))

    def dribble(self):
        while len(self.dribblers) < DRIBBLERS:
            s = connect(self.path)
            if not s:
                break
            self.did["dribbled"] += 1
            self.dribblers.append(s)
        kept = []
        for s in self.dribblers:
            if send(s, b"G"):
                kept.append(s)
            else:
                s.close()
        self.dribblers = kept

    def round(self):
        for _ in range(CONNECTS):
            s = connect(self.path)
            if s:
                self.did["connected"] += 1
                s.close()
        self.once("huge", HUGE, 0.1)
        self.once("garbage", GARBAGE, 0)
        self.once("half", b"GET /metrics HT", 0.5)
        self.once("unread", b"GET /streams HTTP/1.1\r\n\r\n", 1)
        self.dribble()
        while self.lingering and self.lingering[0][0] < time.monotonic():
            self.lingering.popleft()[1].close()


def main():
    hostile = Hostile(sys.argv[1])
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while not selector.select(STEP):
        hostile.round()
    print(json.dumps(hostile.did), flush=True)


main()
