"""A TLS server of one connection at a time, by Python's ssl.

The first record of a connection says what follows: "sink RECORDS SIZE" to read that
many records, "echo RECORDS SIZE" to also answer each. "ready" is answered, and at the
end {"seconds", "user", "system"}: from the first record read to the last, by the whole
process. TLS itself notices a byte that is lost, doubled or out of place.

Usage: tls_reader.py CERTIFICATE (prints its address)
"""

import json
import resource
import socket
import ssl
import sys
import time


def read_all(conn, size, records):
    left = size * records
    while left:
        block = conn.recv(size)
        if not block:
            raise EOFError
        left -= len(block)


def echo_all(conn, size, records):
    for _ in range(records):
        conn.sendall(conn.recv(size))


def serve(conn):
    how, records, size = conn.recv(100).split()
    records, size = int(records), int(size)
    conn.sendall(b"ready")
    work = echo_all if how == b"echo" else read_all
    work(conn, size, 1)
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    work(conn, size, records - 1)
    end, after = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    conn.sendall(json.dumps({
        "seconds": end - begin,
        "user": after.ru_utime - before.ru_utime,
        "system": after.ru_stime - before.ru_stime,
    }).encode())


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with context.wrap_socket(plain, server_side=True) as secure:
                serve(secure)
        except (OSError, EOFError, ValueError):  # whoever only looks whether it is up
            plain.close()
