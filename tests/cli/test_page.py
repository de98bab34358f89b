"""The page of weir export, in a headless Chromium over real servers.

Screenshots stay in the build directory, in run/: page-*.png, and page.webp, which is what
docs/page.webp was once."""
import atexit
import contextlib
import functools
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import browser
import lib
from test_export import Exporter, ask

EVIL = "<img src=x onerror=boom()>"
ENTER, TAB = "\ue007", "\ue004"
SHOTS = os.path.join(lib.BUILD, "run")


@functools.cache
def the_browser():
    """One for all tests: it takes seconds to start."""
    home = tempfile.mkdtemp(prefix="weir-cli.")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    one = browser.Browser(home)
    atexit.register(one.__exit__)
    return one


class Page:
    """What an exporter says of the families under `tmp`, in the browser."""

    def __init__(self, tmp):
        self.env = lib.clean_environment(XDG_RUNTIME_DIR=tmp)
        self.browser = the_browser()
        self.exporter = Exporter(env=self.env)
        try:
            self.url = self.exporter.place + "/"
            self.look(1440, 900)
            self.tell("Emulation.setScriptExecutionDisabled", value=False)
            self.complaints()
            self.requests()
            self.browser.open(self.url)
            lib.within(lambda: "as of" in self.text("state"))
        except BaseException:
            self.__exit__()
            raise

    def __getattr__(self, name):
        return getattr(self.browser, name)

    def text(self, name):
        return self.run("return document.getElementById(arguments[0]).innerText", name)

    def rows(self, name):
        """Of a table, as {heading: text}."""
        return self.run("""
            const table = document.getElementById(arguments[0]);
            const heads = [...table.tHead.rows[0].cells].map(c => c.textContent);
            return [...table.tBodies[0].rows].map(row => Object.fromEntries(
                [...row.cells].map((c, i) => [heads[i].replace("\\u00a0", " "), c.textContent])));
            """, name)

    def tile(self, name):
        return self.run("""
            return [...document.getElementById("sum").children].filter(
                d => d.children[0].textContent === arguments[0])[0].children[1].textContent""",
                        name)

    def family(self, pid):
        """The row of a family, or None."""
        rows = [r for r in self.rows("families") if r["program, pid"].endswith(f" {pid}")]
        return rows[0] if rows else None

    def choose(self, name, value):
        self.run("""const select = document.getElementById(arguments[0]);
            select.value = arguments[1]; select.onchange();""", name, value)

    def rounds(self, nr):
        """Waits until that many looks more were shown."""
        self.run("""window.rounds = 0;
            new MutationObserver(() => window.rounds++).observe(
                document.getElementById("state"),
                {subtree: true, childList: true, characterData: true});""")
        lib.within(lambda: self.run("return window.rounds") >= nr)

    def complaints(self):
        return [entry["message"] for entry in self.log("browser")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exporter.__exit__()
        self.browser.open("about:blank")


class Load:
    """Clients that go on until the end, at a pace that leaves room for the browser."""

    def __init__(self, *work):
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.go, args=(w,)) for w in work]
        for t in self.threads:
            t.start()

    def go(self, work):
        while not self.over.wait(0.01):
            work()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join(lib.LIMIT)


def memcached(tmp, work):
    """Starts one if there is one, and adds its load to `work`."""
    path = f"{tmp}/memcached"
    try:
        process = subprocess.Popen(
            ["memcached", "-s", path, "-u", "root"], stdin=subprocess.DEVNULL,
            env=lib.clean_environment(XDG_RUNTIME_DIR=tmp, LD_PRELOAD=lib.LIB))
    except FileNotFoundError:
        return contextlib.nullcontext()
    lib.within(lambda: os.path.exists(path))
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(lib.LIMIT)
    client.connect(path)
    answers = client.makefile("rb")

    def many():
        client.sendall(b"get nothing\r\n" * 16)
        for _ in range(16):
            answers.readline()
    work.append(many)
    return Ends(process, client, answers)


class Ends(contextlib.ExitStack):
    """Ends a process and closes what leads to it."""

    def __init__(self, process, *files):
        super().__init__()
        self.callback(process.wait, lib.LIMIT)
        self.callback(process.kill)
        for f in files:
            self.callback(f.close)


