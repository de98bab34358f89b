"""examples/prometheus and examples/grafana: Prometheus takes them, every alert has its tests, and every
query finds what it asks for at a real exporter over a real server."""
import collections
import contextlib
import itertools
import json
import os
import re
import shutil
import threading

import yaml

import common
import lib

PROGRAM = "weir-example"  # of the server that is watched here, among others of this machine
ADDED = {"job", "instance", "program"}
UNITS = {"short", "ops", "percentunit", "s", "bytes", "Bps"}
SHAPES = {"row": set(), "stat": {"reduceOptions"}, "timeseries": {"legend", "tooltip"}}


def load(name):
    with open(os.path.join(common.EXAMPLES, name), encoding="utf-8") as f:
        return yaml.safe_load(f)


def rules(kind):
    """(name, expression) of the rules of a kind, record or alert."""
    found = [(rule[kind], rule["expr"])
             for name in ("weir-rules.yml", "weir-alerts.yml")
             for group in load(f"prometheus/{name}")["groups"]
             for rule in group["rules"] if kind in rule]
    assert found
    return found


def dashboard():
    with open(os.path.join(common.EXAMPLES, "grafana/weir.json"), encoding="utf-8") as f:
        return json.load(f)


def queries(panels):
    return [(panel["title"], target["expr"])
            for panel in panels for target in panel.get("targets", [])]


def copied(tmp):
    """The example's configuration where it can be written to."""
    return shutil.copytree(os.path.join(common.EXAMPLES, "prometheus"), f"{tmp}/p")


# ---- Without a server ----

def promtool_takes_them(tmp):
    common.need("promtool")
    place = copied(tmp)
    common.done("promtool", "check", "config", "--lint=all", "--lint-fatal",
                f"{place}/prometheus.yml")
    shutil.copy(os.path.join(common.HERE, "alerts.yml"), place)
    assert "SUCCESS" in common.done("promtool", "test", "rules", f"{place}/alerts.yml")


def every_alert_is_tested(_):
    """Each fires in alerts.yml, and what each asks for is among the healthy server's figures."""
    with open(os.path.join(common.HERE, "alerts.yml"), encoding="utf-8") as f:
        healthy, *others, _ = yaml.safe_load(f)["tests"]
    alerts = dict(rules("alert"))
    samples = [sample["labels"] for test in others for one in test["promql_expr_test"]
               for sample in one["exp_samples"]]
    fired = {name for text in samples
             for name in re.findall(r'alertname="(\w+)"', text)}
    assert fired == set(alerts), fired ^ set(alerts)
    quiet = [one for one in healthy["promql_expr_test"] if one["expr"] == "ALERTS"]
    assert quiet and not quiet[0]["exp_samples"]
    shown = {series["series"].split("{")[0] for series in healthy["input_series"]}
    wanted = {name for _, expr in rules("alert") + rules("record")
              for name in common.NAME.findall(expr)}
    assert wanted == shown, wanted ^ shown


def names_of_records_say_their_labels(_):
    """level:metric:operation, with the level's labels in `by`."""
    for name, expr in rules("record"):
        level, _, _ = name.split(":")
        labels = {"job"} | set(level.split("_"))
        if "by (" in expr:
            for by in re.findall(r"by \(([^)]*)\)", expr):
                assert set(by.split(", ")) == labels, (name, by)
        else:
            assert "quantile" in expr and level in expr, name


def dashboard_is_sound(_):
    board = dashboard()
    variables = {v["name"] for v in board["templating"]["list"]}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] == "weir"
    taken = collections.Counter()
    for panel in board["panels"]:
        where, title = panel["gridPos"], panel["title"]
        assert where["x"] + where["w"] <= 24, title
        taken.update(itertools.product(range(where["x"], where["x"] + where["w"]),
                                       range(where["y"], where["y"] + where["h"])))
        assert set(panel.get("options", {})) >= SHAPES[panel["type"]], title
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(references) == len(set(references)), title
        for one in [panel, *panel["targets"]]:
            assert one["datasource"]["uid"] == "${datasource}", title
    assert max(taken.values()) == 1, "panels overlap"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board)))
    assert used - {"__rate_interval", "__all"} == variables, (used, variables)


# ---- A server, the exporter, Prometheus ----

@contextlib.contextmanager
def traffic(server):
    """Dialogues, until the end; one client that does not read what it asked for."""
    stop = threading.Event()

    def talk(client):
        while not stop.is_set():
            server.turns(client, 5)
    server.say(server.client(), "big", 10_000_000)
    thread = threading.Thread(target=talk, args=(server.client(),))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(lib.LIMIT)


