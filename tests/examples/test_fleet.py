"""docs/fleets.md: its figures, read out of the page, are those of 200 families that really run, and its sums add
up; examples/prometheus/fleet-*.yml: promtool takes them, each host has one shard, what is kept is what the rules ask for.
"""
import concurrent.futures
import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import time

import yaml

import common
import lib

SERVER = os.path.join(lib.BUILD, "bench/two_write")
FAMILIES, CONNECTIONS = 200, 3
PROGRAMS = [f"fleet-{name}" for name in ("cache", "login", "queue", "shop", "web")]
REPLIES = 2
SHARDS = 4


def near(got, said, part):
    assert abs(got - said) <= part * said, f"the page says {said:,.0f}, it is {got:,.0f}"


# ---- 200 families ----

@contextlib.contextmanager
def fleet(tmp):
    """200 servers of five names, each with two connections that were served and one that is open."""
    for name in PROGRAMS:
        os.symlink(SERVER, f"{tmp}/{name}")
    env = lib.clean_environment(LD_PRELOAD=lib.LIB, STREAM_METRICS_SOCKET=f"{tmp}/m/%e.%p.sock")
    os.mkdir(f"{tmp}/m")
    with contextlib.ExitStack() as stack:
        servers = []
        for nr in range(FAMILIES):
            program = PROGRAMS[nr % len(PROGRAMS)]
            servers.append(subprocess.Popen([f"{tmp}/{program}", "127.0.0.1:0"], env=env,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
            stack.callback(end, servers[-1])
        for server in servers:
            port = int(server.stdout.readline().decode().split(":")[-1])
            for connection in range(CONNECTIONS):
                client = common.socket.create_connection(("127.0.0.1", port), lib.LIMIT)
                stack.callback(client.close)
                for _ in range(REPLIES):
                    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert client.recv(10000)
                if connection:
                    client.close()
        yield


def end(server):
    server.kill()
    server.stdout.close()
    server.wait(lib.LIMIT)


def scrape(tmp, *options):
    """What an exporter says of the fleet alone, with its sockets in /run/weir, once it has seen all
    of it: the text and its samples."""
    with common.exporter(*options) as port:
        def whole():
            start = time.monotonic()
            text = common.get(port, "/metrics")[1].decode()
            seconds = time.monotonic() - start
            mine = [line for line in text.splitlines(True)
                    if line.startswith("#") or 'program="' not in line or 'program="fleet-' in line]
            found = common.metrics.samples([line.rstrip("\n") for line in mine], False)[0]
            opened = sum(value for (name, pairs), value in found.items()
                         if name == "weir_streams_opened_total" and ("role", "accepted") in pairs)
            if opened != FAMILIES * CONNECTIONS:
                return None
            print(f"# {' '.join(options) or 'summed'}: {seconds:.2f} s for {len(text):,} bytes")
            return "".join(mine).replace(f"{tmp}/m/", "/run/weir/"), found
        return lib.within(whole)


def two_hundred_families(tmp):
    said = common.fleets("What a host exposes")
    with fleet(tmp):
        summed, per_family = scrape(tmp), scrape(tmp, "--per-family")
    own = [of for of in summed[1] if not any(label == "program" for label, _ in of[1])]
    assert len(own) == said["the exporter itself"][0]
    for (text, found), what, each in (
            (summed, f"{FAMILIES} families of {len(PROGRAMS)} programs, summed", "a program, summed"),
            (per_family, "the same with `--per-family`", "a family with `--per-family`")):
        series, plain, packed = said[what]
        assert len(found) == series, (what, len(found))
        near(len(text), plain, 0.05)
        near(len(gzip.compress(text.encode(), 6)), packed, 0.15)
        nr = FAMILIES if "--per" in each else len(PROGRAMS)
        assert len(found) == nr * said[each][0] + len(own)
        samples = sum(len(line) for line in text.splitlines(True) if not line.startswith("#"))
        near(samples / nr, said[each][1], 0.05)
    total = {program: 0 for program in PROGRAMS}
    for (name, pairs), value in summed[1].items():
        if name == "weir_streams" and dict(pairs).get("program") in total:
            total[dict(pairs)["program"]] += value
    assert set(total.values()) == {FAMILIES / len(PROGRAMS)}, total


# ---- The page's own sums ----

def its_sums_add_up(_):
    host = common.fleets("What a host exposes")
    program, own = host["a program, summed"][0], host["the exporter itself"][0]
    added, recorded = host["Prometheus adds for a target"][0], host["the rules of a host add for a program"][0]
    kept = host["a program, with the rules' metrics alone"][0]
    plan = common.fleets("The plan")
    assert len(plan) > 5
    for name, cells in plan.items():
        found = re.fullmatch(r"([\d,]+) hosts(, kept)?", name)
        if not found:
            continue
        hosts = float(found.group(1).replace(",", ""))
        each, interval, series, rate, traffic, memory, disk = cells
        of_a_program = (kept if found.group(2) else program) + recorded
        near(hosts * (each * of_a_program + own + added), series, 0.02)
        near(series / interval, rate, 0.02)
        sent = host["HELP and TYPE, once"][1] + each * host["a program, summed"][1]
        near(hosts * sent / interval, traffic, 0.03)
        near(memory_of(series, interval), memory, 0.05)
        near(rate * 15 * 86400 * 1.5, disk, 0.05)


def memory_of(series, interval):
    """By the rule of thumb that the page quotes."""
    labels, length, sample = 5, 100, 1.5
    ingested = 3 * 3600 / interval * sample * 1.5
    return series * 2 * (732 + 32 * labels + 2 * length + ingested)


# ---- The configuration ----

def fleet_configuration(tmp):
    common.need("promtool")
    place = shutil.copytree(os.path.join(common.EXAMPLES, "prometheus"), f"{tmp}/p")
    for name in ("fleet-shard.yml", "fleet-global.yml"):
        common.done("promtool", "check", "config", f"{place}/{name}")
    with open(f"{place}/fleet-shard.yml", encoding="utf-8") as f:
        shard = f.read()
    assert f"modulus: {SHARDS}" in shard
    hosts = {f"host{nr}.example.net:9464" for nr in range(400)}
    # Not from a file, for changes of which promtool would wait.
    shard, count = re.subn(r"file_sd_configs:\n *- files: .*",
                           f"static_configs: [{{targets: {json.dumps(sorted(hosts))}}}]", shard)
    assert count == 1
    places = []
    for nr in range(SHARDS):
        mine, count = re.subn(r'"0" # (?:and )?this shard', f'"{nr}"', shard)
        assert count == 2
        places.append(f"{place}/{nr}.yml")
        with open(places[-1], "w", encoding="utf-8") as f:
            f.write(mine)
    with concurrent.futures.ThreadPoolExecutor(SHARDS) as pool:
        kept = [[one["instance"] for one in labels]
                for labels in pool.map(common.discovered, places)]
    assert all(abs(len(one) - 100) < 50 for one in kept), [len(one) for one in kept]
    seen = sum(kept, [])
    assert len(seen) == len(hosts) and set(seen) == {host.split(":")[0] for host in hosts}


def what_is_kept(tmp):
    """The relabelling of a shard keeps what its rules ask for, and as many series as the page says."""
    with open(os.path.join(common.EXAMPLES, "prometheus/fleet-shard.yml"), encoding="utf-8") as f:
        job = yaml.safe_load(f)["scrape_configs"][0]
    [keep] = [one for one in job["metric_relabel_configs"] if one.get("action") == "keep"]
    assert keep["source_labels"] == ["__name__"]
    asked = set()
    for name in ("weir-rules.yml", "weir-alerts.yml"):
        with open(os.path.join(common.EXAMPLES, "prometheus", name), encoding="utf-8") as f:
            for group in yaml.safe_load(f)["groups"]:
                asked |= {name for rule in group["rules"]
                          for name in common.NAME.findall(rule["expr"])}
    asked -= common.PROMETHEUS_OWN | {"weir_export_families"}
    assert re.fullmatch(keep["regex"], "weir_export_families")
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/m") as server, common.exporter() as port:
        server.turns(server.client())
        found = lib.within(lambda: [of for of in common.exported(port)
                                    if ("program", "python3") in of[1]])
    kept = [name for name, _ in found if re.fullmatch(keep["regex"], name)]
    assert asked <= set(kept), asked - set(kept)
    assert set(kept) == asked, set(kept) - asked
    assert len(kept) == common.fleets("What a host exposes")["a program, with the rules' metrics alone"][0]


if __name__ == "__main__":
    lib.run([two_hundred_families, its_sums_add_up, fleet_configuration, what_is_kept])
