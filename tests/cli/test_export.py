"""weir export: one endpoint for all families of the machine, over real sockets.

The machine may have families of others: tests look at a program of a name of their own."""
import contextlib
import decimal
import functools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import lib

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SINGLE = ("weir_build_info", "weir_config_chunk_size_bytes", "weir_config_flush_delay_seconds",
          "weir_pool_enabled", "process_start_time_seconds")


class Exporter:
    """weir export on a port of the kernel's choice; it sees what `env` leads to."""

    def __init__(self, *args, env=None, command=(lib.WEIR,), address="127.0.0.1"):
        self.process = subprocess.Popen(
            [*command, "export", "--listen", f"{address}:0", *args],
            env=env or lib.clean_environment(), stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        said = self.process.stderr.readline()
        if "built without libmicrohttpd" in said:
            self.__exit__()
            raise lib.Skip("needs a weir that was built with libmicrohttpd")
        assert said.startswith(f"weir: serving http://{address}:"), said
        self.place = said.split()[-1].rstrip("/")

    def get(self, path, method="GET", **headers):
        """Status, headers, body."""
        asked = urllib.request.Request(self.place + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=lib.LIMIT) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers, answer.read().decode()

    def json(self, path):
        status, headers, body = self.get(path)
        assert status == 200 and headers["Content-Type"] == "application/json", body
        return json.loads(body)

    def metrics(self):
        status, headers, body = self.get("/metrics")
        assert status == 200 and headers["Content-Type"] == PLAIN
        return body

    def families(self, tmp):
        """Those whose socket is in the directory, by the socket's name."""
        return {os.path.basename(f["socket"]): f for f in self.json("/families")["families"]
                if f["socket"].startswith(tmp)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(lib.LIMIT)
        self.process.stderr.close()


def samples(text):
    """Of a text in either format: {(name, labels): value}, labels a frozenset of a="b"."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, value = line.rsplit(" ", 1)
        name, _, labels = name.rstrip("}").partition("{")
        # None of the tests' own values has a comma.
        key = name, frozenset(labels.split(",")) if labels else frozenset()
        assert key not in found, key
        found[key] = decimal.Decimal(value)
    return found


def of_program(text, program):
    """The samples of a program, without that label."""
    own = f'program="{program}"'
    return {(name, labels - {own}): value
            for (name, labels), value in samples(text).items() if own in labels}


def ask(path, target="/metrics"):
    """What a family's own socket says."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(lib.LIMIT)
        s.connect(path)
        s.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        said = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body.decode()


def sum_of_sockets(paths):
    total = {}
    for path in paths:
        for (name, labels), value in samples(ask(path)).items():
            if name not in SINGLE:
                total[name, labels] = total.get((name, labels), 0) + value
    return total


def await_sum(exporter, program, paths):
    """What was asked of a family within a second before is of another moment."""
    lib.within(lambda: of_program(exporter.metrics(), program) == sum_of_sockets(paths))


def in_two_seconds(exporter, tmp, states):
    """A gathering's text that came in time, with families in these states. Not each one need:
    the machine may have other things to do."""
    seen = set()

    def look():
        began = time.monotonic()
        text = exporter.metrics()
        took = time.monotonic() - began
        # It was asked for now, not the one before that was shared.
        duration = samples(text)["weir_export_scrape_duration_seconds", frozenset()]
        new = duration not in seen
        seen.add(duration)
        found = sorted(f["state"] for f in exporter.families(tmp).values())
        return new and took < 2 and found == sorted(states) and text
    return lib.within(look)


def promtool(text):
    if not shutil.which("promtool"):
        raise lib.Skip("needs promtool, of Debian's package prometheus")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=lib.LIMIT, check=False)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done


def openmetrics(text):
    """Read by the reference library's parser."""
    try:
        from prometheus_client.openmetrics import parser
    except ImportError as no:
        raise lib.Skip("needs python3-prometheus-client") from no
    return list(parser.text_string_to_metric_families(text))


def named(tmp, name):
    """A python3 that is called so."""
    path = os.path.join(tmp, name)
    if not os.path.lexists(path):
        os.symlink(lib.PYTHON, path)
    return path


def server(tmp, name, place="%e.%p.sock", **how):
    """In tmp/weir, where an exporter with that XDG_RUNTIME_DIR looks."""
    os.makedirs(f"{tmp}/weir", exist_ok=True)
    return lib.Server(python=named(tmp, name),
                      STREAM_METRICS_SOCKET=f"{tmp}/weir/{place}", **how)


def environment(tmp):
    return lib.clean_environment(XDG_RUNTIME_DIR=tmp)


class Fake:
    """A socket in tmp/weir that says what it likes: bytes, or a function of the connection."""

    def __init__(self, tmp, name, answers):
        os.makedirs(f"{tmp}/weir", exist_ok=True)
        self.path = f"{tmp}/weir/{name}.1.sock"
        self.answers = answers  # by target, or for all
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(conn,), daemon=True).start()

    def answer(self, conn):
        with contextlib.suppress(OSError), conn:
            target = conn.recv(4096).split()[1].decode()
            answer = self.answers[target] if isinstance(self.answers, dict) else self.answers
            if callable(answer):
                answer(conn)
            else:
                conn.sendall(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A close alone leaves the accept where it is.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def ok(body):
    if isinstance(body, str):
        body = body.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def family(text, program="fake", start=1000, **more):
    """Answers of a family that says so."""
    text += ("# TYPE process_start_time_seconds gauge\n"
             f"process_start_time_seconds {start / 1000}\n")
    doc = {"schema": "weir.metrics/1", "program": program, "pid": 1, "startTime": start}
    doc.update(more)
    return {"/metrics": ok(text), "/metrics.json": ok(json.dumps(doc))}


def counter(value, name="weir_app_writes_total"):
    return f"# HELP {name} Counted.\n# TYPE {name} counter\n{name} {value}\n"


def streams_of(exporter, tmp, pids):
    """What it says of open streams, if they are of just these."""
    document = exporter.json("/streams?sort=bytes&state=open")
    found = {s["familyPid"] for s in document["streams"] if s["socket"].startswith(tmp)}
    return document if found == pids else None


def families_streams_and_pool(tmp):
    with server(tmp, "wx-a") as one, server(tmp, "wx-a") as two, \
            Exporter(env=environment(tmp)) as exporter:
        for s in (one, two):
            s.turns(s.client())
        found = lib.within(lambda: [f for f in exporter.families(tmp).values()
                                    if f["state"] == "live"][1:] and exporter.families(tmp))
        assert {f["pid"] for f in found.values()} == {one.pid, two.pid}
        assert {f["program"] for f in found.values()} == {"wx-a"}
        for f in found.values():
            assert f["metrics"]["schema"] == "weir.metrics/1"
        # Who does not answer in time, as on a busy machine, is not among them until it does.
        document = lib.within(lambda: streams_of(exporter, tmp, {one.pid, two.pid}))
        assert document["schema"] == "weir.streams/1"
        assert abs(document["timestamp"] / 1000 - time.time()) < lib.LIMIT
        moved = [s["request"]["totalBytes"] + s["response"]["totalBytes"]
                 for s in document["streams"]]
        assert moved == sorted(moved, reverse=True)
        assert len(exporter.json("/streams?sort=age&limit=1")["streams"]) == 1
        pool = exporter.json("/buffer-pool-metrics")
        assert pool["enabled"] and sum(t["bytes"] for t in pool["tiers"]) == pool["totalBytes"]
        assert sum(t["buffers"] for t in pool["tiers"]) == pool["totalBuffers"]
        assert abs(pool["timestamp"] / 1000 - time.time()) < lib.LIMIT


def fifty_families(tmp):
    """Of which two are dead and one hangs: a full answer in two seconds, and the sum is that of
    the sockets."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server(tmp, f"wx-{i % 3}")) for i in range(50)]
        for i, s in enumerate(servers):
            s.turns(s.client(), nr=i % 5 + 1)
        paths = {s: f"{tmp}/weir/wx-{i % 3}.{s.pid}.sock" for i, s in enumerate(servers)}
        lib.within(lambda: all(map(os.path.exists, paths.values())))
        for s in servers[:2]:
            os.killpg(s.pid, signal.SIGKILL)
            s.process.wait(lib.LIMIT)
        os.killpg(servers[2].pid, signal.SIGSTOP)
        exporter = stack.enter_context(Exporter(env=environment(tmp)))
        text = in_two_seconds(exporter, tmp, ["dead"] * 2 + ["live"] * 47 + ["slow"])
        promtool(text)
        found = samples(text)
        for state, least in (("live", 47), ("dead", 2), ("slow", 1)):
            key = "weir_export_families", frozenset([f'state="{state}"'])
            assert found[key] >= least, found[key]
        for nr in range(3):
            live = [paths[s] for i, s in enumerate(servers) if i % 3 == nr and i > 2]
            await_sum(exporter, f"wx-{nr}", live)
        status, headers, text = exporter.get("/metrics", Accept=OPEN)
        assert status == 200 and headers["Content-Type"] == OPEN
        assert len(openmetrics(text)) > 40
        os.killpg(servers[2].pid, signal.SIGCONT)


def configuration_per_family(tmp):
    with server(tmp, "wx-b") as one, server(tmp, "wx-b") as two, \
            Exporter("--per-family", env=environment(tmp)) as exporter:
        for s in (one, two):
            s.turns(s.client())
        paths = {s: f"{tmp}/weir/wx-b.{s.pid}.sock" for s in (one, two)}
        lib.within(lambda: all(map(os.path.exists, paths.values())))
        promtool(exporter.metrics())

        def is_theirs():
            found = of_program(exporter.metrics(), "wx-b")
            for s, path in paths.items():
                own = {f'pid="{s.pid}"', f'socket="{path}"'}
                mine = {(name, labels - own): value
                        for (name, labels), value in found.items() if own <= labels}
                if mine != samples(ask(path)):
                    return False
            return len(found) == 2 * len(mine)
        lib.within(is_theirs)
        # Out of a file, node_exporter would not have it beside its own with another help.
        assert ("# HELP process_start_time_seconds Start time of the process since unix epoch "
                "in seconds.\n") in ask(paths[one])
        openmetrics(exporter.get("/metrics", Accept=OPEN)[2])


def pid_namespaces_stay_apart(tmp):
    """Two families with one program's name and one pid."""
    lib.need_root()
    apart = ("unshare", "-p", "-f", "--kill-child")
    with server(tmp, "wx-c", prefix=apart) as one, server(tmp, "wx-c", prefix=apart) as two, \
            Exporter("--per-family", env=environment(tmp)) as exporter:
        one.turns(one.client(), nr=1)
        two.turns(two.client(), nr=2)
        paths = f"{tmp}/weir/wx-c.1.sock", f"{tmp}/weir/wx-c.1.sock.1"
        lib.within(lambda: all(map(os.path.exists, paths)))

        def writes():
            found = of_program(exporter.metrics(), "wx-c")
            return {next(w for w in labels if w.startswith("socket=")): value
                    for (name, labels), value in found.items()
                    if name == "weir_app_writes_total" and 'role="accepted"' in labels}
        lib.within(lambda: writes() == {f'socket="{paths[0]}"': 9, f'socket="{paths[1]}"': 18})


def counters_never_fall(tmp):
    """A family ends, and another begins at its socket with its pid; one stops for a while."""
    lib.need_root()
    counters = functools.partial(filter, lambda item: item[0][0].endswith("_total"))

    def start():
        s = server(tmp, "wx-d", prefix=("unshare", "-p", "-f", "--kill-child"))
        s.turns(s.client())
        lib.within(lambda: os.path.exists(f"{tmp}/weir/wx-d.1.sock"))
        return s

    def look():
        """A second later, as within one all get the same."""
        now = exporter.json("/families")["timestamp"]
        lib.within(lambda: exporter.json("/families")["timestamp"] != now)
        return dict(counters(of_program(exporter.metrics(), "wx-d").items()))

    with Exporter(env=environment(tmp)) as exporter:
        writes = "weir_app_writes_total", frozenset(['role="accepted"'])
        with start() as one:
            first = lib.within(lambda: (seen := look())[writes] == 20 * 9 and seen)
            os.killpg(one.pid, signal.SIGSTOP)
            assert look() == first
            assert exporter.families(tmp)["wx-d.1.sock"]["state"] == "slow"
            os.killpg(one.pid, signal.SIGCONT)
            assert look() == first
        assert look() == first
        assert exporter.families(tmp)["wx-d.1.sock"]["state"] == "dead"
        for key, value in samples(exporter.metrics()).items():
            assert not (key[0] == "weir_streams" and 'program="wx-d"' in key[1]), value
        with start():
            second = lib.within(lambda: (seen := look())[writes] == 2 * first[writes] and seen)
            lib.within(lambda: exporter.families(tmp)["wx-d.1.sock"]["state"] == "live")
            for key, value in first.items():
                assert second[key] >= value, key
        assert look() == second


def a_counter_that_falls_begins_anew(tmp):
    """Whatever a family says: its program's sum does not fall."""
    with Fake(tmp, "f", family(counter(100))) as fake, \
            Exporter(env=environment(tmp)) as exporter:
        key = "weir_app_writes_total", frozenset()
        lib.within(lambda: of_program(exporter.metrics(), "fake").get(key) == 100)
        fake.answers = family(counter(30))
        lib.within(lambda: of_program(exporter.metrics(), "fake")[key] == 130)
        fake.answers = family(counter(40), start=2000)
        lib.within(lambda: of_program(exporter.metrics(), "fake")[key] == 170)
        fake.answers = b"nonsense"
        lib.within(lambda: exporter.families(tmp)["f.1.sock"]["state"] == "invalid")
        assert of_program(exporter.metrics(), "fake")[key] == 170


def endless(conn):
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        conn.sendall(b"x" * 65536)


def drips(conn):
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        conn.sendall(b"x")
        time.sleep(0.1)


def hostile_families(tmp):
    """Each is left out and counted, and the others are answered for in time."""
    million = "# TYPE weir_x gauge\n" + "".join(
        f'weir_x{{x="{i}"}} 1\n' for i in range(1000000))
    one = counter(1)
    invalid = {
        "garbage": os.urandom(10000),
        "nohttp": b"hello\n",
        "error": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "cut": ok(one)[:-3],
        "nojson": {"/metrics": ok(one), "/metrics.json": ok("{")},
        "deep": {"/metrics": ok(one), "/metrics.json": ok("[" * 100000)},
        "notext": {"/metrics": ok(os.urandom(10000)), "/metrics.json": ok("{}")},
        "million": family(million),
        "nan": family(counter("NaN")),
        "negative": family(counter(-1)),
        "huge": family(counter("1e300")),
        "twice": family(one + "weir_app_writes_total 2\n"),
        "clash": family('# TYPE weir_x gauge\nweir_x{program="memcached"} 1\n'),
        "untyped": family("weir_x 1\n"),
        "latin": {**family(one), "/metrics": ok(b"# TYPE weir_x gauge\nweir_x{x=\"\xe9\"} 1\n")},
        "other": {**family(one), "/metrics": family(one, start=5)["/metrics"]},
        "longname": family(one, program="x" * 10000),
        "nostart": {**family(one), "/metrics": ok(one)},
        "endless": endless,
    }
    # What they say is one metric's, of which others say something else.
    taken = {
        "types": family("# TYPE weir_streams_backpressured histogram\n"
                        'weir_streams_backpressured_bucket{le="+Inf"} 1\n'
                        "weir_streams_backpressured_sum 1\n"
                        "weir_streams_backpressured_count 1\n", program="wx-types"),
        "evil": family(one, program='x"} 1\nevil{a="\\'),
        "pids": family(one, program="wx-pids", pid=1e300),
        "own": family("# TYPE weir_export_families gauge\nweir_export_families 7\n"
                      "# TYPE node_load1 gauge\nnode_load1 7\n", program="wx-own"),
    }
    with contextlib.ExitStack() as stack:
        for name, answers in {**invalid, **taken, "drips": drips}.items():
            stack.enter_context(Fake(tmp, name, answers))
        servers = [stack.enter_context(server(tmp, "wx-e")) for _ in range(3)]
        for s in servers:
            s.turns(s.client())
        paths = [f"{tmp}/weir/wx-e.{s.pid}.sock" for s in servers]
        lib.within(lambda: all(map(os.path.exists, paths)))
        exporter = stack.enter_context(Exporter(env=environment(tmp)))
        text = in_two_seconds(exporter, tmp, ["invalid"] * len(invalid) + ["slow"] +
                              ["live"] * (len(taken) + len(servers)))
        promtool(text)
        openmetrics(exporter.get("/metrics", Accept=OPEN)[2])
        await_sum(exporter, "wx-e", paths)
        wanted = {"drips": "slow", **dict.fromkeys(invalid, "invalid"),
                  **dict.fromkeys([*taken, "wx-e"], "live")}
        # Each that is in time; the next time it may be another one that is not.
        lib.within(lambda: {name.split(".")[0]: f["state"]
                            for name, f in exporter.families(tmp).items()} == wanted)
        assert 'program="x\\"} 1\\nevil{a=\\"\\\\"' in text
        assert "node_load1" not in text and "weir_export_families{program" not in text
        page = exporter.get("/")[2]
        assert "evil" not in page


def hostile_streams(tmp):
    """Entries that are none, and such as would take gigabytes to read."""
    one = counter(1)
    said = {"small": b'{"streams":[1,null,"x",{},{"pid":{},"program":"other","request":7}]}',
            "dense": b'{"streams":[' + b"{}," * 1000000 + b"{}]}",
            "many": b'{"streams":[' + b"0," * 1000000 + b"0]}",
            "deep": b"[" * 1000000, "list": b"[]", "none": b""}
    with contextlib.ExitStack() as stack:
        for name, body in said.items():
            stack.enter_context(Fake(tmp, name, {
                **family(one, program=f"wx-{name}"), "/streams": ok(body),
                "/streams?limit=3": ok(body), "/streams?sort=bytes": ok(body)}))
        exporter = stack.enter_context(Exporter(env=environment(tmp)))
        assert len(exporter.families(tmp)) == len(said)
        for query in ("", "?sort=bytes"):
            lib.within(lambda query=query: [
                s["program"] for s in exporter.json(f"/streams{query}")["streams"]
                if s["socket"].startswith(tmp)] == ["wx-small"] * 2)
        assert len(exporter.json("/streams?limit=3")["streams"]) <= 3
        with open(f"/proc/{exporter.process.pid}/status") as status:
            [peak] = [int(w.split()[1]) for w in status if w.startswith("VmHWM")]
        assert peak < 200 * 1024, f"{peak} KiB"


def a_flood_of_sockets(tmp):
    """One user cannot keep those of others from being asked."""
    lib.need_root()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 16384:
        raise lib.Skip("needs 16,384 descriptors")
    os.makedirs(f"{tmp}/weir")
    for i in range(5000):
        path = f"{tmp}/weir/dead.{i}.sock"
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
        os.chown(path, 65534, 65534)
    with Fake(tmp, "fake", family(counter(1))), Exporter(env=environment(tmp)) as exporter:
        # On a busy machine not all of them were tried in time, and the next time they are.
        def all_are_told():
            states = [f["state"] for f in exporter.families(tmp).values()]
            assert states.count("live") <= 1 and len(states) == 4097, len(states)
            return states.count("live") == 1 and states.count("dead") == 4096
        lib.within(all_are_told)


def many_ask_at_once(tmp):
    """All get the same, and a socket that hangs is waited for once."""
    def ask_all():
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(exporter.metrics()))
                   for _ in range(20)]
        began = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join(lib.LIMIT)
        assert len(answers) == 20
        return time.monotonic() - began < 2 and len(set(answers)) == 1
    with Fake(tmp, "hangs", lambda _: time.sleep(lib.LIMIT)), \
            Fake(tmp, "fake", family(counter(1))), Exporter(env=environment(tmp)) as exporter:
        lib.within(ask_all)


