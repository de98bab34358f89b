"""Clients that outlive their workers: load_kill.py's connections may be reset at any time,
and are made anew.  One request at a time, as load_lines.py's.

The report's "received" and "sent" are what surely passed: bytes of whole answers, and
their requests.  "open" is an upper bound of what one connection may have had under way
when it was reset: a request, and an answer.
"""
import contextlib

import wire
from load_lines import answer

LONGEST = len(answer(10 ** 7, 9))
cut = []


def converse(load, conn, index, done):
    """Whole exchanges on one connection until it is reset or none is wanted."""
    count = 0
    with contextlib.suppress(ConnectionError, wire.Closed):
        while load.more_wanted(done + count):
            seed = index * 1000000 + done + count
            wanted = answer(seed, 9)
            asked = b"ask %d 9\n" % seed
            conn.sock.sendall(asked)
            while len(conn.buffer) < len(wanted):
                data = conn.sock.recv(65536)
                if not data:
                    cut.append(index)
                    return count
                conn.buffer += data
            conn.expect(wanted, f"answer {seed}")
            conn.sent += len(asked)
            conn.received += len(wanted)
            count += 1
        conn.finish()
        return count
    cut.append(index)
    return count


def client(load, index):
    done = 0
    while True:
        done += converse(load, load.connect(), index, done)
        if not load.more_wanted(done):
            return done


def main():
    wire.run(client, wire.options(__doc__).parse_args(),
             lambda: {"cut": len(cut), "open": len(cut) * LONGEST})


main()
