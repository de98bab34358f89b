"""server_prefork.py PORT [PIDFILE]: three workers forked before the first connection, a
thread for each connection in them, a write for each line of a reply (load_lines.py).

Where a service manager listens for it, as sd_listen_fds(3) says, it does not by itself.
With PIDFILE it becomes a daemon first: listens, forks twice, and the first two processes
end.  All processes sleep without a time-out.  The master replaces a worker that dies;
SIGTERM ends master and workers cleanly.
"""
import os
import signal
import socket
import socketserver
import sys

import server_lines

WORKERS = 3


class Lines(server_lines.Lines):
    disable_nagle_algorithm = True  # natively 22 replies a second are too few


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def leave(*_):
    sys.exit(0)


def work(server):
    signal.signal(signal.SIGTERM, leave)
    server.serve_forever(poll_interval=None)


def daemonize(pidfile):
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    with open(pidfile + ".new", "w", encoding="ascii") as file:
        print(os.getpid(), file=file)
    os.rename(pidfile + ".new", pidfile)


def spawn(server, workers):
    """Until the child has its own handler, the signal would end it as a master."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if pid:
        workers.add(pid)
        return
    work(server)


def listen(port):
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return Server(("127.0.0.1", port), Lines)
    server = Server(("127.0.0.1", port), Lines, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    return server


def main():
    server = listen(int(sys.argv[1]))
    if len(sys.argv) > 2:
        daemonize(sys.argv[2])
    workers = set()

    def end(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        for pid in workers:
            os.waitpid(pid, 0)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    for _ in range(WORKERS):
        spawn(server, workers)
    while True:
        pid, _ = os.wait()
        workers.discard(pid)
        spawn(server, workers)


main()