def shots(page):
    page.look(1280, 720)
    page.shot(f"{SHOTS}/page.webp", page.run(
        "return document.getElementById('sizes-title').getBoundingClientRect().top"))
    for name, width, dark in (("desktop", 1440, False), ("dark", 1440, True),
                              ("tablet", 800, False), ("phone", 360, False),
                              ("phone-dark", 360, True)):
        page.look(width, 800, dark)
        page.shot(f"{SHOTS}/page-{name}.png")


def servers_and_who_is_blocked(tmp):
    """Under load, on every width; nothing moves but the figures."""
    work = []
    with memcached(tmp, work), lib.Server(XDG_RUNTIME_DIR=tmp) as server:
        busy, stuck = server.client(), server.client()
        work.append(lambda: server.turns(busy, 2))
        server.turns(busy)
        server.say(stuck, "big", 8000000)
        stuck_at = f"127.0.0.1:{stuck.getsockname()[1]}"
        with Page(tmp) as page, Load(*work):
            row = lib.within(lambda: page.family(server.pid))
            assert row["streams"] == "2", row
            lib.within(lambda: page.family(server.pid)["blocked now"] == f"1 · {stuck_at}")
            assert page.tile("blocked now") != "0"
            assert "blocked" in page.call("GET", "/title")
            # By whom is seen from the second look on.
            held = lib.within(lambda: [r for r in page.rows("blocked")
                                       if r["peer"] == stuck_at and r["by"] == "peer"])[0]
            assert held["stream"].startswith(f"python3 {server.pid}, fd "), held
            assert held["direction"] == "sends responses", held
            # Held up for all of each second, so it is the first of the streams.
            page.choose("family", f"{tmp}/weir/python3.{server.pid}.sock")
            lib.within(lambda: [r["peer"] for r in page.rows("streams")] ==
                       [stuck_at, f"127.0.0.1:{busy.getsockname()[1]}"])
            page.rounds(2)
            # All the time; a look that comes late, on a busy machine, tells more the next time.
            lib.within(lambda: [r for r in page.rows("causes") if r["cause"] == "peer" and
                                re.fullmatch(r"9\d\dms|1\.[01]s", r["each s, now"])])
            assert page.run("return document.querySelector('#chart .peer').getAttribute('d')")
            row = page.family(server.pid)
            assert row["app calls/s"] != "0" and float(row["app per kernel"]) > 2, row
            assert row["hold p99"][-2:] in ("us", "ms") and row["mostly by"] == "peer", row
            page.choose("family", "")
            page.rounds(1)
            page.run("""window.moved = [];
                new PerformanceObserver(list => window.moved.push(...list.getEntries().map(
                    e => [e.value, e.sources.map(s => s.node && s.node.outerHTML)])))
                    .observe({type: "layout-shift"});""")
            before = page.text("families")
            page.rounds(2)
            assert page.text("families") != before
            if ALONE in os.environ:  # elsewhere other people's families come and go
                assert page.run("return moved") == []
            for width in (360, 320, 640, 1000, 1217):
                page.look(width, 800)
                assert page.run("return document.documentElement.scrollWidth") <= width, width
            shots(page)
            assert page.complaints() == []
            asked = page.requests()
            assert page.url in asked and all(u.startswith(page.url) for u in asked), asked


def nothing_is_believed(tmp):
    """Program names, paths and addresses that would be more than text."""
    path = f"{tmp}/{EVIL}.listens"
    python = f"{tmp}/{EVIL}"
    os.symlink(lib.PYTHON, python)
    # Not by env(1), which takes a name with a '=' for a variable.
    with lib.Server(path, native=True, python=python, LD_PRELOAD=lib.LIB,
                    XDG_RUNTIME_DIR=tmp) as server, \
            socket.socket(socket.AF_UNIX) as client:
        client.settimeout(lib.LIMIT)
        client.bind(f"\0{EVIL}\u202e{os.getpid()}")
        client.connect(path)
        for _ in range(5):
            server.ask(client, "pieces", 3)
        place = f"{tmp}/weir/{EVIL}.{server.pid}.sock"
        with Page(tmp) as page:
            page.run("window.boom = () => { window.boomed = true; }")
            row = lib.within(lambda: page.family(server.pid))
            assert row["program, pid"] == f"{EVIL} {server.pid}", row
            page.run("document.querySelector(`[data-socket=${CSS.escape(arguments[0])}]`).focus()",
                     place)
            page.press(ENTER)
            lib.within(lambda: len(page.rows("streams")) == 1)
            assert page.run("return document.getElementById('family').value") == place
            check_figures(page, place)
            stream = page.rows("streams")[0]
            assert stream["stream"].startswith(f"{EVIL} {server.pid}, fd "), stream
            assert stream["peer"] == f"@{EVIL}\\u{{202e}}{os.getpid()}", stream
            assert page.run("return document.querySelectorAll('img, script:not([nonce])').length"
                            ) == 0
            # Were it not for text alone, the policy would still hold.
            page.run("""const script = document.createElement("div");
                try { script.setHTMLUnsafe("<img src=x onerror=boom()>"); } catch { }
                try { script.innerHTML = "<img src=x onerror=boom()>"; } catch { }
                document.body.append(script);""")
            page.rounds(1)
            assert not page.run("return window.boomed")


