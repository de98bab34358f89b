"""weir stat and weir streams: the figures are those of the sockets."""
import http.client
import json
import os
import socket

import lib


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=lib.LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def asked(path, target):
    conn = Unix(path)
    conn.request("GET", target)
    doc = json.load(conn.getresponse())
    conn.close()
    return doc


def serve(tmp):
    server = lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/%e.%p")
    return server, f"{tmp}/python3.{server.pid}"


def begin(server, path, client, nr=20):
    """Where two are connected, the other one's thread may be about the socket yet."""
    server.turns(client, nr)
    lib.within(lambda: os.path.exists(path))


def streams(*args):
    return lib.weir_json("streams", "-j", *args)["streams"]


def stat(*args):
    status, out, err = lib.weir("stat", "-j", *args)
    assert status == 0, (status, err)
    return [json.loads(line) for line in out.splitlines()]


def after(path, turns):
    """The line that has all of so many turns, each a request and a reply of 81 bytes in nine writes; the last of
    them may not be counted yet when its reader has it. The first line is an average since the start."""
    def whole(line):
        calls = line["request"]["appCalls"] + line["response"]["appCalls"]
        return round(calls * line["seconds"]) >= 10 * turns and \
            round(line["response"]["bytes"] * line["seconds"]) >= 81 * turns
    return lib.within(lambda: [line for line in stat(path) if whole(line)])[0]


def stat_is_the_socket_s(tmp):
    server, path = serve(tmp)
    with server:
        server.turns(server.client(), 100)
        line = after(path, 100)
        family = asked(path, "/metrics.json")
        for way in ("request", "response"):
            theirs = family["totals"][way]
            assert round(line[way]["appCalls"] * line["seconds"]) == theirs["appCalls"]
            assert round(line[way]["kernelCalls"] * line["seconds"]) == theirs["kernelCalls"]
            assert round(line[way]["bytes"] * line["seconds"]) == theirs["totalBytes"]
        assert line["families"] == 1 and line["streams"] == 1 and line["blocked"] == 0
        assert line["poolBytes"] == family["pool"]["totalBytes"]
        assert 0 < line["holdP99"] < 20, line
        status, out, _ = lib.weir("stat", path)
        head, figures = out.splitlines()
        assert status == 0 and len(head) <= 80 and len(figures) <= 80
        assert head.split()[:5] == ["STRM", "BLK", "APP/s", "KRN/s", "RATIO"]
        assert figures.split()[:2] == ["1", "0"]
        assert len(figures.split()) == len(head.split())


def stat_s_further_lines_are_their_intervals(tmp):
    server, path = serve(tmp)
    with server:
        client = server.client()
        server.turns(client, 300)
        after(path, 300)
        # What answers late may have the next look find the same snapshot, which is no interval.
        lines = lib.within(lambda: [found for found in [stat(path, 1, 3)]
                                    if len({line["timestamp"] for line in found}) == 3])[0]
        assert len(lines) == 3
        for before, line in zip(lines, lines[1:]):
            took = line["timestamp"] - before["timestamp"]
            assert took > 0 and abs(line["seconds"] * 1e3 - took) <= 1, (before, line)
            assert line["request"]["appCalls"] == 0 and line["response"]["bytes"] == 0, line
            assert line["holdP99"] is None
        # Two intervals of a second; on a busy machine the first snapshot comes late.
        assert lines[2]["timestamp"] - lines[0]["timestamp"] > 1000, lines
        status, out, _ = lib.weir("stat", path, 1, 2)
        assert status == 0 and len(out.splitlines()) == 3


