"""HTTP/1.1 keep-alive clients that compare every body with the file it should be.

Each client asks for the files below --root in turn: small ones --pipeline at a time,
a large one (64 KiB and more) alone.  With --post, every large file is also sent to
/hash, which answers with its SHA-256.  With --reconnect a connection that the server
closes between two answers is opened again, as clients do when a server reloads;
with --patient also where for a moment nobody listens, or a gateway has no server (502).
"""
import hashlib
import os
import time

import wire

LARGE = 65536


def read_body(conn, head):
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding", b"").strip() == b"chunked":
        body = bytearray()
        while (length := int(conn.until(), 16)) > 0:
            body += conn.read(length)
            conn.expect(b"\r\n", "end of a chunk")
        conn.expect(b"\r\n", "end of the chunks")
    else:
        body = conn.read(int(fields[b"content-length"]))
    return body, fields.get(b"connection", b"").strip() == b"close"


def answer(conn, wanted, what, patient):
    """One answer; true where the server says it is the connection's last."""
    head = conn.until(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if status == b"502" and patient:
        conn.buffer.clear()
        raise wire.Closed(f"{what}: {status.decode()}")
    if status != b"200":
        raise wire.Mismatch(f"{what}: {head.split(bytes([13]))[0]!r}")
    body, last = read_body(conn, head)
    if body != wanted:
        raise wire.Mismatch(f"{what}: a body of {len(body)} bytes that is not the "
                            f"file of {len(wanted)}")
    return last


def ask(conn, method, name, body=b""):
    head = f"{method} /{name} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    conn.send(head.encode() + b"\r\n" + body)


def batches(files, load):
    """What one client asks for, for ever: lists of (method, name, body, answer)."""
    small = [name for name in files if len(files[name]) < LARGE]
    large = [name for name in files if len(files[name]) >= LARGE]
    turn = 0
    while True:
        if large and turn % 8 == 0:
            name = large[turn // 8 % len(large)]
            yield [("GET", name, b"", files[name])]
            if load.options.post:
                digest = hashlib.sha256(files[name]).hexdigest().encode()
                yield [("POST", "hash", files[name], digest)]
        if small:
            yield [("GET", small[(turn + i) % len(small)], b"",
                    files[small[(turn + i) % len(small)]])
                   for i in range(load.options.pipeline)]
        turn += 1


def connect(load):
    end = time.monotonic() + wire.TIMEOUT
    while True:
        try:
            return load.connect()
        except ConnectionRefusedError:
            if not load.options.patient or time.monotonic() > end:
                raise
        time.sleep(0.01)


def exchange(load, conn, batch):
    """Returns the connection to go on with and the number of answers."""
    done = 0
    while done < len(batch):
        last = False
        try:
            for method, name, body, _ in batch[done:]:
                ask(conn, method, name, body)
            for method, name, _, wanted in batch[done:]:
                last = answer(conn, wanted, f"{method} /{name}",
                              load.options.patient)
                done += 1
                if last:
                    break
        except (wire.Closed, BrokenPipeError, ConnectionResetError):
            if not load.options.reconnect or conn.buffer:
                raise
            last = True
        if last:
            if not load.options.reconnect:
                raise wire.Mismatch("the server ends a connection that it should keep")
            conn.close()
            conn = connect(load)
            load.reconnects += 1
    return conn


def client(load, _index):
    conn, done = connect(load), 0
    for batch in batches(load.files, load):
        if not load.more_wanted(done):
            break
        conn = exchange(load, conn, batch)
        done += len(batch)
    if load.options.reconnect:
        conn.close()
    else:
        conn.finish()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--post", action="store_true")
    parser.add_argument("--reconnect", action="store_true")
    parser.add_argument("--patient", action="store_true")
    parsed = parser.parse_args()
    files = {}
    for name in sorted(os.listdir(parsed.root)):
        with open(os.path.join(parsed.root, name), "rb") as source:
            files[name] = source.read()
    wire.Load.files, wire.Load.reconnects = files, 0
    wire.run(client, parsed)


main()
