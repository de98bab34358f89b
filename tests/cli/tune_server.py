"""A server for weir tune to start: tune_server.py PORT [WORD...], with what goes wrong in WORDs.

Each line of a client is answered by the same line. It says on stdout whether the library is in it,
and with which variables.
    daemon     it daemonizes; two workers answer beside it
    deaf       it never listens
    stubborn   SIGTERM does not end it
    crash      under the library it crashes at the first client
    abort      under the library it crashes when it is told to end
    once       it ends after its first client
    closing    it closes first, and its port is not reusable
    burn       a child of its own uses 0.1 seconds of CPU time for each line
"""
import os
import signal
import socket
import sys
import time


def has_library():
    with open("/proc/self/maps", encoding="utf-8") as f:
        return "libweir.so" in f.read()


def begin(words):
    loaded = has_library()
    print("library" if loaded else "native",
          *sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("STREAM_")),
          "PRELOAD=" + os.environ.get("LD_PRELOAD", ""), flush=True)
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "abort" in words and loaded:
        signal.signal(signal.SIGTERM, lambda *_: os.abort())
    while "deaf" in words:
        signal.pause()
    return loaded


def daemonize():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def burn():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    while time.process_time() < 0.1:
        pass
    os._exit(0)


def main():
    port, words = int(sys.argv[1]), sys.argv[2:]
    loaded = begin(words)
    if "daemon" in words:
        daemonize()
    listener = socket.socket()
    if "closing" not in words:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    if "daemon" in words:
        for _ in range(2):
            if not os.fork():
                break
    while True:
        conn, _ = listener.accept()
        if "crash" in words and loaded:
            os.kill(os.getpid(), signal.SIGSEGV)
        with conn, conn.makefile("rb") as lines:
            for line in lines:
                if "burn" in words:
                    burn()
                conn.sendall(line)
                if "closing" in words:
                    break
        if "once" in words:
            break


main()