def check_figures(page, place):
    """The page and the socket say the same of a family that is quiet, once the page has asked for the last of it."""
    for _ in range(3):
        try:
            compare_figures(page, place, page.rows("streams")[0])
            return
        except AssertionError:
            page.rounds(1)
    compare_figures(page, place, page.rows("streams")[0])


def compare_figures(page, place, stream):
    own = json.loads(ask(place, "/streams"))["streams"][0]
    metrics = json.loads(ask(place, "/metrics.json"))
    text = ask(place)
    both = [own["request"], own["response"]]
    assert stream["app calls"] == str(sum(d["appCalls"] for d in both)), stream
    assert stream["kernel calls"] == str(sum(d["kernelCalls"] for d in both)), stream
    assert stream["request bytes"] == str(own["request"]["totalBytes"]), stream
    assert stream["response bytes"] == str(own["response"]["totalBytes"]), stream
    assert (stream["state"], stream["mode"]) == ("open", own["mode"]), stream
    for table, what in (("write-sizes", "write"), ("read-sizes", "read")):
        last = page.rows(table)[-1]
        for column, side in (("before", "app"), ("after", "kernel")):
            count = text.split(f"weir_{side}_{what}_size_bytes_count ")[1].split()[0]
            assert last[column].split()[-1] == count, (last, count)
    tiers = {t["size"]: t for t in metrics["pool"]["tiers"]}
    shown = page.rows("pool")
    assert len(shown) == len(tiers), shown
    assert shown[0]["tier"] == "4.0K" and shown[0]["hits"] == str(tiers[4096]["hits"]), shown


def documents_of_any_shape(tmp):
    """What servers say with parts in the place of others: figures are wrong, the page is not."""
    with lib.Server(XDG_RUNTIME_DIR=tmp) as server, Page(tmp) as page:
        server.turns(server.client())
        lib.within(lambda: page.family(server.pid))
        page.run("""
            const odd = [null, arguments[0], -5, 1e308, [], [[]], {}, {constructor: 2}, true,
                "\\ud800", "\\u202e".repeat(500), [null, null]];
            let seed = 1, part = 0;
            const chance = () => (seed = seed * 48271 % 2147483647) / 2147483647;
            const change = x => chance() < part ? odd[Math.floor(chance() * odd.length)]
                : Array.isArray(x) ? x.map(change)
                : x === null || typeof x !== "object" ? x
                : Object.fromEntries(Object.entries(x).map(([key, value]) =>
                    [chance() < part ? "__proto__" : key, change(value)]));
            const real = fetch;
            window.boom = () => { window.boomed = true; };
            window.changed = 0;
            const look = () => document.getElementById("again").click();
            window.fetch = async (...how) => {
                const {schema, ...rest} = await (await real(...how)).json();
                part = [0, 0.002, 0.02, 0.1][++window.changed % 4];
                if (window.changed % 3 === 0)
                    setTimeout(look, 50); // after this round of three
                return new Response(JSON.stringify({schema, ...change(rest)}));
            };
            look();""", EVIL)
        lib.within(lambda: page.run("return window.changed") > 150)
        assert page.complaints() == [] and not page.run("return window.boomed")
        assert page.text("news") == "" and "-" not in page.text("sum"), page.text("sum")
        assert page.run("return document.documentElement.scrollWidth") <= 1440


