"""Checks of what a metrics socket says.  One line on stdout says what is wrong.

    metrics.py documents DIRECTORY [WHAT...]
                                           each document of a scrape is well-formed;
                                           of internal errors there are these alone
    metrics.py compare DIRECTORY LATER     no counter fell between two scrapes
    metrics.py moving SOCKET [DIRECTORY]   wait until bytes were counted (since then)
    metrics.py bytes SOCKET SENT RECEIVED [SLACK]
                                           wait until accepted streams moved these
    metrics.py now SOCKET                  print those two figures, a line each
    metrics.py pid SOCKET PID              the family's first process, and it is live
    metrics.py takeover SOCKET             kill who answers: another one does, in time
"""
import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import sys
import time

import families

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
JSON = "application/json"
# One snapshot a second is shared by all who ask, and the machine may be busy.
DEADLINE = SETTLED = 15.0
TAKEOVER = 2.0

DIRECTION_KEYS = {
    "totalBytes", "chunkCount", "avgChunkSize", "duration", "throughput",
    "backpressureEvents", "backpressureTime", "blocked", "appCalls", "kernelCalls",
    "appBytes", "pendingBytes", "discardedBytes", "causes", "flushes"}
STREAM_KEYS = {"pid", "fd", "role", "family", "local", "peer", "state", "mode",
               "bypassReason", "inode", "idle", "request", "response"}