@contextlib.contextmanager
def scraped(tmp):
    """The example's configuration, with a scrape a second, over an exporter of this machine."""
    place = copied(tmp)
    with open(f"{place}/prometheus.yml", encoding="utf-8") as f:
        text, nr = re.subn(r"_interval: 15s", "_interval: 1s", f.read())
    assert nr == 2
    text = text.replace("\nglobal:", "\nglobal:\n  external_labels: {shard: a}", 1)
    with open(f"{place}/prometheus.yml", "w", encoding="utf-8") as f:
        f.write(text)
    python = f"{tmp}/{PROGRAM}"
    os.symlink(lib.PYTHON, python)
    with lib.Server(python=python, STREAM_METRICS_SOCKET=f"{tmp}/m") as server, \
            traffic(server), common.exporter() as port:
        with open(f"{place}/hosts/caches.yml", "w", encoding="utf-8") as f:
            json.dump([{"targets": [f"127.0.0.1:{port}"]}], f)
        with common.Prometheus(tmp, f"{place}/prometheus.yml") as prometheus:
            yield port, prometheus


def everything_finds_its_figures(tmp):
    common.need("prometheus")
    with scraped(tmp) as (port, prometheus):
        # Who does not answer in time, as on a busy machine, is left out.
        known = lib.within(lambda: [of for of in [common.labels_of(common.exported(port))]
                                    if PROGRAM in of.get("weir_processes", {}).get("program", ())])[0]
        for _, expr in rules("record") + rules("alert"):
            common.asks_for(expr, known, ADDED)
        for _, expr in queries(dashboard()["panels"]):
            common.asks_for(expr, known, ADDED)
        of_it = f'{{program="{PROGRAM}"}}'
        for name, _ in rules("record"):
            lib.within(lambda n=name: prometheus.query(n + of_it))
        added = common.fleets("What a host exposes")["the rules of a host add for a program"][0]
        recorded = lib.within(lambda: [of for of in [prometheus.query(
            f'{{__name__=~"instance_program.*",program="{PROGRAM}"}}')] if len(of) >= added])[0]
        assert len(recorded) == added, [one["metric"] for one in recorded]
        # Each group has its own time.
        lib.within(lambda: all(rule["health"] != "unknown" for group in
                               prometheus.ask("rules")["groups"] for rule in group["rules"]))
        for group in prometheus.ask("rules")["groups"]:
            for rule in group["rules"]:
                assert rule["health"] == "ok", rule
        fired = [alert["labels"] for alert in prometheus.ask("alerts")["alerts"]
                 if alert["state"] == "firing" and alert["labels"].get("program") == PROGRAM]
        assert not fired, fired
        values = {"$job": "weir", "$instance": ".*", "$program": PROGRAM,
                  "$__rate_interval": "10s"}
        for title, expr in queries(dashboard()["panels"]):
            for variable, value in values.items():
                expr = expr.replace(variable, value)
            lib.within(lambda t=title, e=expr: prometheus.query(e) or print(f"# {t}: {e}"))
        what_is_above_fetches_it(tmp, prometheus)


def what_is_above_fetches_it(tmp, shard):
    """fleet-global.yml over this shard alone: its rules have the program, and no more labels."""
    with open(f"{tmp}/p/fleet-global.yml", encoding="utf-8") as f:
        text = f.read().replace("_interval: 1m", "_interval: 1s")
    text, nr = re.subn(r"(- prometheus-\d.example.net:9090\s*)+", f"- 127.0.0.1:{shard.port}\n", text)
    assert nr == 1
    with open(f"{tmp}/p/above.yml", "w", encoding="utf-8") as f:
        f.write(text)
    os.mkdir(f"{tmp}/above")
    with common.Prometheus(f"{tmp}/above", f"{tmp}/p/above.yml") as above:
        for rule in load("prometheus/fleet-global-rules.yml")["groups"][0]["rules"]:
            found = lib.within(lambda name=rule["record"]: above.query(
                f'{name}{{program="{PROGRAM}"}}'))
            labels = set(found[0]["metric"]) - {"__name__", "cause"}
            assert labels == {"job", "program"}, found


if __name__ == "__main__":
    lib.run([promtool_takes_them, every_alert_is_tested, names_of_records_say_their_labels,
             dashboard_is_sound, everything_finds_its_figures])
