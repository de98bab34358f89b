"""200 random connections, made and accepted by the server, both directions at once, some
half-closed: totalBytes of each direction is what TCP_INFO of the server's socket says.

What a connection carries follows from its seed, the first 8 bytes that the client sends.
"""
import array
import concurrent.futures
import fcntl
import os
import random
import socket
import struct
import termios
import threading
import time

import watched
from metrics import require

CONNECTIONS = 200
SEED = struct.Struct("!Q")
# tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info, linux/tcp.h
MOVED, MOVED_AT = struct.Struct("QQ"), 120


class Plan:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.request = int(2 ** self.random.uniform(0, 18)) - 1
        self.response = int(2 ** self.random.uniform(0, 18)) - 1
        self.largest = [int(2 ** self.random.uniform(4, 17)) for _ in range(4)]
        self.client_ends = self.random.random() < 0.5
        self.server_ends = self.random.random() < 0.3


def write(sock, length, largest, ends, seed):
    pieces = random.Random(seed)
    while length:
        piece = min(length, pieces.randrange(1, largest + 1))
        sock.sendall(bytes(piece))
        length -= piece
    if ends:
        sock.shutdown(socket.SHUT_WR)


def read(sock, length, largest, ends, seed):
    pieces = random.Random(seed)
    while length:
        got = len(sock.recv(min(length, pieces.randrange(1, largest + 1))))
        require(got, f"the end, {length} bytes early")
        length -= got
    if ends:
        require(not sock.recv(1), "more than was sent")


def both(reader, writer):
    other = threading.Thread(target=write, args=writer)
    other.start()
    read(*reader)
    other.join()


class Connection:
    """In the server: a connection, and what became of it."""

    def __init__(self, sock, connected):
        self.sock, self.connected, self.plan = sock, connected, None
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        seed = SEED.unpack(self.sock.recv(SEED.size, socket.MSG_WAITALL))[0]
        self.plan = plan = Plan(seed)
        both((self.sock, plan.request, plan.largest[0], plan.client_ends, seed),
             (self.sock, plan.response, plan.largest[1], plan.server_ends, seed + 1))

    def acknowledged(self):
        unsent = array.array("i", [0])
        fcntl.ioctl(self.sock, termios.TIOCOUTQ, unsent)
        return not unsent[0]

    def report(self):
        self.thread.join()
        watched.until(self.acknowledged, "not all is acknowledged")
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        acked, received = MOVED.unpack_from(info, MOVED_AT)
        # A SYN that was acknowledged counts, one that was received does not; a FIN does.
        return {"inode": os.fstat(self.sock.fileno()).st_ino,
                "role": "connected" if self.connected else "accepted",
                "sent": acked - self.connected - self.plan.server_ends,
                "received": received - self.plan.client_ends,
                "written": self.plan.response, "read": self.plan.request + SEED.size}


def serve():
    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    connections = []

    def accept():
        while len(connections) < CONNECTIONS:
            connections.append(Connection(listener.accept()[0], False))

    watched.say(listener.getsockname()[1])
    threading.Thread(target=accept, daemon=True).start()
    for verb, argument in watched.commands():
        if verb == "connect":
            sock = socket.create_connection(("127.0.0.1", argument))
            connections.append(Connection(sock, True))
        elif verb == "report":
            watched.until(lambda: len(connections) == CONNECTIONS, "too few connections")
            watched.say([connection.report() for connection in connections])
        else:
            for connection in connections[::2]:
                connection.sock.close()
            watched.say("closed")


def talk(sock, seed):
    plan = Plan(seed)
    sock.sendall(SEED.pack(seed))
    both((sock, plan.response, plan.largest[2], plan.server_ends, seed),
         (sock, plan.request, plan.largest[3], plan.client_ends, seed + 1))


def compare(reports, document):
    entries = {stream["inode"]: stream for stream in document["streams"]}
    for number, report in enumerate(reports):
        entry = entries[report["inode"]]
        what = f"connection {number}, {report['role']}"
        require(entry["role"] == report["role"], f"{what}: it is {entry['role']}")
        # A server that connects is a client: it sends requests.
        ways = [("received", "read"), ("sent", "written")]
        if report["role"] == "connected":
            ways.reverse()
        for name, (moved, app) in zip(("request", "response"), ways):
            figures = entry[name]
            require(report[moved] == report[app],
                    f"{what}: TCP {moved} {report[moved]} of {report[app]}")
            require(figures["totalBytes"] == report[moved],
                    f"{what}: {name} of {figures['totalBytes']} bytes, TCP {moved} "
                    f"{report[moved]}")
            require((figures["appBytes"], figures["pendingBytes"]) == (report[app], 0),
                    f"{what}: {name}: app {figures['appBytes']} of {report[app]}, "
                    f"pending {figures['pendingBytes']}")


def test(server):
    port, first = server.hear(), random.randrange(1 << 60)
    print(f"the first seed is {first}")
    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    socks = []
    for number in range(CONNECTIONS):
        if number % 2:
            server.tell("connect", listener.getsockname()[1])
            socks.append(listener.accept()[0])
        else:
            socks.append(socket.create_connection(("127.0.0.1", port)))
        socks[-1].settimeout(watched.TIMEOUT)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(talk, socks, range(first, first + CONNECTIONS)))
    reports = server.ask("report", None)
    compare(reports, server.document("/streams", time.time()))
    server.ask("close", None)
    document = server.document("/streams", time.time())
    compare(reports, document)
    calls = [sum(stream[name][kind] for stream in document["streams"]
                 for name in ("request", "response"))
             for kind in ("appCalls", "kernelCalls")]
    require(calls[1] < calls[0], f"nothing was gathered: {calls} calls")
    closed = sum(stream["state"] == "closed" for stream in document["streams"])
    require(closed == CONNECTIONS // 2, f"{closed} are closed")
    server.end()
    total = sum(report["sent"] + report["received"] for report in reports)
    return f"{CONNECTIONS} connections, {total} bytes, as TCP counts them, by " \
           f"{calls[0]} calls of its own and {calls[1]} of the kernel's"


watched.main(serve, test)
