"""What the clients of the server cases share.

A Wire is a blocking TCP connection that counts every byte it sends and receives, so
that a case can compare with what the server's kernel calls moved.  run() drives
several of them at once, each in a thread, until a file appears and at least so many
messages were exchanged; a mismatch anywhere ends the program with status 1 and one
line that says what differed.  The report is one JSON object on stdout.

    wire.py port      print a free TCP port below the range clients are given
"""
import argparse
import json
import os
import random
import socket
import sys
import threading
import time

TIMEOUT = 15


class Mismatch(Exception):
    """The server's answer is not the one that was expected."""


class Closed(Mismatch):
    """The server closed the connection before the answer began."""


class Wire:
    """A counting connection.  One thread uses it; count is final after close."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), TIMEOUT)
        self.sent = self.received = 0
        self.buffer = bytearray()

    def send(self, data):
        self.sock.sendall(data)
        self.sent += len(data)

    def more(self):
        """Receive once; False at the end of the stream."""
        data = self.sock.recv(262144)
        self.received += len(data)
        self.buffer += data
        return bool(data)

    def need_more(self):
        if not self.more():
            if not self.buffer:
                raise Closed("the server closed the connection")
            raise Mismatch(f"end of stream after {len(self.buffer)} bytes of an answer")

    def read(self, length):
        while len(self.buffer) < length:
            self.need_more()
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        return data

    def until(self, mark=b"\r\n"):
        """Up to and without mark."""
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.need_more()
        data = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return data

    def expect(self, wanted, what):
        got = self.read(len(wanted))
        if got != wanted:
            at = next(i for i, pair in enumerate(zip(got, wanted)) if pair[0] != pair[1])
            raise Mismatch(f"{what}: byte {at} of {len(wanted)} differs: "
                           f"{got[at:at + 20]!r} instead of {wanted[at:at + 20]!r}")

    def finish(self):
        """Send our end and read the server's: nothing may be left in between."""
        self.sock.shutdown(socket.SHUT_WR)
        while self.more():
            pass
        self.close()
        if self.buffer:
            raise Mismatch(f"{len(self.buffer)} bytes more than were asked for")

    def close(self):
        self.sock.close()


class Load:
    """The clients of one program, and what they add up to."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.wires, self.messages, self.problems = [], 0, []
        self.stop = threading.Event()

    def connect(self):
        wire = Wire(self.options.port)
        with self.lock:
            self.wires.append(wire)
        return wire

    def more_wanted(self, done):
        """Ask before each message: done is what the caller has exchanged so far."""
        if self.problems:
            return False
        share = -(-self.options.least // self.options.clients)
        return done < share or not self.stop.is_set()

    def guarded(self, worker, index):
        try:
            count = worker(self, index)
            with self.lock:
                self.messages += count
        except Exception as problem:  # a thread's own end would go unseen
            self.problems.append(f"client {index}: {type(problem).__name__}: {problem}")

    def watch(self):
        path = self.options.until
        while path and not os.path.exists(path) and not self.problems:
            time.sleep(0.02)
        self.stop.set()


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--least", type=int, default=2000,
                        help="messages of all clients together")
    parser.add_argument("--until", help="go on until this file exists")
    return parser


def run(worker, parsed, extra=None):
    """worker(load, index) returns the number of messages it exchanged."""
    load = Load(parsed)
    began = time.monotonic()
    threads = [threading.Thread(target=load.guarded, args=(worker, i), daemon=True)
               for i in range(parsed.clients)]
    threading.Thread(target=load.watch, daemon=True).start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if load.problems:
        sys.exit(load.problems[0])
    report = {"clients": parsed.clients, "messages": load.messages,
              "connections": len(load.wires),
              "received": sum(wire.received for wire in load.wires),
              "sent": sum(wire.sent for wire in load.wires),
              "seconds": round(time.monotonic() - began, 3)}
    report.update(extra() if extra else {})
    print(json.dumps(report))


def pattern(seed, length):
    """Bytes that depend on every bit of the seed; printable, without line ends."""
    source = random.Random(seed)
    block = bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=61))
    return (block * (length // 61 + 1))[:length]


def free_port():
    """Below the range of which clients are given theirs: one of them might have it by the time that a server,
    or the next server, comes to it. Where there is no room below it, one of these."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        top = min(int(limits.read().split()[0]), 32768)
    for _ in range(200):
        port = random.randrange(top // 2, top) if top > 4096 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    sys.exit("no free port")


if __name__ == "__main__" and sys.argv[1:] == ["port"]:
    print(free_port())
