"""Backpressure and its causes with real sockets.  The server measures the truth: from the
call that the kernel refuses to the poll that says writable.

A cell that the machine does not permit is named in the verdict as left out.
"""
import contextlib
import os
import select
import socket
import subprocess
import sys
import time

import watched
from metrics import require

BLOCK = bytes(131072)
STALL = 1.0
STALLS = 200
LINK = "10.213.17"
SMALL, LARGE = 4096, 1 << 20
READER = "import socket, sys\n" \
    "sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n" \
    "while sock.recv(1 << 20): pass\n"


# The server: one thread, which says what it saw.

class Streams:
    def __init__(self):
        self.listeners = {}
        self.sock = None
        self.shortened = 0

    def listen(self, kind, address):
        listener = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        listener.bind(address if kind == "unix" else tuple(address))
        listener.listen()
        self.listeners[kind] = listener
        return listener.getsockname()

    def option(self, kind, level, name, value):
        """Of the listener, from which its streams have it."""
        self.listeners[kind].setsockopt(
            level, name, value.encode() if isinstance(value, str) else value)

    def accept(self, kind):
        if self.sock:
            self.sock.close()
        self.sock = self.listeners[kind].accept()[0]
        self.shortened = 0
        return os.fstat(self.sock.fileno()).st_ino

    def fill(self, length=len(BLOCK)):
        """Until it is refused: the time."""
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.shortened += self.sock.send(BLOCK[:length]) < length
        return time.monotonic()

    def shout(self, length):
        """One write that waits."""
        self.sock.sendall(bytes(length))
        return length

    def episode(self):
        began = self.fill()
        watched.say("refused")
        ready = select.poll()
        ready.register(self.sock, select.POLLOUT)
        require(ready.poll(watched.TIMEOUT * 1000), "never writable")
        return time.monotonic() - began

    def stuff(self):
        """Until it is refused, and the peer's kernel takes no more either."""
        self.fill()
        ready = select.poll()
        ready.register(self.sock, select.POLLOUT)
        while ready.poll(100):
            self.fill()

    def stalls(self, number):
        """Their time, and how many more there may be: a write that is only shortened is one
        of its own if the next goes well."""
        return sum(self.episode() for _ in range(number)), self.shortened

    def flood(self, seconds, length):
        """Sends for so long, so much at a time: all the time that it was refused."""
        end, refused = time.monotonic() + seconds, 0.0
        ready = select.poll()
        ready.register(self.sock, select.POLLOUT)
        while time.monotonic() < end:
            began = self.fill(length)
            require(ready.poll(watched.TIMEOUT * 1000), "never writable")
            refused += time.monotonic() - began
        self.sock.shutdown(socket.SHUT_WR)
        return refused

    def turns(self, number):
        for _ in range(number):
            self.sock.recv(1, socket.MSG_WAITALL)
            for _ in range(16):
                self.sock.send(BLOCK[:256])

    def read(self, length):
        self.sock.recv(length, socket.MSG_WAITALL)
        return time.time()


def serve():
    streams = Streams()
    for verb, *arguments in watched.commands():
        watched.say(getattr(streams, verb)(*arguments))


# The test: the peer, and what the metrics say.

