"""A load on tune_server.py: tune_load.py PORT [CLIENTS]; it prints a rate that is always the same."""
import socket
import sys

for _ in range(int(sys.argv[2]) if sys.argv[2:] else 1):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as s:
        s.sendall(b"a line\n")
        got = b""
        while not got.endswith(b"\n"):
            more = s.recv(64)
            if not more:
                sys.exit("the server closed the connection")
            got += more
print("progress: 1 request/s\nrate: 1000 requests/s, p99 3 ms")
