"""Shared by the tests of what is in examples/: the exporter, what it says, and a Prometheus."""
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../cli"), os.path.join(HERE, "../servers")]
import lib  # noqa: E402 pylint: disable=wrong-import-position
import metrics  # noqa: E402 pylint: disable=wrong-import-position

EXAMPLES = os.path.normpath(os.path.join(HERE, "../../examples"))
# A metric as it is scraped; a recorded one has colons.
NAME = re.compile(r"(?<![\w:])(?:up|(?:scrape|weir|process)_[a-z0-9_]+)(?![\w:])")
SELECTOR = re.compile(NAME.pattern + r"(?P<braces>\{[^}]*\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
LEVEL = re.compile(r"\b(\w+):\w+:\w+")  # of a recorded one
GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)")
PROMETHEUS_OWN = {"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"}


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise lib.Skip(f"{program} is not installed")


def done(*command, **how):
    """Runs it to its end; its output, which is the message if it fails."""
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60, check=False, **how)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def discovered(configuration, job="weir"):
    """The labels of the targets that are left after relabelling. promtool waits its whole time-out."""
    found = json.loads(done("promtool", "check", "service-discovery", "--timeout=3s",
                            configuration, job))
    assert found, "promtool found nothing in 3 seconds"
    return [one["labels"] for one in found if one.get("labels")]


def get(port, path, accept="text/plain", **headers):
    """The answer's head and body, as they came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=lib.LIMIT)
    connection.request("GET", path, headers={"Accept": accept, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, (path, answer.status, body[:200])
    return answer, body


def open_port(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), lib.LIMIT).close()
        return True
    return False


@contextlib.contextmanager
def running(port, *command, **how):
    """A program that listens on the port, once it does; ended with SIGTERM."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True,
                          **how) as process:
        try:
            lib.within(lambda: process.poll() is not None or open_port(port))
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            yield process
        finally:
            process.terminate()
            try:
                process.wait(lib.LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextlib.contextmanager
def exporter(*options, env=None):
    """weir export; yields its port."""
    port = lib.free_port()
    with running(port, lib.WEIR, "export", "--listen", f"127.0.0.1:{port}", *options,
                 env=env or lib.clean_environment()):
        yield port


def exported(port, path="/metrics"):
    """{(name, labels): value}"""
    _, body = get(port, path)
    return metrics.samples(body.decode().rstrip("\n").split("\n"), False)[0]


def labels_of(found):
    """{name: {label: its values}} of what was exported."""
    known = {}
    for name, pairs in found:
        of = known.setdefault(name, {})
        for label, value in pairs:
            of.setdefault(label, set()).add(value)
    return known


def asks_for(expression, known, added):
    """Each metric and label that an expression names is there, each value of a closed set too.
    known: as labels_of(). added: labels that Prometheus sets."""
    allowed = set(added)
    for found in SELECTOR.finditer(expression):
        name = found.group(0).split("{")[0]
        if name in PROMETHEUS_OWN:
            continue
        assert name in known, f"no metric {name}: {expression}"
        allowed |= set(known[name])
        for label, how, value in MATCHER.findall(found.group("braces") or ""):
            assert label in known[name] or label in added, f"{name} has no {label}"
            if label in known[name] and not value.startswith("$"):
                values = value.split("|") if how in ("=~", "!~") else [value]
                assert set(values) <= known[name][label], f"{name}: {label} is never {value}"
    for level in LEVEL.findall(expression):
        allowed |= set(level.split("_"))
    for grouped in GROUPED.findall(expression):
        labels = {label.strip() for label in grouped.split(",") if label.strip()}
        assert labels <= allowed, f"no label {labels - allowed}: {expression}"


class Prometheus:
    """Debian's Prometheus with a configuration, and its HTTP interface."""

    def __init__(self, directory, configuration):
        self.directory, self.configuration = directory, configuration
        self.port, self.stack = lib.free_port(), contextlib.ExitStack()

    def __enter__(self):
        with open(os.path.join(self.directory, "prometheus.log"), "wb") as log:
            self.stack.enter_context(running(
                self.port, "prometheus", f"--config.file={self.configuration}",
                f"--storage.tsdb.path={self.directory}/tsdb", "--log.level=warn",
                f"--web.listen-address=127.0.0.1:{self.port}", stdout=log, stderr=log))
        lib.within(self.ready)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def ready(self):
        with contextlib.suppress(AssertionError):
            return get(self.port, "/-/ready")
        return None

    def ask(self, path, **what):
        _, body = get(self.port, f"/api/v1/{path}?" + urllib.parse.urlencode(what))
        answer = json.loads(body)
        assert answer["status"] == "success", (what, answer)
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]


# ---- docs/fleets.md ----

def fleets(heading):
    """{first cell: the numbers of the others} of the table below a heading of the page."""
    with open(os.path.join(EXAMPLES, "../docs/fleets.md"), encoding="utf-8") as f:
        table = f.read().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return {cells[0]: [number(cell) for cell in cells[1:]]
            for cells in ([cell.strip() for cell in line.strip("|").split("|")]
                          for line in table.splitlines() if line.startswith("|"))}


def number(cell):
    """Of "1,051", "14.0 kB", "7.01 M"; anything else as it is."""
    found = re.fullmatch(r"([\d.,]+) ?([kMG]?)B?", cell)
    if not found:
        return cell
    return float(found.group(1).replace(",", "")) * 1000 ** " kMG".index(found.group(2) or " ")