def drain(sock):
    """All that is there by now."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while sock.recv(1 << 20):
            pass


def drain_until_heard(server, sock):
    """Reads while the server has nothing to say."""
    while True:
        ready, _, _ = select.select([server.process.stdout, sock], [], [],
                                    watched.TIMEOUT)
        require(ready, "no byte, no word")
        if server.process.stdout in ready:
            return server.hear()
        drain(sock)


def ended(server, sock):
    """What the server says when its stalls are over: milliseconds, events there may be more."""
    seconds, more = drain_until_heard(server, sock)
    return seconds * 1000, more


def connect(server, kind, address, rcvbuf=0):
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.connect(address if kind == "unix" else tuple(address))
    return sock, server.ask("accept", kind)


def sent(server, inode):
    figures = server.stream(inode, time.time())["response"]
    return figures, figures["backpressureTime"], figures["causes"]


def unwatched(server, kind, address, cause):
    """Nobody has asked before, and its only thread waits in a write: the first answer says so."""
    sock, inode = connect(server, kind, address)
    server.tell("shout", len(BLOCK) * 64)
    ready, _, _ = select.select([sock], [], [], watched.TIMEOUT)
    require(ready, "no byte")
    taken = time.monotonic()
    # A write is given a millisecond before it counts as waiting.
    watched.until(lambda: time.monotonic() > taken + 0.01, "no time passes")
    figures, _, _ = sent(server, inode)
    blocked = figures["blocked"]
    require(blocked and blocked["cause"] == cause, f"a write waits, and blocked is {blocked}")
    require(not figures["backpressureEvents"], "counted before it has returned")
    require(drain_until_heard(server, sock) == len(BLOCK) * 64, "not all was sent")
    sock.close()


def one_stall(server, kind, address, least):
    """The peer does not read for a while, which is told while it lasts."""
    sock, inode = connect(server, kind, address)
    server.tell("stalls", 1)
    require(server.hear() == "refused", "not refused")
    began = time.monotonic()
    entry = server.stream(inode, time.time() + STALL / 4)
    while time.monotonic() < began + STALL:
        time.sleep(0.01)
    truth, more = ended(server, sock)
    blocked = entry["response"]["blocked"]
    require(blocked and blocked["cause"] == "peer" and
            STALL * 100 < blocked["for"] < truth, f"{kind}: meanwhile blocked is {blocked}")
    figures, spent, causes = sent(server, inode)
    what = f"{kind}, a stall of {truth:.0f} ms"
    require(figures["blocked"] is None, f"{what}: blocked is still {figures['blocked']}")
    require(1 <= figures["backpressureEvents"] <= 1 + more,
            f"{what}: {figures['backpressureEvents']} events")
    require(0.9 * truth <= spent <= 1.1 * truth, f"{what}: {spent} ms are told")
    require(causes["peer"] >= least * spent, f"{what}: {causes} of {spent}")
    sock.close()


def writable_unnoticed(server):
    """The peer has read all, and the server has not asked since: it is not told to be blocked,
    although the looks that come by themselves come every 100 ms only."""
    address = server.ask("listen", "full", ["127.0.0.1", 0])
    server.ask("option", "full", socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    for _ in range(3):
        sock, inode = connect(server, "full", address, 65536)
        server.ask("stuff")
        figures, _, _ = sent(server, inode)
        require(figures["blocked"], "refused, and not blocked")
        taken = time.monotonic()
        watched.until(lambda: time.monotonic() > taken + 1, "no second snapshot")
        watched.exactly(sock, figures["totalBytes"])
        figures, _, _ = sent(server, inode)
        require(figures["blocked"] is None, f"writable, and blocked is {figures['blocked']}")
        sock.close()


def many_stalls(server, address):
    sock, inode = connect(server, "tcp", address, 65536)
    server.tell("stalls", STALLS)
    for _ in range(STALLS):
        require(drain_until_heard(server, sock) == "refused", "not refused")
        time.sleep(0.002)
    truth, more = ended(server, sock)
    figures, spent, causes = sent(server, inode)
    what = f"{STALLS} stalls of {truth:.0f} ms"
    require(STALLS <= figures["backpressureEvents"] <= STALLS + more,
            f"{what}: {figures['backpressureEvents']} events")
    require(spent <= 1.1 * truth, f"{what}: {spent} ms are told")
    require(causes["peer"] >= 0.65 * spent > 0, f"{what}: {causes} of {spent}")
    sock.close()
    return causes["peer"] / spent


def a_reader(server, address):
    sock, inode = connect(server, "tcp", address)
    server.tell("turns", STALLS)
    for _ in range(STALLS):
        sock.sendall(b"?")
        sock.recv(4096, socket.MSG_WAITALL)
    server.hear()
    figures, spent, _ = sent(server, inode)
    require(figures["appBytes"] == STALLS * 4096, f"{figures['appBytes']} bytes")
    require(figures["backpressureEvents"] == 0 and spent == 0,
            f"a peer that reads: {figures}")
    sock.close()


def received(server, address, unread):
    """A request, then only an end, or more bytes than the server cares to read."""
    sock, inode = connect(server, "tcp", address)
    sock.sendall(bytes(100 + unread))
    if not unread:
        sock.shutdown(socket.SHUT_WR)
    began = server.ask("read", 100)
    document = server.document("/streams", began + STALL)
    figures = next(s for s in document["streams"] if s["inode"] == inode)["request"]
    truth = document["timestamp"] - began * 1000
    events, spent = figures["backpressureEvents"], figures["backpressureTime"]
    if unread:
        # Looks come every 100 ms: the first tells nothing, the last is a while ago.
        require(events == 1 and 0.9 * truth - 300 <= spent <= 1.1 * truth,
                f"unread for {truth:.0f} ms: {spent} ms, {events} events")
    else:
        require(events == 0 and spent == 0, f"half-closed: {spent} ms, {events} events")
    sock.close()


def ran(*command):
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


@contextlib.contextmanager
def namespace(*commands):
    """A network namespace reached by what the commands make, in which {name} is its name and
    that of our device; None where that is not permitted."""
    name = f"weir{os.getpid()}"
    commands = ["ip netns add {name}", *commands,
                f"ip address add {LINK}.1/30 dev {{name}}",
                "ip link set {name} up",
                f"ip -n {{name}} address add {LINK}.2/30 dev eth0",
                "ip -n {name} link set eth0 up"]
    try:
        done = all(ran(*c.format(name=name).split()) for c in commands)
        yield name if done else None
    finally:
        ran("ip", "link", "delete", name)
        ran("ip", "netns", "delete", name)


def slow_link():
    """One behind 8 Mbit/s."""
    return namespace("ip link add {name} type veth peer name eth0 netns {name}",
                     "tc qdisc add dev {name} root tbf rate 8mbit burst 16k latency 50ms")


@contextlib.contextmanager
def long_link():
    """The same behind 40 ms there and back, and 40 Mbit/s."""
    ours, theirs = f"weir{os.getpid()}", f"wire{os.getpid()}"
    with subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "relay.py"),
                           ours, theirs],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as relay:
        relay.stdout.readline()
        with namespace(f"ip link set {theirs} netns {{name}}",
                       f"ip -n {{name}} link set {theirs} name eth0") as name:
            yield name


def cubic_is_there():
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        except OSError:
            return False
    return True


def flooded(server, kind, name, address, length=len(BLOCK)):
    """Two seconds of all that a reader in the namespace takes: the part of each cause."""
    with subprocess.Popen(["ip", "netns", "exec", name, sys.executable, "-c", READER,
                           address[0], str(address[1])]) as reader:
        inode = server.ask("accept", kind)
        truth = server.ask("flood", 2.0, length) * 1000
        _, spent, causes = sent(server, inode)
        require(reader.wait(watched.TIMEOUT) == 0, "the reader failed")
    require(0.5 * truth <= spent <= 1.1 * truth,
            f"{kind} link: {spent} of {truth:.0f} ms are told")
    return {cause: ms / spent for cause, ms in causes.items()}


def a_slow_link(server):
    with slow_link() as name:
        if not name:
            return "left out: a slow link, no network namespace with tbf"
        address = server.ask("listen", "slow", [f"{LINK}.1", 0])
        causes = flooded(server, "slow", name, address)
        require(causes["network"] >= 0.5, f"slow link: {causes}")
        return f"{causes['network']:.0%} network over a slow link"


def a_small_buffer(server):
    """Over a long way, where the kernel could send more than SO_SNDBUF lets it have; and one
    that is large enough."""
    if not cubic_is_there():
        return "left out: a small SO_SNDBUF, no cubic"
    with long_link() as name:
        if not name:
            return "left out: a small SO_SNDBUF, no network namespace with TUN"
        address = server.ask("listen", "long", [f"{LINK}.1", 0])
        server.ask("option", "long", socket.IPPROTO_TCP, socket.TCP_CONGESTION, "cubic")
        # What Nagle keeps back may grow, beyond SO_SNDBUF, and go when the window opens.
        server.ask("option", "long", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shares = []
        for size in SMALL, LARGE:
            server.ask("option", "long", socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            shares.append(flooded(server, "long", name, address, SMALL)["local"])
        small, large = shares
        require(small >= 0.5 > large,
                f"SO_SNDBUF of {SMALL}: {small:.0%} local, of {LARGE}: {large:.0%}")
        return f"{small:.0%} local with a small SO_SNDBUF, {large:.0%} with a large one"


def test(server):
    tcp = server.ask("listen", "tcp", ["127.0.0.1", 0])
    local = server.ask("listen", "unix", os.path.join(sys.argv[1], "..", "streams"))
    unwatched(server, "tcp", tcp, "unknown")
    a_reader(server, tcp)
    one_stall(server, "tcp", tcp, 0.9)
    one_stall(server, "unix", local, 1)
    writable_unnoticed(server)
    share = many_stalls(server, tcp)
    received(server, tcp, 0)
    received(server, tcp, 100)
    links = f"{a_slow_link(server)}; {a_small_buffer(server)}"
    server.end()
    return f"who stalled, and how long; {share:.0%} of short stalls peer; {links}"


watched.main(serve, test)
