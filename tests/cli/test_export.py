"""weir export: one endpoint for all families of the machine, over real sockets."""
import contextlib
import json
import signal
import subprocess
import urllib.error
import urllib.request

import lib


class Exporter:
    """weir export on a port of the kernel's choice; it sees what `env` leads to."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen(
            [lib.WEIR, "export", "--listen", "127.0.0.1:0", *args],
            env=env or lib.clean_environment(), stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        said = self.process.stderr.readline()
        assert said.startswith("weir: serving http://127.0.0.1:"), said
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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(lib.LIMIT)
        self.process.stderr.close()


def families_streams_and_pool(tmp):
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/a") as one, \
            lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/b") as two, Exporter() as exporter:
        one.turns(one.client())
        two.turns(two.client())

        def ours():
            return [f for f in exporter.json("/families")["families"]
                    if f["socket"].startswith(tmp) and f["state"] == "live"]
        found = lib.within(lambda: len(ours()) == 2 and ours())
        assert {f["pid"] for f in found} == {one.pid, two.pid}
        assert {f["program"] for f in found} == {"python3"}
        for f in found:
            assert f["metrics"]["schema"] == "weir.metrics/1"
        streams = exporter.json("/streams?sort=bytes&state=open")["streams"]
        streams = [s for s in streams if s["socket"].startswith(tmp)]
        assert {s["familyPid"] for s in streams} == {one.pid, two.pid}, streams
        pool = exporter.json("/buffer-pool-metrics")
        assert pool["enabled"] and sum(t["bytes"] for t in pool["tiers"]) == pool["totalBytes"]


def what_it_answers(_):
    with Exporter() as exporter:
        status, headers, page = exporter.get("/")
        assert status == 200 and headers["Content-Type"].startswith("text/html")
        nonce = headers["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
        assert f'<script nonce="{nonce}">' in page and "NONCE" not in page
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert nonce not in exporter.get("/")[2]
        assert exporter.get("/", method="HEAD")[2] == ""
        assert exporter.get("/nowhere")[0] == 404
        assert exporter.get("/", method="PUT")[0] == 405
        for query in ("sort=nosuch", "state=nosuch", "limit=", "limit=-1", "limit=1x"):
            assert exporter.get(f"/streams?{query}")[0] == 400, query
        assert exporter.json("/streams?limit=0&other=1")["streams"] == []


def how_it_ends(_):
    for how in (signal.SIGTERM, signal.SIGINT):
        with Exporter() as exporter:
            port = exporter.place.rsplit(":", 1)[1]
            status, out, err = lib.weir("export", "--listen", f"127.0.0.1:{port}")
            assert status == 1 and not out and "in use" in err, (status, err)
            exporter.process.send_signal(how)
            assert exporter.process.wait(lib.LIMIT) == 0
    for bad in ("9464", "127.0.0.1:", ":9464", "::1:9464", "[::1]", "127.0.0.1:65536", "[]:1"):
        status, out, err = lib.weir("export", "--listen", bad)
        assert status == 2 and not out and "ADDR:PORT" in err, (bad, status, err)


if __name__ == "__main__":
    lib.run([families_streams_and_pool, what_it_answers, how_it_ends])
