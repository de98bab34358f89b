"""FTP clients that compare every file they sent and fetched by hash.

Each client logs in, and in turn stores a file, asks for its size, fetches it whole and
from an offset, appends to it, lists the directory and deletes it; every other round in
active mode, where the server connects to the client.  A few commands are sent in one
segment, as a peer may.
"""
import ftplib
import hashlib
import io

import wire

SIZES = (0, 1, 700, 30000, 300000)


def check(got, wanted, what):
    if got != wanted:
        raise wire.Mismatch(f"{what}: {len(got)} bytes that are not the {len(wanted)}: "
                            f"{hashlib.sha256(got).hexdigest()}")


def fetched(ftp, name, rest=None):
    body = bytearray()
    ftp.retrbinary(f"RETR {name}", body.extend, rest=rest)
    return bytes(body)


def pipelined(ftp):
    """Commands that arrive together are answered each, in order."""
    ftp.sock.sendall(b"NOOP\r\nPWD\r\nTYPE I\r\nNOOP\r\n")
    got = [ftp.getresp()[:3] for _ in range(4)]
    if got != ["200", "257", "200", "200"]:
        raise wire.Mismatch(f"four commands in one segment: {got}")


def one_round(ftp, name, body):
    ftp.storbinary(f"STOR {name}", io.BytesIO(body))
    ftp.voidcmd("TYPE I")
    if ftp.size(name) != len(body):
        raise wire.Mismatch(f"{name} has {ftp.size(name)} bytes, not {len(body)}")
    check(fetched(ftp, name), body, f"{name} fetched")
    half = len(body) // 2
    if half:
        check(fetched(ftp, name, half), body[half:], f"{name} from {half}")
    ftp.storbinary(f"APPE {name}", io.BytesIO(body[::-1]))
    check(fetched(ftp, name), body + body[::-1], f"{name} appended to")
    if name not in ftp.nlst():
        raise wire.Mismatch(f"{name} is not listed")
    pipelined(ftp)
    ftp.delete(name)
    return 4 * len(body) + len(body) - half


def client(load, index):
    done = 0
    while load.more_wanted(done):
        ftp = ftplib.FTP(timeout=wire.TIMEOUT)
        ftp.connect("127.0.0.1", load.options.port)
        ftp.login()
        if load.options.cwd:
            ftp.cwd(load.options.cwd)
        for size in SIZES:
            ftp.set_pasv((done + index) % 2 == 0)
            body = wire.pattern(f"{index} {done}", size)
            load.moved[index] += one_round(ftp, f"f{index}.{done}", body)
            done += 1
        ftp.quit()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--cwd")
    parsed = parser.parse_args()
    wire.Load.moved = [0] * parsed.clients
    wire.run(client, parsed, lambda: {"moved": sum(wire.Load.moved)})


main()
