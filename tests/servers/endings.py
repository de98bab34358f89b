"""How members of a family end: each way is shown, and what they had open is closed in the
record; how long its sending was blocked stays.  One that ends in a pid namespace of its own,
where it cannot see the others, takes nothing of theirs with it.
"""
import ctypes
import os
import signal
import socket
import time

import metrics
import watched
from metrics import require

CLONE_NEWPID = 0x20000000
MUCH = 1 << 26  # more than the buffers of both ends


# The server.

def unshare_pids():
    return ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWPID) == 0


def end(how):
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exec":  # another program, without the library
        os.execve("/bin/sleep", ["sleep", "60"], {})
    os._exit(0)


def one_more(listener, how):
    """A member with a stream of its own, which it leaves open."""
    pid = os.fork()
    if not pid:
        sock = socket.create_connection(listener.getsockname())
        sock.sendall(b"%d" % os.getpid())
        sock.recv(1)
        end(how)
    with listener.accept()[0] as sock:
        known_as = int(sock.recv(20))
        sock.sendall(b"!")
        return pid, known_as


def one_blocked(listener):
    """A member that writes what we do not read."""
    pid = os.fork()
    if not pid:
        socket.create_connection(listener.getsockname()).sendall(bytes(MUCH))
        os._exit(0)
    return pid, listener.accept()[0]


def serve():
    listener = socket.create_server(("127.0.0.1", 0))
    others, unread = [], []
    watched.say("ready")
    for command in watched.commands():
        how = command[0]
        if how == "namespace":
            # In a process of its own: once unshared, it can make no thread any more.
            pid = os.fork()
            if not pid:
                watched.say(unshare_pids() and one_more(listener, "exit")[1])
                os._exit(0)
            os.waitpid(pid, 0)
        elif how == "blocked":
            pid, sock = one_blocked(listener)
            unread.append(sock)
            watched.say(pid)
        elif how == "kill":
            os.kill(command[1], signal.SIGKILL)
            os.waitpid(command[1], 0)
            watched.say("killed")
        else:
            pid, known_as = one_more(listener, how)
            others.append(pid)
            watched.say(pid, known_as)
    for pid in others:  # not waited for before, so the one that was killed is a zombie
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# The test.

def ends(server, how):
    _, known_as = server.ask(how)

    def shown():
        at = time.time()
        states = [p["state"] for p in server.document("/metrics.json", at)["processes"]
                  if p["pid"] == known_as]
        streams = [s["state"] for s in server.document("/streams", at)["streams"]
                   if s["pid"] == known_as]
        return states == [how] and streams == ["closed"]

    watched.until(shown, f"one that ended by {how} is not shown so, or its stream is open")


def ends_elsewhere(server):
    """False: not permitted here."""
    if not server.ask("namespace"):
        return False
    document = server.document("/metrics.json", time.time())
    states = {p["pid"]: p["state"] for p in document["processes"]}
    require(states[server.process.pid] == "live", "the server is taken for an ended one")
    require(list(states.values()).count("killed") == 1, f"killed: {states}")
    return True


def ends_blocked(server):
    """The time that its sending was blocked is what was shown by then at least, and all of
    it has a cause."""
    began = time.monotonic()
    pid = server.ask("blocked")

    def sending():
        at = time.time()
        found = [s for s in server.document("/streams", at)["streams"] if s["pid"] == pid]
        return found[0] if found else {"state": "", "request": {"backpressureTime": 0}}

    watched.until(lambda: sending()["request"]["backpressureTime"] >= 300,
                  "sending is not said to be blocked")
    shown = sending()["request"]["backpressureTime"]
    server.ask("kill", pid)
    lasted = (time.monotonic() - began) * 1000
    watched.until(lambda: sending()["state"] == "closed", "its stream stays open")
    last = sending()["request"]
    require(shown <= last["backpressureTime"] <= lasted,
            f"{shown} ms were shown, {last['backpressureTime']} stay, {lasted} passed")
    causes = sum(last["causes"].values())
    require(abs(causes - last["backpressureTime"]) < 0.01,
            f"of {last['backpressureTime']} ms {causes} have a cause")
    counts = metrics.ask(server.socket, "/metrics")
    for line in ("weir_send_backpressure_events_total 1",
                 "weir_send_backpressure_episode_seconds_count 1"):
        require(line in counts, f"not {line}")


def test(server):
    require(server.hear() == "ready", "the server is not ready")
    for how in ("exit", "killed", "exec"):
        ends(server, how)
    counts = metrics.ask(server.socket, "/metrics")
    for how in ("exit", "killed", "exec"):
        require(f'weir_processes_ended_total{{how="{how}"}} 1' in counts,
                f"not one that ended by {how}")
    elsewhere = ends_elsewhere(server)
    ends_blocked(server)
    server.end()
    watched.until(lambda: not os.path.exists(server.socket),
                  "the socket is left behind")
    return "by exit, kill and exec, and while blocked" + (
        ", and in a pid namespace" if elsewhere else "; no pid namespace permitted")


watched.main(serve, test)
