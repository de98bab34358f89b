"""Clients of redis and memcached that write values, read them back and compare.

Each client has keys of its own.  Requests go out --pipeline at a time; values have
from 8 bytes to 256 KiB, so answers lie on both sides of every buffer.
"""
import os

import wire

SIZES = (8, 64, 100, 700, 4096, 9000, 20000, 33000, 120000, 262144)


class Redis:
    @staticmethod
    def write(key, value):
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(key), key, len(value), value)

    @staticmethod
    def read(key):
        return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)

    @staticmethod
    def written():
        return b"+OK\r\n"

    @staticmethod
    def found(_key, value):
        return b"$%d\r\n%b\r\n" % (len(value), value)


class Memcached:
    @staticmethod
    def write(key, value):
        return b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value)

    @staticmethod
    def read(key):
        return b"get %b\r\n" % key

    @staticmethod
    def written():
        return b"STORED\r\n"

    @staticmethod
    def found(key, value):
        return b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)


def one_round(load, conn, index, turn):
    """One batch; small values in most, so that messages are many."""
    speak, depth = load.speak, load.options.pipeline
    size = SIZES[turn // 4 % len(SIZES)] if turn % 4 == 0 else SIZES[turn % 4]
    depth = min(depth, max(1, 1 << 20 // size)) if size > 4096 else depth
    pairs = []
    for slot in range(depth):
        key = b"%d.%d.%d.%d" % (os.getpid(), index, size, slot)
        pairs.append((key, wire.pattern(f"{index} {turn} {slot}", size)))
    conn.send(b"".join(speak.write(key, value) for key, value in pairs))
    for _ in pairs:
        conn.expect(speak.written(), "answer to a write")
    conn.send(b"".join(speak.read(key) for key, _ in pairs))
    for key, value in pairs:
        conn.expect(speak.found(key, value), f"value of {key.decode()}")
    return 2 * len(pairs)


def client(load, index):
    conn, done, turn = load.connect(), 0, 0
    while load.more_wanted(done):
        done += one_round(load, conn, index, turn)
        turn += 1
    conn.finish()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--speak", choices=("redis", "memcached"), required=True)
    parsed = parser.parse_args()
    wire.Load.speak = Redis if parsed.speak == "redis" else Memcached
    wire.run(client, parsed)


main()
