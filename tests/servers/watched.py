"""A watched server that is half of a test: what the cases with figures share.

Such a program plays both sides.  Server starts it again with the library and the word
"serve"; the two talk in lines of JSON over pipes, so that no stream is there but those of
the test.  Test and clients are never preloaded.
"""
import contextlib
import json
import os
import select
import subprocess
import sys
import time

import metrics
from metrics import require

TIMEOUT = 15


class Server:
    """The other half, and its metrics socket."""

    def __init__(self, directory):
        env = dict(os.environ, LD_PRELOAD=os.environ["WEIR_LIB"],
                   STREAM_METRICS_SOCKET=os.path.join(directory, "%e.sock"))
        self.socket = os.path.join(directory, os.path.basename(sys.executable) + ".sock")
        # Without buffers, in which select would not see the next line.
        self.process = subprocess.Popen([sys.executable, sys.argv[0], "serve"], env=env,
                                        bufsize=0, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def tell(self, *words):
        self.process.stdin.write(json.dumps(words).encode() + b"\n")

    def hear(self, timeout=TIMEOUT):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        require(ready, "the server says nothing")
        line = self.process.stdout.readline()
        require(line, "the server ended")
        return json.loads(line)

    def ask(self, *words):
        self.tell(*words)
        return self.hear()

    def document(self, target, at=0.0):
        """Of a snapshot not older than `at`, Unix seconds."""
        found = None

        def new():
            nonlocal found
            found = json.loads(metrics.ask(self.socket, target))
            return found["timestamp"] >= at * 1000

        require(metrics.poll(metrics.DEADLINE, new), f"{target} stays an old one")
        return found

    def stream(self, inode, at):
        """The entry of /streams, by the inode of the server's socket."""
        found = [s for s in self.document("/streams", at)["streams"]
                 if s["inode"] == inode]
        require(len(found) == 1, f"{len(found)} streams have inode {inode}")
        return found[0]

    def end(self):
        """It ends by itself at the end of its input, without complaint."""
        self.process.stdin.close()
        require(self.process.wait(TIMEOUT) == 0,
                f"the server ended with {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


def commands():
    """In the server: what it is told."""
    for line in iter(sys.stdin.buffer.readline, b""):
        yield json.loads(line)


def say(*words):
    """In the server: one line of answer."""
    print(json.dumps(words if len(words) != 1 else words[0]), flush=True)


def exactly(sock, length):
    """MSG_WAITALL, also on a socket with a time-out."""
    got = b""
    while len(got) < length:
        piece = sock.recv(length - len(got))
        require(piece, f"the end after {len(got)} of {length} bytes")
        got += piece
    return got


def until(condition, what, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, what)
        time.sleep(0.01)


def main(serve, test):
    if sys.argv[1] == "serve":
        serve()
        return
    try:
        with Server(sys.argv[1]) as server:
            print(test(server))
    except metrics.Wrong as problem:
        print(problem)
        sys.exit(1)
