"""MQTT 3.1.1 publishers and subscribers over QoS 0, 1 and 2.

Half of the clients subscribe to everything, half publish numbered messages whose
bytes follow from publisher and number.  Every subscriber must see every message of
every publisher once, whole and in order.  Publishers stay at most WINDOW messages
ahead of the slowest subscriber: a broker may drop QoS 0 messages for slow ones.
"""
import struct
import threading

import wire

WINDOW = 200
CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 0x10, 0x30, 0x82, 0xE0
ACKNOWLEDGEMENTS = {1: (0x40,), 2: (0x50, 0x70)}


class Board:
    """Who published and who saw how much."""

    def __init__(self, publishers, subscribers):
        self.changed = threading.Condition()
        self.ready, self.subscribers = 0, subscribers
        self.published = [0] * publishers
        self.finished = [False] * publishers
        self.seen = [[0] * publishers for _ in range(subscribers)]

    def slowest(self, publisher):
        return min(row[publisher] for row in self.seen)

    def is_due(self, subscriber):
        """A message may also be seen before its publisher has noted it."""
        return any(seen < sent for seen, sent in zip(self.seen[subscriber],
                                                     self.published))

    def all_seen(self, subscriber):
        return all(self.finished) and self.seen[subscriber] == self.published


def packet(kind, body):
    length, size = len(body), b""
    while True:
        length, low = divmod(length, 128)
        size += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


def receive(conn):
    kind, length, shift = conn.read(1)[0], 0, 0
    while True:
        byte = conn.read(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, conn.read(length)


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def login(conn, name):
    conn.send(packet(CONNECT, text("MQTT") + b"\x04\x02\x00\x3c" + text(name)))
    if receive(conn) != (0x20, b"\0\0"):
        raise wire.Mismatch("the broker refuses the connection")


def payload(publisher, number):
    """Mostly 32 bytes, now and then 20,000: both sides of a chunk are met."""
    length = 20000 if number % 50 == 0 else 32
    return struct.pack(">II", publisher, number) + \
        wire.pattern(publisher * 1000003 + number % 500, length - 8)


def publish(conn, board, publisher, number):
    qos = 2 if number % 97 == 0 else 1 if number % 31 == 0 else 0
    mark = struct.pack(">H", number % 65535 + 1) if qos else b""
    conn.send(packet(PUBLISH | qos << 1, text(f"w/{publisher}") + mark +
                     payload(publisher, number)))
    for step in ACKNOWLEDGEMENTS.get(qos, ()):
        if step == 0x70:
            conn.send(packet(0x62, mark))
        if receive(conn) != (step, mark):
            raise wire.Mismatch("not the acknowledgement that was due")
    with board.changed:
        board.published[publisher] = number + 1


def leave(conn):
    conn.send(packet(DISCONNECT, b""))
    conn.finish()


def publisher(load, index):
    board, number = load.board, 0
    conn = load.connect()
    login(conn, f"p{index}")
    with board.changed:
        board.changed.wait_for(lambda: board.ready == board.subscribers, wire.TIMEOUT)
    while load.more_wanted(number * (board.subscribers + 1)):
        publish(conn, board, index, number)
        number += 1
        with board.changed:
            if not board.changed.wait_for(
                    lambda: number - board.slowest(index) < WINDOW or load.problems,
                    wire.TIMEOUT):
                raise wire.Mismatch(f"a subscriber stays behind at "
                                    f"{board.slowest(index)} of {number}")
    with board.changed:
        board.finished[index] = True
        board.changed.notify_all()
    # The subscribers leave on what they have seen, not on a message of ours.
    leave(conn)
    return number


def next_message(conn):
    kind, body = receive(conn)
    if kind & 0xF0 != PUBLISH:
        raise wire.Mismatch(f"packet {kind:#x} instead of a message")
    length = struct.unpack(">H", body[:2])[0]
    return body[2:2 + length], body[2 + length:]


def subscriber(load, index):
    board = load.board
    conn = load.connect()
    login(conn, f"s{index}")
    conn.send(packet(SUBSCRIBE, b"\x00\x01" + text("w/#") + b"\x00"))
    if receive(conn) != (0x90, b"\x00\x01\x00"):
        raise wire.Mismatch("the broker refuses the subscription")
    with board.changed:
        board.ready += 1
        board.changed.notify_all()
    count, expected = 0, board.seen[index]
    while True:
        with board.changed:
            # Only when a message must be under way is a read due: no other may come.
            board.changed.wait_for(lambda: board.is_due(index) or
                                   all(board.finished) or load.problems, 0.05)
            if load.problems or board.all_seen(index):
                break
            if not board.is_due(index):
                continue
        if not conn.buffer and not conn.more():
            raise wire.Mismatch("the broker closed a subscriber's connection")
        while conn.buffer:
            topic, body = next_message(conn)
            source = int(topic[2:])
            if body != payload(source, expected[source]):
                raise wire.Mismatch(f"not message {expected[source]} of {source}")
            count += 1
            with board.changed:
                expected[source] += 1
                board.changed.notify_all()
    leave(conn)
    return count


def client(load, index):
    if index < load.half:
        return publisher(load, index)
    return subscriber(load, index - load.half)


def main():
    parsed = wire.options(__doc__).parse_args()
    half = parsed.clients // 2
    wire.Load.half, wire.Load.board = half, Board(half, parsed.clients - half)
    wire.run(client, parsed)


main()
