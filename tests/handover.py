#!/usr/bin/env python3
"""After a few small reads from a full queue, whoever gets the connection finds exactly the rest.

A server in Python (scripted below) accepts a connection, reads some pieces of three bytes, so
that the library reads ahead, and hands the connection on in one of many ways; whoever has
it then reads to the end. What all of them wrote is compared with what was sent. Each way runs
natively, which tells that the test is right, preloaded, and reading ahead whether it pays or
not. TAP; WEIR_LIB is the library."""

import os
import socket
import subprocess
import sys
import tempfile

WAYS = ("fork_child", "fork_parent", "exec", "spawn", "dup", "dup2", "fdopen", "rights",
        "large", "recvmsg", "select")
HALVES = {"native": None, "preloaded": "", "eager": "eager"}
DATA = b"".join(b"%05d;" % i for i in range(1500))
LIMIT = 60  # seconds, on a busy machine

SERVER = r"""
import os, select, socket, subprocess, sys

way, path = sys.argv[1:]
READ = ("import socket, sys\n"
        "s = socket.socket(fileno=%s)\n"
        "while b := s.recv(7): sys.stdout.buffer.write(b)\n")
TAKE = ("import socket\n"
        "_, fds, _, _ = socket.recv_fds(socket.socket(fileno=%d), 1, 1)\n"
        + READ % "fds[0]")

def say(data):
    sys.stdout.buffer.write(data)
    sys.stdout.flush()

def rest(read):
    while data := read():
        say(data)

listener = (socket.create_server(path, family=socket.AF_UNIX) if path
            else socket.create_server(("127.0.0.1", 0)))
say(b"%d\n" % (0 if path else listener.getsockname()[1]))
c, _ = listener.accept()
select.select([c], [], [])
sys.stdin.read(1)  # all has been sent
for _ in range(7):
    say(c.recv(3))
if way == "fork_child":
    if os.fork() == 0:
        rest(lambda: c.recv(5))
        os._exit(0)
    os.wait()
elif way == "fork_parent":
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    rest(lambda: c.recv(5))
elif way in ("exec", "spawn"):
    os.set_inheritable(c.fileno(), True)
    argv = [sys.executable, "-c", READ % c.fileno()]
    if way == "exec":
        os.execv(argv[0], argv)
    subprocess.run(argv, close_fds=False)
elif way == "dup":
    copy = c.dup()
    rest(lambda: copy.recv(5))
elif way == "dup2":
    number = os.open("/", os.O_RDONLY)
    os.dup2(c.fileno(), number)
    rest(lambda: os.read(number, 4))
elif way == "fdopen":
    with os.fdopen(os.dup(c.fileno()), "rb") as f:
        say(f.read())
elif way == "rights":
    a, b = socket.socketpair()
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    taker = subprocess.Popen([sys.executable, "-c", TAKE % b.fileno()], env=env,
                             pass_fds=[b.fileno()])
    socket.send_fds(a, [b"x"], [c.fileno()])
    taker.wait()
elif way == "large":
    rest(lambda: c.recv(65536))
elif way == "recvmsg":
    rest(lambda: c.recvmsg(100, 100)[0])
elif way == "select":
    rest(lambda: select.select([c], [], []) and c.recv(6))
"""


def received(way, path, half):
    env = dict(os.environ, STREAM_METRICS_SOCKET="off")
    if HALVES[half] is not None:
        env.update(LD_PRELOAD=os.environ["WEIR_LIB"], STREAM_TEST=HALVES[half])
    with subprocess.Popen([sys.executable, "-c", SERVER, way, path], env=env,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        port = int(server.stdout.readline())
        family = socket.AF_UNIX if path else socket.AF_INET
        with socket.socket(family) as s:
            s.connect(path or ("127.0.0.1", port))
            s.sendall(DATA)
            s.shutdown(socket.SHUT_WR)
            try:
                return server.communicate(b"g", timeout=LIMIT)[0]
            except subprocess.TimeoutExpired:
                server.kill()
                return b"it did not end"


def main():
    nr = 0
    print(f"1..{2 * len(WAYS) * len(HALVES)}")
    with tempfile.TemporaryDirectory() as directory:
        for way in WAYS:
            for path in ("", os.path.join(directory, way)):
                for half in HALVES:
                    nr += 1
                    got = received(way, path, half)
                    if path:
                        os.unlink(path)
                    verdict = "ok" if got == DATA else "not ok"
                    print(f"{verdict} {nr} - {way} of a {'Unix' if path else 'TCP'} "
                          f"stream, {half}", flush=True)
                    if got != DATA:
                        print(f"# {len(got)} bytes of {len(DATA)}: ...{got[-60:]!r}")


main()
