"""LDAP clients: anonymous bind, then searches whose every entry is compared.

The directory below "dc=weir" holds cn=N for each N below --entries, with a
description that follows from N.  Most searches ask for one entry, some for all.
"""
import wire

BASE = "dc=weir"


def description(number):
    return f"{number}:" + "d" * (number % 300) + f":{number * 7919}"


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        size = bytes([len(body)])
    else:
        size = len(body).to_bytes(4, "big")
        size = b"\x84" + size
    return bytes([tag]) + size + body


def number(tag, value):
    return der(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def string(value):
    return der(0x04, value.encode())


def read_der(conn):
    tag, size = conn.read(2)
    if size & 0x80:
        size = int.from_bytes(conn.read(size & 0x7F), "big")
    return tag, conn.read(size)


def parts(body):
    """The elements of a constructed value, as (tag, body) pairs."""
    found, at = [], 0
    while at < len(body):
        tag, size = body[at], body[at + 1]
        at += 2
        if size & 0x80:
            length = size & 0x7F
            size, at = int.from_bytes(body[at:at + length], "big"), at + length
        found.append((tag, body[at:at + size]))
        at += size
    return found


def receive(conn, ident):
    tag, body = read_der(conn)
    got, operation = parts(body)[:2]
    if tag != 0x30 or int.from_bytes(got[1], "big") != ident:
        raise wire.Mismatch("an answer to another request")
    return operation


def bind(conn):
    conn.send(der(0x30, number(0x02, 1),
                  der(0x60, number(0x02, 3), string(""), der(0x80))))
    tag, body = receive(conn, 1)
    if tag != 0x61 or parts(body)[0][1] != b"\0":
        raise wire.Mismatch("the bind is refused")


def search(ident, base, scope):
    return der(0x30, number(0x02, ident), der(
        0x63, string(base), number(0x0A, scope), number(0x0A, 0), number(0x02, 0),
        number(0x02, 0), der(0x01, b"\0"), der(0x87, b"cn"),
        der(0x30, string("description"))))


def entry(body):
    """(the N of cn=N, description)"""
    (_, name), (_, attributes) = parts(body)
    values = {}
    for _, attribute in parts(attributes):
        (_, key), (_, members) = parts(attribute)
        values[key] = parts(members)[0][1]
    return int(name.split(b",")[0][3:]), values[b"description"].decode()


def results(conn, ident):
    found = []
    while True:
        tag, body = receive(conn, ident)
        if tag == 0x65:
            if parts(body)[0][1] != b"\0":
                raise wire.Mismatch(f"the search failed: {parts(body)!r}")
            return found
        found.append(entry(body))


def client(load, index):
    conn, done, ident, total = load.connect(), 0, 1, load.options.entries
    bind(conn)
    while load.more_wanted(done):
        ident += 1
        one = (index * 37 + ident) % total
        everything = ident % 200 == 0
        if everything:
            conn.send(search(ident, BASE, 1))
            wanted = list(range(total))
        else:
            conn.send(search(ident, f"cn={one},{BASE}", 0))
            wanted = [one]
        if sorted(results(conn, ident)) != [(n, description(n)) for n in wanted]:
            raise wire.Mismatch("not the entries that were asked for")
        done += len(wanted)
    conn.send(der(0x30, number(0x02, ident + 1), b"\x42\x00"))
    conn.finish()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--entries", type=int, required=True)
    parser.add_argument("--ldif", help="write the directory here and end")
    parsed = parser.parse_args()
    if parsed.ldif:
        with open(parsed.ldif, "w", encoding="ascii") as ldif:
            ldif.write(f"dn: {BASE}\nobjectClass: domain\ndc: weir\n\n")
            for one in range(parsed.entries):
                ldif.write(f"dn: cn={one},{BASE}\nobjectClass: device\ncn: {one}\n"
                           f"description: {description(one)}\n\n")
        return
    wire.run(client, parsed)


main()