def for_keys_and_ears(tmp):
    """Without a mouse, without sight, without JavaScript."""
    with lib.Server(XDG_RUNTIME_DIR=tmp) as server, Page(tmp) as page:
        server.turns(server.client())
        lib.within(lambda: page.family(server.pid))
        page.look(360, 740)
        order = []
        while "SUMMARY" not in order:
            page.press(TAB)
            order.append(page.run("const e = document.activeElement; "
                                  "return e.id || e.dataset.socket || e.tagName"))
        order = [o for o in order if not o.startswith("/") or o.startswith(tmp)]
        assert order == ["family", "pause", "blocked-room", "families-sort",
                         f"{tmp}/weir/python3.{server.pid}.sock", "streams-sort",
                         "streams-state", "streams-limit", "SUMMARY"], order
        heard = page.tell("Accessibility.getFullAXTree")["nodes"]
        named = [n["name"]["value"] for n in heard
                 if not n["ignored"] and n["role"]["value"] == "table"]
        assert len(named) == 7 and all(named), named
        heads = [n for n in heard if n["role"]["value"] in ("columnheader", "rowheader")]
        assert len(heads) > 60, len(heads)
        assert page.run("""return [...document.querySelectorAll("table")].every(t => t.caption &&
            [...t.querySelectorAll("thead th")].every(th => th.scope === "col") &&
            [...t.tBodies[0].rows].every(r => r.cells[0].scope === "row"))""")
        # Nothing is asked while nobody looks, once the round under way is over.
        page.run("""Object.defineProperty(document, "hidden", {get: () => window.away});
            const real = fetch;
            window.asked = 0;
            window.fetch = (...how) => { window.asked++; return real(...how); };
            document.getElementById("again").click();
            window.away = true;
            document.dispatchEvent(new Event("visibilitychange"));
            setTimeout(() => { window.waited = true; }, 4000);""")
        lib.within(lambda: page.run("return window.waited"))
        assert page.run("return window.asked") == 3
        page.run("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        lib.within(lambda: page.run("return window.asked") >= 6)
        page.tell("Emulation.setScriptExecutionDisabled", value=True)
        page.open(page.url)
        said = " ".join(n["name"]["value"] for n in
                        page.tell("Accessibility.getFullAXTree")["nodes"] if "name" in n)
        assert "needs JavaScript" in said and "/metrics" in said, said


def servers_and_exporter_come_and_go(tmp):
    with Page(tmp) as page:
        if os.environ.get(ALONE):
            assert "weir run" in page.text("none"), page.text("none")
            page.shot(f"{SHOTS}/page-none.png")
        with lib.Server(XDG_RUNTIME_DIR=tmp) as server:
            server.turns(server.client())
            lib.within(lambda: page.family(server.pid))
            assert page.complaints() == []

            def up(word):
                return lib.within(lambda: page.family(server.pid)["up"].startswith(word))
            server.process.send_signal(signal.SIGSTOP)
            up("slow")
            assert page.family(server.pid)["streams"] == "1"
            server.process.send_signal(signal.SIGCONT)
            lib.within(lambda: page.family(server.pid)["up"][0].isdigit())
            kept = page.family(server.pid)["streams"]
            page.exporter.__exit__()
            lib.within(lambda: "does not answer since" in page.text("news"))
            assert page.family(server.pid)["streams"] == kept
            page.look(360, 740)
            page.shot(f"{SHOTS}/page-gone.png")
            assert page.run("return document.documentElement.scrollWidth") <= 360
            page.exporter = Exporter("--listen", page.url.split("/")[2], env=page.env)
            lib.within(lambda: page.text("news") == "" and "live" in page.text("state"))
            assert all("ERR_CONNECTION_REFUSED" in m or "ERR_EMPTY_RESPONSE" in m or
                       "ERR_CONNECTION_RESET" in m for m in page.complaints())
        lib.within(lambda: page.family(server.pid)["up"].startswith("dead"))
        assert page.run("return document.querySelectorAll('tr.old td').length")


ALONE = "WEIR_TEST_ALONE"


def alone():
    """Runs this test once more where nobody else's families are found, if that can be had."""
    inside = ["unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc"]
    if ALONE in os.environ or os.geteuid() or subprocess.run(
            [*inside, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return
    hide = 'for d in $0; do mount -t tmpfs none "$d" 2>/dev/null; done; exec "$@"'
    places = [p for g in ("/run/weir", "/run/user", "/tmp/weir-[0-9]*") for p in glob.glob(g)]
    os.environ[ALONE] = "1"
    os.execvp("unshare", [*inside, "sh", "-c", hide, " ".join(places),
                          sys.executable, *sys.argv])


if __name__ == "__main__":
    alone()
    os.makedirs(SHOTS, exist_ok=True)
    lib.run([servers_and_who_is_blocked, nothing_is_believed, documents_of_any_shape,
             for_keys_and_ears, servers_and_exporter_come_and_go])