def clients_that_say_nothing(_):
    """However many: others are answered, and before those are given up as idle."""
    def is_answered():
        idle = [socket.create_connection((host, int(port))) for _ in range(600)]
        answered = False
        with contextlib.suppress(OSError):
            answered = exporter.get("/healthz")[0] == 200
        open_yet = 0
        for s in idle:
            with s, contextlib.suppress(ConnectionError):
                s.setblocking(False)
                try:
                    s.recv(1)
                except BlockingIOError:
                    open_yet += 1
        return answered and open_yet
    with Exporter() as exporter:
        host, port = exporter.place[len("http://"):].split(":")
        lib.within(is_answered)


def a_file_for_node_exporter(tmp):
    os.makedirs(f"{tmp}/weir")
    out = f"{tmp}/weir.prom"
    with Fake(tmp, "fake", family(counter(5))):
        for _ in range(2):
            status, said, err = lib.weir("export", "--textfile", out, env=environment(tmp))
            assert (status, said, err) == (0, "", "")
            with open(out) as f:
                text = f.read()
            promtool(text)
            assert of_program(text, "fake") == {("weir_app_writes_total", frozenset()): 5}
            assert os.stat(out).st_mode & 0o777 == 0o644
            assert sorted(os.listdir(tmp)) == ["weir", "weir.prom"]
        status, said, err = lib.weir("export", "--per-family", "--textfile", out,
                                     env=environment(tmp))
        with open(out) as f:
            assert 'program="fake",pid="1",socket="' in f.read()
    for bad in (f"{tmp}/no/such", tmp, "/dev/null"):
        status, said, err = lib.weir("export", "--textfile", bad)
        assert status == 1 and not said and bad in err, (status, err)
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def another_user(tmp):
    """It need not be root: it is answered by those that let it ask."""
    lib.need_root()
    os.chmod(tmp, 0o755)
    command = shutil.copy(lib.WEIR, f"{tmp}/command")
    with server(tmp, "wx-f") as closed, \
            server(tmp, "wx-f", STREAM_METRICS_SOCKET_MODE="0666") as opened, \
            Exporter(env=environment(tmp), command=(
                "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                command)) as exporter:
        for s in (closed, opened):
            s.turns(s.client())
        paths = {s: f"{tmp}/weir/wx-f.{s.pid}.sock" for s in (closed, opened)}
        lib.within(lambda: all(map(os.path.exists, paths.values())))
        await_sum(exporter, "wx-f", [paths[opened]])
        lib.within(lambda: {name: f["state"] for name, f in exporter.families(tmp).items()} == {
            f"wx-f.{closed.pid}.sock": "denied", f"wx-f.{opened.pid}.sock": "live"})


def what_it_answers(_):
    with Exporter() as exporter:
        status, headers, page = exporter.get("/")
        assert status == 200 and headers["Content-Type"].startswith("text/html")
        nonce = headers["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
        assert f'<script nonce="{nonce}">' in page and "NONCE" not in page
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert nonce not in exporter.get("/")[2]
        for path in ("/", "/metrics", "/streams"):
            assert exporter.get(path, method="HEAD")[::2] == (200, "")
        assert exporter.json("/healthz")["status"] == "ok"
        assert exporter.get("/nowhere")[0] == 404
        assert exporter.get("/", method="PUT")[0] == 405
        for query in ("sort=nosuch", "sort", "state=nosuch", "limit=", "limit=-1", "limit=1x"):
            assert exporter.get(f"/streams?{query}")[0] == 400, query
        assert exporter.json("/streams?limit=0&other=1")["streams"] == []
        assert exporter.get("/streams?limit=99999999999999999999")[0] == 200


def an_ipv6_address(_):
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError as no:
        raise lib.Skip(f"no IPv6 here: {no}") from no
    with Exporter(address="[::1]") as exporter:
        assert exporter.json("/healthz")["status"] == "ok"


def how_it_ends(_):
    for how in (signal.SIGTERM, signal.SIGINT):
        with Exporter() as exporter:
            port = exporter.place.rsplit(":", 1)[1]
            status, out, err = lib.weir("export", "--listen", f"127.0.0.1:{port}")
            assert status == 1 and not out and "in use" in err, (status, err)
            exporter.process.send_signal(how)
            assert exporter.process.wait(lib.LIMIT) == 0
            assert exporter.process.stderr.read() == ""
    for bad in ("9464", "127.0.0.1:", ":9464", "::1:9464", "[::1]", "127.0.0.1:65536", "[]:1"):
        status, out, err = lib.weir("export", "--listen", bad)
        assert status == 2 and not out and "ADDR:PORT" in err, (bad, status, err)
    for bad in (("x",), ("--listen",), ("--listen", "127.0.0.1:1", "--textfile", "x"),
                ("--per-family=1",)):
        status, out, err = lib.weir("export", *bad)
        assert status == 2 and not out and err, (bad, status, err)


if __name__ == "__main__":
    lib.run([families_streams_and_pool, fifty_families, configuration_per_family,
             pid_namespaces_stay_apart, counters_never_fall, a_counter_that_falls_begins_anew,
             hostile_families, hostile_streams, a_flood_of_sockets, many_ask_at_once,
             clients_that_say_nothing, a_file_for_node_exporter, another_user,
             what_it_answers, an_ipv6_address, how_it_ends])