SAMPLE = re.compile(r"([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"(?:,|$)')


class Wrong(Exception):
    """What the metrics say is not what they promise."""


def require(condition, what):
    if not condition:
        raise Wrong(what)


def has(where, keys, what):
    missing = sorted(set(keys) - set(where))
    require(not missing, f"{what} lacks {', '.join(missing)}")


# The two text formats.

def samples(lines, openmetrics):
    """{(name, labels): value} and {family: type}; samples must follow their TYPE."""
    found, kinds, family = {}, {}, None
    for line in lines:
        if line.startswith("# TYPE "):
            family, kind = line[7:].split(" ")
            require(family not in kinds, f"family {family} comes twice")
            kinds[family] = kind
        elif line.startswith("# HELP ") or line == "# EOF":
            continue
        else:
            match = SAMPLE.match(line)
            require(match, f"no sample: {line!r}")
            name, labels, value = match.groups()
            pairs = tuple(sorted(LABEL.findall(labels or "")))
            require(LABEL.sub("", labels or "") == "", f"labels of {line!r}")
            require(family and name.startswith(family), f"{name} before its TYPE")
            require((name, pairs) not in found, f"twice: {line!r}")
            found[name, pairs] = float(value)
    if openmetrics:
        require(lines[-1] == "# EOF", "no # EOF at the end")
    return found, kinds


def expected(openmetrics):
    """Yields (family, type, sample name, label sets)."""
    for name, labels in families.GAUGES.items():
        yield name, "gauge", name, labels
    for name, labels in families.COUNTERS.items():
        total = name + "_total"
        yield (name if openmetrics else total), "counter", total, labels
    for name in families.HISTOGRAMS:
        yield name, "histogram", name + "_count", {}
        yield name, "histogram", name + "_sum", {}


def check_presence(found, kinds, openmetrics):
    known = set()
    for family, kind, name, labels in expected(openmetrics):
        known.add(family)
        require(kinds.get(family) == kind,
                f"{family} is {kinds.get(family, 'missing')}, not a {kind}")
        closed = [[(key, value) for value in values]
                  for key, values in labels.items() if values is not None]
        if len(closed) == len(labels):
            for pairs in itertools.product(*closed):
                require((name, tuple(sorted(pairs))) in found,
                        f"{name} lacks {dict(pairs)}")
    strange = sorted(set(kinds) - known)
    require(not strange, f"unknown families: {', '.join(strange)}")


def check_histograms(found):
    for name, bounds in families.HISTOGRAMS.items():
        buckets = {dict(pairs)["le"]: value for (sample, pairs), value in found.items()
                   if sample == name + "_bucket"}
        require("+Inf" in buckets, f"{name} has no +Inf bucket")
        finite = {float(le): value for le, value in buckets.items() if le != "+Inf"}
        require(all("." in le or "e" in le for le in buckets if le != "+Inf"),
                f"{name}: an le without a point")
        require(sorted(finite) == sorted(float(bound) for bound in bounds),
                f"{name} has buckets {sorted(finite)}")
        rising = [finite[le] for le in sorted(finite)] + [buckets["+Inf"]]
        require(rising == sorted(rising), f"{name}: buckets fall")
        require(found[name + "_count", ()] == buckets["+Inf"],
                f"{name}: count is not the +Inf bucket")


def check_text(path, openmetrics, expected):
    with open(path, encoding="utf-8", newline="") as document:
        text = document.read()
    path = os.path.basename(path)
    require(text.endswith("\n"), f"{path}: no line end at the end")
    lines = text[:-1].split("\n")
    require(all(line == line.strip() and line for line in lines),
            f"{path}: blank lines or space at a line's end")
    found, kinds = samples(lines, openmetrics)
    check_presence(found, kinds, openmetrics)
    check_histograms(found)
    check_strictly(text, openmetrics)
    internal = {dict(pairs)["what"]: value for (name, pairs), value in found.items()
                if name == "weir_internal_errors_total" and value and
                dict(pairs)["what"] not in expected}
    require(not internal, f"internal errors: {internal}")


def check_strictly(text, openmetrics):
    """The reference parser, where python3-prometheus-client is installed."""
    try:
        from prometheus_client import parser
        from prometheus_client.openmetrics import parser as strict
    except ImportError:
        return
    parse = (strict if openmetrics else parser).text_string_to_metric_families
    try:
        list(parse(text))
    except ValueError as problem:
        raise Wrong(f"prometheus_client refuses it: {problem}") from problem


# The JSON documents.

def load(directory, name):
    with open(os.path.join(directory, name), encoding="utf-8") as document:
        return json.load(document)


def check_direction(direction, what):
    has(direction, DIRECTION_KEYS, what)
    has(direction["causes"], families.CAUSES, f"{what}.causes")
    has(direction["flushes"], families.FLUSHES, f"{what}.flushes")
    for key, value in direction.items():
        if key not in ("blocked", "causes", "flushes"):
            require(isinstance(value, (int, float)) and value >= 0,
                    f"{what}.{key} is {value!r}")
    total, chunks = direction["totalBytes"], direction["chunkCount"]
    require(direction["appBytes"] == total + direction["pendingBytes"] +
            direction["discardedBytes"],
            f"{what}: app {direction['appBytes']} is not kernel {total} + pending "
            f"{direction['pendingBytes']} + discarded {direction['discardedBytes']}")
    require((chunks > 0) == (total > 0), f"{what}: {chunks} chunks, {total} bytes")
    if chunks:
        require(abs(direction["avgChunkSize"] - total / chunks) <= 1,
                f"{what}.avgChunkSize is {direction['avgChunkSize']}")
    if direction["duration"] >= 10:
        rate = total / direction["duration"] / 1000
        require(abs(direction["throughput"] - rate) <= 0.02 + rate / 50,
                f"{what}.throughput is {direction['throughput']}, not {rate:.2f}")


def check_metrics(document, passing=0):
    """`passing` streams may be opened or closed while the snapshot is taken."""
    has(document, ("schema", "version", "program", "pid", "startTime", "timestamp",
                   "config", "processes", "streams", "totals", "pool", "errors"),
        "/metrics.json")
    require(document["schema"] == "weir.metrics/1", "schema of /metrics.json")
    has(document["streams"],
        ("open", "managed", "observed", "bypassed", "opened", "closed"), "streams")
    streams = document["streams"]
    require(streams["open"] == streams["managed"] + streams["observed"] +
            streams["bypassed"] and
            abs(streams["open"] - streams["opened"] + streams["closed"]) <= passing,
            f"streams do not add up: {streams}")
    now = time.time() * 1000
    require(document["startTime"] <= document["timestamp"] <= now + 1000 and
            now - document["timestamp"] < 60000, "the timestamps")
    for process in document["processes"]:
        require(process["state"] in ("live",) + families.ENDED, f"state of {process}")
    require(any(process["state"] == "live" for process in document["processes"]),
            "no live process")
    for name in families.DIRECTIONS:
        check_direction(document["totals"][name], f"totals.{name}")
    errors = document["errors"]
    for operation in families.OPERATIONS:
        has(errors["calls"][operation], families.ERRNOS, "errors.calls")
    has(errors["internal"], families.INTERNAL, "errors.internal")
    has(errors["bypassed"], families.BYPASSES, "errors.bypassed")
    require("deferred" in errors, "errors lacks deferred")


def check_streams(document, limit=None):
    require(document["schema"] == "weir.streams/1", "schema of /streams")
    streams = document["streams"]
    require(limit is None or len(streams) <= limit, f"{len(streams)} streams of {limit}")
    for stream in streams:
        what = f"stream {stream.get('pid')}/{stream.get('fd')}"
        has(stream, STREAM_KEYS, what)
        require(stream["role"] in families.ROLES, f"{what}: role")
        require(stream["family"] in ("inet", "inet6", "unix"), f"{what}: family")
        require(stream["state"] in ("open", "closed"), f"{what}: state")
        require(stream["mode"] in families.MODES, f"{what}: mode")
        reasons = families.BYPASSES if stream["mode"] == "bypassed" else (None,)
        require(stream["bypassReason"] in reasons, f"{what}: bypassReason")
        for name in families.DIRECTIONS:
            check_direction(stream[name], f"{what} {name}")
    require(sum(stream["state"] == "closed" for stream in streams) <= 256,
            "more than 256 closed streams")
    return streams


def check_pool(document):
    has(document, ("enabled", "maxBytes", "tiers", "totalBuffers", "totalInUse",
                   "totalBytes", "timestamp"), "/buffer-pool-metrics")
    tiers = document["tiers"]
    for tier in tiers:
        has(tier, ("size", "buffers", "inUse", "peakInUse", "bytes", "hits", "misses",
                   "exhausted"), "a tier")
        require(tier["inUse"] <= tier["buffers"], f"tier {tier['size']}: in use")
        require(tier["bytes"] == tier["size"] * tier["buffers"],
                f"tier {tier['size']}: bytes")
    for total, key in (("totalBuffers", "buffers"), ("totalInUse", "inUse"),
                       ("totalBytes", "bytes")):
        require(document[total] == sum(tier[key] for tier in tiers), total)
    require(document["totalBytes"] <= document["maxBytes"], "more than the cap")


def check_head(path, kind):
    size = os.path.getsize(path)
    with open(path + ".head", encoding="latin-1", newline="") as document:
        status, *lines = document.read().strip().split("\r\n")
    fields = {key.lower(): value.strip()
              for key, value in (line.split(":", 1) for line in lines)}
    path = os.path.basename(path)
    require(status.split(" ")[:2] == ["HTTP/1.1", "200"], f"{path}: {status}")
    require(fields.get("connection") == "close", f"{path}: no Connection: close")
    require(int(fields.get("content-length", -1)) == size,
            f"{path}: Content-Length")
    require(fields.get("content-type", "").startswith(kind),
            f"{path}: Content-Type {fields.get('content-type')}")


def documents(directory, *expected):
    for name, kind in (("text", TEXT), ("openmetrics", OPENMETRICS),
                       ("metrics.json", JSON), ("streams.json", JSON),
                       ("top.json", JSON), ("pool.json", JSON),
                       ("healthz.json", JSON)):
        check_head(os.path.join(directory, name), kind)
    check_text(os.path.join(directory, "text"), False, expected)
    check_text(os.path.join(directory, "openmetrics"), True, expected)
    document = load(directory, "metrics.json")
    check_metrics(document)
    require(check_streams(load(directory, "streams.json")), "no stream is listed")
    top = check_streams(load(directory, "top.json"), 3)
    moved = [stream["request"]["totalBytes"] + stream["response"]["totalBytes"]
             for stream in top]
    require(moved == sorted(moved, reverse=True), f"sort=bytes gives {moved}")
    check_pool(load(directory, "pool.json"))
    health = load(directory, "healthz.json")
    require(health["status"] == "ok", "/healthz is not ok")
    require(health["version"] == document["version"], "two versions")
    live = [process["pid"] for process in document["processes"]
            if process["state"] == "live"]
    require(health["pid"] in live, f"/healthz: {health['pid']} is none of {live}")


# Comparisons between scrapes, and with the clients.

def counters(text):
    found, kinds = samples(text[:-1].split("\n"), False)
    rising = re.compile("|".join(
        family if kind == "counter" else family + "_(bucket|count|sum)"
        for family, kind in kinds.items() if kind != "gauge") + "$")
    return {key: value for key, value in found.items() if rising.match(key[0])}


def none_fell(before, after):
    for key, value in before.items():
        require(after.get(key, -1) >= value, f"{key} fell: {value}, {after.get(key)}")


def compare(earlier, later):
    def read(directory):
        with open(os.path.join(directory, "text"), encoding="utf-8") as document:
            return counters(document.read())

    none_fell(read(earlier), read(later))


class Local(http.client.HTTPConnection):
    """HTTP over the Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, target):
    connection = Local(path)
    connection.request("GET", target)
    answer = connection.getresponse()
    require(answer.status == 200, f"{target}: {answer.status}")
    body = answer.read().decode()
    connection.close()
    return body


def moved(document):
    return sum(document["totals"][name]["totalBytes"] for name in families.DIRECTIONS)


def poll(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def moving(path, directory=None):
    start = moved(load(directory, "metrics.json")) if directory else 0
    require(poll(DEADLINE, lambda: moved(json.loads(ask(path, "/metrics.json"))) > start),
            f"no more than {start} bytes")


def accepted_bytes(path):
    found, _ = samples(ask(path, "/metrics")[:-1].split("\n"), False)
    role = (("role", "accepted"),)
    return (int(found["weir_sent_bytes_total", role]),
            int(found["weir_received_bytes_total", role]))


def compare_bytes(path, sent, received, slack="0"):
    wanted, got = (int(sent), int(received)), None

    def same():
        nonlocal got
        got = accepted_bytes(path)
        return all(0 <= g - w <= int(slack) for g, w in zip(got, wanted))

    require(poll(SETTLED, same),
            f"the clients received {wanted[0]} and sent {wanted[1]} bytes; counted "
            f"are {got[0]} sent and {got[1]} received (allowed above: {slack})")


def now(path):
    for figure in accepted_bytes(path):
        print(figure)


def pid(path, wanted):
    document = json.loads(ask(path, "/metrics.json"))
    require(document["pid"] == int(wanted), f"pid is {document['pid']}, not {wanted}")
    require({"pid": int(wanted), "state": "live"} in document["processes"],
            f"{wanted} is not live among {document['processes']}")


def answering(path):
    return json.loads(ask(path, "/healthz"))["pid"]


def takeover(path):
    before, server = counters(ask(path, "/metrics")), answering(path)
    os.kill(server, signal.SIGKILL)
    began = time.monotonic()

    def another():
        # What the killed one had accepted ends without an answer.
        with contextlib.suppress(ConnectionError):
            return answering(path) != server
        return False

    require(poll(DEADLINE, another), f"{server} still answers")
    took = time.monotonic() - began
    require(took < TAKEOVER, f"the next answer came after {took:.1f} s")
    none_fell(before, counters(ask(path, "/metrics")))
    print(f"{server}, then {answering(path)} after {took * 1000:.0f} ms")


def main():
    verbs = {"documents": documents, "compare": compare, "moving": moving,
             "bytes": compare_bytes, "now": now, "pid": pid,
             "takeover": takeover}
    try:
        verbs[sys.argv[1]](*sys.argv[2:])
    except Wrong as problem:
        print(problem)
        sys.exit(1)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"{type(problem).__name__}: {problem}")
        sys.exit(1)


if __name__ == "__main__":
    main()
