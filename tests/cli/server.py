"""A server that does what its clients tell it; run under the library by the tests.

It prints its port. Each connection has a thread and sends lines:
    pieces N       the reply is N writes of 10 bytes and a newline
    big N          N bytes, which block where the client does not read
"""
import socket
import sys
import threading


def serve(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    with conn, conn.makefile("rb") as lines:
        for line in lines:
            word, number = line.split()
            if word == b"pieces":
                for _ in range(int(number)):
                    conn.send(b"0123456789")
                conn.send(b"\n")
            else:
                conn.sendall(bytes(int(number)))


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
