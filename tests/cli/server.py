"""A server that does what its clients tell it; run under the library by the tests.

It prints its port. Each connection has a thread and sends lines:
    pieces N       the reply is N writes of 10 bytes and a newline
    big N          N bytes, which block where the client does not read
    dup N          its descriptor is duplicated, N times
    ring N         N io_urings are set up
    load PATH      a library is loaded with RTLD_DEEPBIND and its function f called
All but big end their reply with a newline.
"""
import contextlib
import ctypes
import os
import socket
import sys
import threading


def serve(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    # A client that goes while it is being served is no news.
    with contextlib.suppress(ConnectionError), conn, conn.makefile("rb") as lines:
        for line in lines:
            word, what = line.split()
            DO[word.decode()](conn, what.decode())
            if word != b"big":
                conn.send(b"\n")


def pieces(conn, number):
    for _ in range(int(number)):
        conn.send(b"0123456789")


def big(conn, number):
    conn.sendall(bytes(int(number)))


def dup(conn, number):
    for _ in range(int(number)):
        os.dup(conn.fileno())


def ring(conn, number):
    parameters = ctypes.create_string_buffer(120)
    for _ in range(int(number)):
        if ctypes.CDLL(None, use_errno=True).syscall(425, 1, parameters) < 0:
            conn.send(f"errno {ctypes.get_errno()}".encode())


def load(_, path):
    ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_DEEPBIND).f()


DO = {"pieces": pieces, "big": big, "dup": dup, "ring": ring, "load": load}


def main():
    family = socket.AF_UNIX if sys.argv[1:] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(sys.argv[1] if sys.argv[1:] else ("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1] if family == socket.AF_INET else "up", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


main()