def worst_stream_first(tmp):
    server, path = serve(tmp)
    with server:
        busy, stuck = server.client(), server.client()
        begin(server, path, busy, 100)
        server.say(stuck, "big", 8000000)  # nobody reads it
        port = stuck.getsockname()[1]

        def blocked():
            # The library looks at causes when one of the server's threads goes to sleep.
            server.turns(busy, 1)
            found = streams(path)
            blocked = found[0]["response"]["blocked"]
            return found if blocked and blocked["cause"] == "peer" and \
                found[0]["response"]["causes"]["peer"] > 200 else None
        found = lib.within(blocked)
        assert len(found) == 2
        assert found[0]["peer"] == f"127.0.0.1:{port}", found[0]
        assert found[0]["program"] == "python3" and found[0]["socket"] == path
        assert found[0]["familyPid"] == server.pid and found[0]["family"] == "inet"

        def shown():
            status, out, _ = lib.weir("streams", path)
            rows = [line.split() for line in out.splitlines()]
            assert status == 0 and len(rows) == 3, out
            return rows if rows[1][-1] == "peer" else None
        head, first, second = lib.within(shown)
        assert head[-3:] == ["HELDUP", "CAUSE", "BLOCKED"]
        assert first[6] == f"127.0.0.1:{port}" and first[-3] == "peer", first
        # Where the server came late to read, the other one has been held up too.
        [other] = [s for s in streams(path) if s["peer"] != found[0]["peer"]]
        held_up = any(other[way]["backpressureTime"] for way in ("request", "response"))
        assert second[-1] == "-" and (held_up or second[-3:] == ["0", "-", "-"]), (first, second)
        [line] = stat(path)
        assert line["blocked"] == 1 and line["response"]["causes"]["peer"] > 0, line
        assert streams("--sort", "bytes", "--limit", "1", path)[0]["response"]["totalBytes"] \
            == max(s["response"]["totalBytes"] for s in found)
        assert [s["peer"] for s in streams("--sort=age", path)] == [
            f"127.0.0.1:{c.getsockname()[1]}" for c in (busy, stuck)]


def who_is_blocked_is_in_the_first_few(tmp):
    """Also before any time was counted: nobody looked until now."""
    server, path = serve(tmp)
    with server:
        first, stuck = server.client(), server.client()
        begin(server, path, first)
        server.say(stuck, "big", 8000000)
        found = lib.within(lambda: [s for s in streams("--limit", "1", path)
                                    if s["response"]["blocked"]])
        assert found[0]["peer"] == f"127.0.0.1:{stuck.getsockname()[1]}"


def closed_streams(tmp):
    server, path = serve(tmp)
    with server:
        first, second = server.client(), server.client()
        begin(server, path, first)
        server.turns(second)
        first.close()
        lib.within(lambda: len(streams("--state", "closed", path)) == 1)
        assert [s["state"] for s in streams(path)] == ["open"]
        assert sorted(s["state"] for s in streams("--state=all", path)) == ["closed", "open"]


def targets(tmp):
    """A pid, a program's name, a socket's path; several families are one list."""
    server, path = serve(tmp)
    other, other_path = serve(tmp)
    with server, other:
        for one in (server, other):
            one.turns(one.client())
        lib.within(lambda: {path, other_path} <= {s["socket"] for s in streams()})
        assert {s["socket"] for s in streams(server.pid)} == {path}
        assert {s["socket"] for s in streams(other_path)} == {other_path}
        assert {path, other_path} <= {s["socket"] for s in streams("python3")}
        assert stat(server.pid)[0]["families"] == 1
        assert stat("python3")[0]["families"] >= 2
    for none in ("no-such-program", f"{tmp}/nothing", "4194303", path):
        for verb in ("stat", "streams"):
            status, out, err = lib.weir(verb, none)
            assert status == 3 and not out and err.startswith("weir: "), (none, err)
    assert lib.weir("streams", lib.WEIR)[0] == 3  # no socket


def wrong_usage(_):
    for bad in (("streams", "a", "b"), ("streams", "--sort", "x"), ("streams", "--limit", "0"),
                ("streams", "--state=x"), ("streams", "--limit"), ("stat", "a", "b", "c", "d"),
                ("stat", "python3", "0"), ("stat", "python3", "1", "0"), ("stat", "-x")):
        status, out, err = lib.weir(*bad)
        assert status == 2 and not out and err, (bad, status)


if __name__ == "__main__":
    lib.run([stat_is_the_socket_s, stat_s_further_lines_are_their_intervals,
             worst_stream_first,
             who_is_blocked_is_in_the_first_few, closed_streams, targets, wrong_usage])
