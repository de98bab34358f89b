"""Clients that read nothing of a long answer before the end, nor does the server then read
all that they asked (load_lines.py).  Of a killed worker they get what is left.

"whole" of the report: so many of them got it all.
"""
import contextlib
import socket

import wire
from load_lines import answer

LINES = 300000  # more than the buffers of both sides take
MORE = 2000  # requests behind it: more than the server reads ahead
whole = []


def client(load, index):
    conn = load.connect()
    asked = [(index, LINES)] + [(number, 0) for number in range(MORE)]
    wanted = b"".join(answer(*pair) for pair in asked)
    conn.send(b"".join(b"ask %d %d\n" % pair for pair in asked))
    load.stop.wait()
    with contextlib.suppress(OSError):  # not connected any more, or reset
        conn.sock.shutdown(socket.SHUT_WR)
        while conn.more():
            pass
    conn.close()
    if not wanted.startswith(conn.buffer):
        raise wire.Mismatch(f"client {index}: {len(conn.buffer)} other bytes")
    if len(conn.buffer) == len(wanted):
        whole.append(index)
    return len(conn.buffer) > 0


def main():
    wire.run(client, wire.options(__doc__).parse_args(), lambda: {"whole": len(whole)})


main()
