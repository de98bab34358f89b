"""weir top, on a terminal of its own (pty and an emulator) and without one."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import lib

try:
    import pyte
except ImportError:
    pyte = None


class Terminal:
    """weir top on a screen that is looked at as text."""

    def __init__(self, *args, columns=80, rows=24, **variables):
        if pyte is None:
            raise lib.Skip("python3-pyte is not installed")
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        env = lib.clean_environment(**{"TERM": "linux", **variables})
        env.pop("LINES", None)
        env.pop("COLUMNS", None)
        ready, go = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.read(ready, 1)  # until the screen has its size
            os.execve(lib.WEIR, [lib.WEIR, "top", *map(str, args)], env)
        self.status = None
        self.size(columns, rows)
        os.write(go, b"x")
        os.close(go)
        os.close(ready)

    def size(self, columns, rows):
        """The kernel tells the program by SIGWINCH."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def read(self, seconds):
        """What comes in that time; False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.raw += got
        self.stream.feed(got)
        return bool(got)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def until(self, what):
        """Lines of the screen of which what(lines) is true."""
        end = time.monotonic() + lib.LIMIT
        while not what(self.lines()):
            alive = self.read(0.1)
            assert alive and time.monotonic() < end, "\n".join(["never:", *self.lines()])
        return self.lines()

    def shows(self, *words):
        """Lines of the screen on which all of them are: a screen comes in pieces."""
        return self.until(lambda lines: all(any(word in line for line in lines)
                                            for word in words))

    def press(self, keys):
        os.write(self.fd, keys)

    def hang_up(self):
        os.close(self.fd)
        self.fd = os.open("/dev/null", os.O_RDONLY)

    def end(self):
        """Its exit status, once it has ended."""
        end = time.monotonic() + lib.LIMIT
        while self.read(0.1):
            assert time.monotonic() < end, "it does not end"
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


DOWN, ENTER, ESCAPE = b"\033[B", b"\r", b"\033"


class Family:
    """A server with a stream that works and one whose client does not read."""

    def __init__(self, tmp, **how):
        self.path = f"{tmp}/fixed"
        self.server = lib.Server(STREAM_METRICS_SOCKET=self.path, **how)
        self.pid = self.server.pid
        self.busy, self.stuck = self.server.client(), self.server.client()
        self.server.turns(self.busy, 100)
        self.server.say(self.stuck, "big", 8000000)
        lib.within(lambda: lib.weir("stat", self.path)[1].split()[-13:][:1] == ["1"])

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.server.__exit__(*how)


def peer(client):
    return f"127.0.0.1:{client.getsockname()[1]}"


def one_frame_without_a_terminal(tmp):
    with Family(tmp) as family:
        status, out, err = lib.weir("top", family.path)
        assert status == 0 and not err and "\033" not in out, (status, err)
        lines = out.splitlines()
        assert max(map(len, lines)) <= 80, out
        assert lines[0] == "weir top: 1 family, 2 streams, 1 blocked now; rates since the start"
        heads = [i for i, line in enumerate(lines) if line.split()[:1] == ["PID"]]
        row = dict(zip(lines[heads[0]].split(), lines[heads[0] + 1].split()))
        assert row["PID"] == str(family.pid) and row["PROGRAM"] == "python3", row
        assert row["STRM"] == "2" and row["BLK"] == "1" and float(row["RATIO"]) > 1, row
        assert row["HOLD"][-2:] in ("us", "ms") and row["POOL"][-1] in "0123456789K", row
        streams = [dict(zip(lines[heads[1]].split(), line.split()))
                   for line in lines[heads[1] + 1:]]
        assert [s["PEER"] for s in streams] == [peer(family.stuck), peer(family.busy)], out
        assert streams[0]["BLOCKED"] != "-" and streams[1]["BLOCKED"] == "-"
        doc = lib.weir_json("top", "-j", family.path)
        assert doc["families"][0]["pid"] == family.pid
        assert doc["families"][0]["blocked"] == 1 and len(doc["streams"]) == 2
    assert lib.weir("top", family.path)[0] == 3
    assert lib.weir("top", "a", "b")[0] == 2


def a_screen_of_80_columns(tmp):
    with Family(tmp) as family, Terminal(family.path) as top:
        top.shows("rates of the last interval", "PID PROGRAM", "APP/s", "POOL",
                  str(family.pid), peer(family.stuck), "sort: backpressure")
        # It is live: what the server does now is seen.
        def works(lines):
            family.server.turns(family.busy, 20)
            return any(line.startswith("calls") and not line.startswith("calls   0/s")
                       for line in lines)
        top.until(works)
        top.press(b"q")
        assert top.end() == 0
        # The screen is given back.
        assert b"\033[?25h" in top.raw or b"\033[?12l" in top.raw, top.raw[-100:]


def into_a_family_and_a_stream(tmp):
    with Family(tmp) as family, Terminal(family.path) as top:
        top.shows(peer(family.busy))
        top.press(ENTER)
        top.shows(family.path, "request  ", "pool  ", " x 4.0K")
        top.press(DOWN + ENTER)
        top.shows("descriptor", peer(family.busy), "turn ")
        top.press(ESCAPE)
        top.until(lambda lines: not any("descriptor" in line for line in lines))
        top.press(ENTER)
        top.shows("blocked  for", peer(family.stuck))
        # A stream that is closed leads back to its family.
        family.stuck.close()
        top.until(lambda lines: not any("descriptor" in line for line in lines))
        top.press(ESCAPE)
        top.shows("PROGRAM")
        top.press(b"q")
        assert top.end() == 0


def keys_sort(tmp):
    with Family(tmp) as family, Terminal(family.path) as top:
        def stuck_first(lines):
            at = {p: [i for i, line in enumerate(lines) if p in line]
                  for p in (peer(family.busy), peer(family.stuck))}
            return at[peer(family.stuck)] < at[peer(family.busy)]
        top.shows("sort: backpressure")
        top.until(stuck_first)
        for key, name in ((b"s", "bytes"), (b"s", "blocked"), (b"s", "age"),
                          (b"s", "backpressure"), (b"a", "age"), (b"n", "blocked")):
            top.press(key)
            top.until(lambda lines, name=name: any(f"sort: {name}" in line for line in lines) and
                      (name == "bytes" or stuck_first(lines) == (name != "age")))
        top.press(b"h")
        top.shows("next sort key")
        top.press(b"x")
        top.shows("PROGRAM")
        top.press(b" ")
        top.shows("space go on")
        top.press(b"q")
        assert top.end() == 0


def the_screen_changes_its_size(tmp):
    with Family(tmp) as family, Terminal(family.path) as top:
        top.shows(peer(family.busy))
        for columns, rows in ((132, 40), (40, 8), (200, 60), (10, 3), (1, 1), (80, 24)):
            top.size(columns, rows)
            # On a small one the selected row is what stays in sight.
            word = "weir top: 1 family, 2 streams" if rows > 20 else str(family.pid)
            top.until(lambda lines, word=word, rows=rows, columns=columns:
                      len(lines) == rows < 2 or
                      any(word in line for line in lines) and
                      lines[-1].startswith("q quit"[:columns - 1]))
        top.until(lambda lines: any(peer(family.busy) in line for line in lines) and
                  lines[-1].startswith("q quit"))
        top.press(b"q")
        assert top.end() == 0


def servers_come_and_go(tmp):
    with Family(tmp) as family, Terminal(family.path) as top:
        top.shows(str(family.pid))
        top.press(ENTER)
        top.shows("bypassed")
        family.__exit__()
        top.shows("nobody listens there")
        with Family(tmp) as again:
            top.shows(f" {again.pid} python3"[1:])
            top.press(b"q")
            assert top.end() == 0


def names_do_nothing_to_the_terminal(tmp):
    evil = os.path.join(tmp, "x\033]0;owned\007\033[2Jy")
    os.symlink(lib.PYTHON, evil)
    with Family(tmp, python=evil) as family, Terminal(family.path, columns=132) as top:
        top.shows("x\\x1b]0;owned\\x07\\x1b[2Jy")
        top.press(ENTER)
        top.shows(family.path)
        assert b"\033]0;owned" not in top.raw and top.screen.title == ""
        top.press(b"q")
        assert top.end() == 0


def colours(tmp):
    red = b"31m"
    with Family(tmp) as family:
        with Terminal(family.path) as top:
            top.shows(peer(family.stuck))
            top.press(b"q")
            assert top.end() == 0 and red in top.raw
        with Terminal(family.path, NO_COLOR="1") as top:
            top.shows(peer(family.stuck))
            top.press(b"q")
            assert top.end() == 0 and red not in top.raw


def a_terminal_that_hangs_up(tmp):
    """Where SIGHUP, which would end it, is ignored, no key will ever come."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Family(tmp) as family, Terminal(family.path) as top:
        signal.signal(signal.SIGHUP, before)
        top.shows(str(family.pid))
        top.hang_up()
        lib.within(lambda: os.waitid(os.P_PID, top.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))


def a_terminal_nobody_knows(tmp):
    with Family(tmp) as family, Terminal(family.path, TERM="no-such-terminal") as top:
        top.shows("this is one frame")
        top.shows(peer(family.busy))
        assert top.end() == 0
    with Terminal(f"{tmp}/nothing") as top:
        assert top.end() == 3


if __name__ == "__main__":
    lib.run([one_frame_without_a_terminal, a_screen_of_80_columns, into_a_family_and_a_stream,
             keys_sort, the_screen_changes_its_size, servers_come_and_go,
             names_do_nothing_to_the_terminal, colours, a_terminal_that_hangs_up,
             a_terminal_nobody_knows])
