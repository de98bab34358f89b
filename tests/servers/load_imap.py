"""IMAP clients that append messages, fetch them and compare.

Each client logs in as a user of its own, and in turn appends a message, fetches it whole
and in part, and searches for it; of some it is told by IDLE on a second connection.  At
the end all that it appended is fetched once more on a new connection.
"""
import imaplib
import time

import wire

SIZES = (300, 5000, 60000, 700)
# The server gathers news for half a second.
IDLE_EACH = 20
LOGINS = 5


def message(index, number, size):
    body = wire.pattern(f"{index} {number}", size).decode()
    lines = "\r\n".join(body[at:at + 70] for at in range(0, size, 70))
    return (f"From: a@localhost\r\nSubject: s{index}x{number}\r\n"
            f"Message-Id: <{index}.{number}@localhost>\r\n\r\n{lines}\r\n").encode()


def right(answer, what):
    if answer[0] != "OK":
        raise wire.Mismatch(f"{what}: {answer}")
    return answer[1]


def login(load, index):
    """On a busy machine a reload cuts a login now and then, natively, too: it is tried again."""
    for left in reversed(range(LOGINS)):
        try:
            imap = imaplib.IMAP4("127.0.0.1", load.options.port, timeout=wire.TIMEOUT)
            right(imap.login(f"user{index}", "secret"), "LOGIN")
            break
        except imaplib.IMAP4.error:
            if not left:
                raise
            time.sleep(0.1)
    right(imap.select(), "SELECT")
    return imap


def same(got, wanted, what):
    if got != wanted:
        raise wire.Mismatch(f"{what}: {len(got)} bytes that are not the {len(wanted)}")


def fetch(imap, number, part):
    return right(imap.fetch(str(number), f"({part})"), f"FETCH {part}")[0][1]


def idle_begin(imap):
    imap.send(b"I1 IDLE\r\n")
    line = imap.readline()
    if not line.startswith(b"+"):
        raise wire.Mismatch(f"IDLE: {line!r}")


def idle_end(imap, number):
    """Until it has told of message `number`."""
    while imap.readline().strip() != b"* %d EXISTS" % number:
        pass
    imap.send(b"DONE\r\n")
    while not imap.readline().startswith(b"I1 OK"):
        pass


def one(imap, watcher, index, number, size):
    text = message(index, number, size)
    told = number % IDLE_EACH == 1
    if told:
        idle_begin(watcher)
    right(imap.append("INBOX", "", None, text), "APPEND")
    if told:
        idle_end(watcher, number)
    right(imap.noop(), "NOOP")
    same(fetch(imap, number, "BODY[]"), text, f"message {number}")
    same(fetch(imap, number, "BODY[TEXT]<100.150>"),
         text[text.index(b"\r\n\r\n") + 4:][100:250], f"a part of message {number}")
    found = right(imap.search(None, "SUBJECT", f"s{index}x{number}"), "SEARCH")
    if str(number).encode() not in found[0].split():
        raise wire.Mismatch(f"message {number} is not found")
    load_moved[index] += 2 * len(text)
    return text


load_moved = {}


def client(load, index):
    load_moved[index], kept = 0, []
    imap, watcher = login(load, index), login(load, index)
    while load.more_wanted(len(kept)):
        number = len(kept) + 1
        kept.append(one(imap, watcher, index, number, SIZES[number % len(SIZES)]))
    imap.logout()
    watcher.logout()
    imap = login(load, index)
    answer = right(imap.fetch(f"1:{len(kept)}", "(BODY.PEEK[])"), "FETCH of all")
    texts = [part[1] for part in answer if isinstance(part, tuple)]
    same(b"".join(texts), b"".join(kept), "all messages")
    right(imap.store(f"1:{len(kept)}", "+FLAGS", "\\Deleted"), "STORE")
    right(imap.expunge(), "EXPUNGE")
    imap.logout()
    return len(kept)


def main():
    wire.run(client, wire.options(__doc__).parse_args(),
             lambda: {"moved": sum(load_moved.values())})


main()
