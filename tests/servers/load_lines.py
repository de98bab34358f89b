"""Clients of the two line servers, server.tcl and server_lines.py.

A request is "ask SEED LENGTH"; the answer is that line repeated behind "re", then
LENGTH numbered lines, then "end SEED".  Requests go out --pipeline at a time.
"""
import wire


def answer(seed, length):
    lines = [f"re ask {seed} {length}"]
    lines += [f"{number} {seed * 7919 + number * 104729}" for number in range(length)]
    return "".join(line + "\n" for line in lines + [f"end {seed}"]).encode()


def client(load, index):
    conn, done = load.connect(), 0
    while load.more_wanted(done):
        asked = []
        for slot in range(load.options.pipeline):
            seed = index * 1000000 + done + slot
            # Nine lines make a reply of eleven; a long one fills whole chunks.
            asked.append((seed, 4000 if seed % 701 == 0 else 9))
        conn.send(b"".join(b"ask %d %d\n" % pair for pair in asked))
        for seed, length in asked:
            conn.expect(answer(seed, length), f"answer {seed}")
        done += len(asked)
    conn.finish()
    return done


def main():
    parser = wire.options(__doc__)
    parser.add_argument("--pipeline", type=int, default=32)
    wire.run(client, parser.parse_args())


if __name__ == "__main__":
    main()
