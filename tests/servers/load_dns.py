"""DNS over TCP: --pipeline queries at a time on a kept connection.

The zone "weir.test" answers TXT queries for tN with a text that follows from N.
bind9 may answer pipelined queries in any order; the answers are told by their ids.
"""
import struct

import wire

TXT, IN = 16, 1


def text_of(number):
    """A case writes the zone with the same formula."""
    return f"{number}:" + "x" * (number % 200) + f":{number * 7919}"


def name_of(number):
    label = f"t{number}".encode()
    return bytes([len(label)]) + label + b"\x04weir\x04test\x00"


def query(ident, number):
    body = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + name_of(number) + \
        struct.pack(">2H", TXT, IN)
    return struct.pack(">H", len(body)) + body


def check(message, number):
    question = name_of(number) + struct.pack(">2H", TXT, IN)
    flags, questions, answers = struct.unpack(">3H", message[2:8])
    if flags & 0x820F != 0x8000 or (questions, answers) != (1, 1):
        raise wire.Mismatch(f"t{number}: flags {flags:#x}, {answers} answers")
    if not message[12:].startswith(question):
        raise wire.Mismatch(f"t{number}: another question is answered")
    record = message[12 + len(question):]
    text = text_of(number).encode()
    wanted = struct.pack(">3HIHB", 0xC00C, TXT, IN, 60, len(text) + 1, len(text)) + text
    if record != wanted:
        raise wire.Mismatch(f"t{number}: {record[:40]!r} instead of {wanted[:40]!r}")


def client(load, index):
    conn, done, names = load.connect(), 0, load.options.names
    while load.more_wanted(done):
        open_queries = {}
        for slot in range(load.options.pipeline):
            ident = (done + slot) % 65536
            open_queries[ident] = (index * 31 + done + slot) % names
        conn.send(b"".join(query(*pair) for pair in open_queries.items()))
        done += len(open_queries)
        while open_queries:
            message = conn.read(struct.unpack(">H", conn.read(2))[0])
            number = open_queries.pop(struct.unpack(">H", message[:2])[0], None)
            if number is None:
                raise wire.Mismatch("an answer to a query that was not sent")
            check(message, number)
    conn.finish()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--pipeline", type=int, default=8)
    parser.add_argument("--names", type=int, required=True)
    parser.add_argument("--zone", help="write the zone's records here and end")
    parsed = parser.parse_args()
    if parsed.zone:
        with open(parsed.zone, "w", encoding="ascii") as zone:
            zone.write("$TTL 60\n@ IN SOA ns hostmaster 1 60 60 60 60\n@ IN NS ns\n"
                       "ns IN A 127.0.0.1\n")
            for number in range(parsed.names):
                zone.write(f't{number} IN TXT "{text_of(number)}"\n')
        return
    wire.run(client, parsed)


main()
