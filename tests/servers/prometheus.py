"""What a Prometheus makes of the metrics socket.  PORT is Prometheus' own; a directory
holds what the socket said at a quiet moment.  One line on stdout says what is wrong.

    prometheus.py configure DIRECTORY BRIDGE   its configuration and rules, for a socket
                                               that it reaches at the port BRIDGE
    prometheus.py growing PORT                 wait until it saw bytes counted, since now
    prometheus.py quiet PORT SOCKET DIRECTORY  wait until nothing is counted any more, and
                                               it saw that; its rules give what the JSON says
    prometheus.py compare PORT EARLIER LATER KILLED
                                               every counter, between two quiet moments in
                                               which so many processes were killed
"""
import http.client
import json
import math
import os
import sys
import time
import urllib.parse

import metrics
from metrics import require

TIMEOUT = 15
LEDGER = "weir_sent_bytes_total"

CONFIGURATION = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [rules.yml]
scrape_configs:
  - job_name: weir
    static_configs:
      - targets: ["127.0.0.1:{bridge}"]
"""

# By their names: what Prometheus computes, and the same from /metrics.json.
RULES = {
    "weir:writes_of_a_call:mean": (
        "sum(weir_app_writes_total) / sum(weir_kernel_writes_total)",
        lambda said: said["totals"]["response"]["appCalls"] /
        said["totals"]["response"]["kernelCalls"]),
    "weir:sent_chunk_bytes:mean": (
        "weir_kernel_write_size_bytes_sum / weir_kernel_write_size_bytes_count",
        lambda said: said["totals"]["response"]["totalBytes"] /
        said["totals"]["response"]["chunkCount"]),
    "weir:processes:ended_part": (
        "sum(weir_processes_ended_total) /"
        " (sum(weir_processes_ended_total) + sum(weir_processes))",
        lambda said: len(ended(said)) / len(said["processes"])),
}


def ended(said):
    return [process for process in said["processes"] if process["state"] != "live"]


def told(said):
    """The sums over all labels that /metrics.json has as well.  All streams of this server
    are accepted ones: it receives requests and sends responses."""
    streams, errors, tiers = said["streams"], said["errors"], said["pool"]["tiers"]
    received, sent = said["totals"]["request"], said["totals"]["response"]
    both = (received, sent)
    return {
        "weir_processes_ended_total": len(ended(said)),
        "weir_streams_opened_total": streams["opened"],
        "weir_streams_closed_total": streams["closed"],
        "weir_streams_bypassed_total": sum(errors["bypassed"].values()),
        "weir_app_reads_total": received["appCalls"],
        "weir_kernel_reads_total": received["kernelCalls"],
        "weir_app_writes_total": sent["appCalls"],
        "weir_kernel_writes_total": sent["kernelCalls"],
        "weir_received_bytes_total": received["totalBytes"],
        "weir_sent_bytes_total": sent["totalBytes"],
        "weir_app_read_bytes_total": received["appBytes"],
        "weir_app_written_bytes_total": sent["appBytes"],
        "weir_discarded_bytes_total": sum(way["discardedBytes"] for way in both),
        "weir_flushes_total": sum(sent["flushes"].values()),
        "weir_send_backpressure_events_total": sent["backpressureEvents"],
        "weir_send_backpressure_seconds_total": sent["backpressureTime"] / 1000,
        "weir_send_backpressure_episode_seconds_count": sent["backpressureEvents"],
        "weir_send_backpressure_episode_seconds_sum": sent["backpressureTime"] / 1000,
        "weir_receive_backpressure_events_total": received["backpressureEvents"],
        "weir_receive_backpressure_seconds_total": received["backpressureTime"] / 1000,
        "weir_pool_hits_total": sum(tier["hits"] for tier in tiers),
        "weir_pool_misses_total": sum(tier["misses"] for tier in tiers),
        "weir_pool_exhausted_total": sum(tier["exhausted"] for tier in tiers),
        "weir_errors_total": sum(sum(calls.values()) for calls in errors["calls"].values()),
        "weir_deferred_errors_total": errors["deferred"],
        "weir_internal_errors_total": sum(errors["internal"].values()),
        "weir_app_write_size_bytes_sum": sent["appBytes"],
        "weir_app_read_size_bytes_sum": received["appBytes"],
        "weir_kernel_write_size_bytes_sum": sent["totalBytes"],
        "weir_kernel_write_size_bytes_count": sent["chunkCount"],
        "weir_kernel_read_size_bytes_sum": received["totalBytes"],
        "weir_kernel_read_size_bytes_count": received["chunkCount"],
    }


# Prometheus' HTTP interface.

def query(port, expression, at=None):
    """The result at a time, milliseconds since the epoch; by default now."""
    asked = {"query": expression}
    if at is not None:
        asked["time"] = f"{at / 1000:.3f}"
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT)
    connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode(asked))
    answer = json.load(connection.getresponse())
    connection.close()
    require(answer["status"] == "success", f"{expression}: {answer.get('error')}")
    return answer["data"]["result"]


def key(labels):
    return labels.get("__name__"), tuple(sorted(
        pair for pair in labels.items() if pair[0] not in ("__name__", "job", "instance")))


def series(port, selector, at=None):
    """The samples of a range selector: {(name, labels): [(milliseconds, value)]}"""
    return {key(one["metric"]): [(round(float(when) * 1000), float(value))
                                 for when, value in one["values"]]
            for one in query(port, selector, at)}


def last(port, selector, since):
    """The last samples after `since` of all that it selects, once there is one."""
    found = {}

    def new():
        nonlocal found
        found = {of: samples[-1] for of, samples in series(port, selector).items()}
        return found and all(when > since for when, _ in found.values())

    require(metrics.poll(TIMEOUT, new), f"prometheus has no new {selector}: {found}")
    return found


def now():
    return time.time() * 1000


# The verbs.

def configure(directory, bridge):
    with open(os.path.join(directory, "prometheus.yml"), "w", encoding="ascii") as file:
        file.write(CONFIGURATION.format(bridge=bridge))
    rules = [{"record": name, "expr": rule} for name, (rule, _) in RULES.items()]
    with open(os.path.join(directory, "rules.yml"), "w", encoding="ascii") as file:
        json.dump({"groups": [{"name": "weir", "rules": rules}]}, file)


def growing(port):
    selector, since = f'{LEDGER}{{role="accepted"}}[60s]', now()
    (_, first), = last(port, selector, since).values()

    def grown():
        (samples,) = series(port, selector).values()
        return samples[-1][1] > first

    require(metrics.poll(TIMEOUT, grown), f"{LEDGER} stays {first}")


def still(path):
    """Both documents, once a snapshot counts nothing more than the one before."""
    text, stamp = "", 0

    def same():
        nonlocal text, stamp, said
        said = json.loads(metrics.ask(path, "/metrics.json"))
        if said["timestamp"] == stamp:
            return False
        before, text, stamp = text, metrics.ask(path, "/metrics"), said["timestamp"]
        return before and metrics.counters(before) == metrics.counters(text)

    said = None
    require(metrics.poll(TIMEOUT, same), "the server is not quiet")
    return said, text


def quiet(port, path, directory):
    said, text = still(path)
    metrics.check_metrics(said)
    (at, _), = last(port, "weir_processes[60s]", now()).values()
    given = last(port, '{__name__=~"weir:.+"}[60s]', at)
    for name, (_, truth) in RULES.items():
        require((name, ()) in given, f"no {name}")
        got, wanted = given[name, ()][1], truth(said)
        require(math.isclose(got, wanted, rel_tol=1e-12),
                f"{name} is {got}, /metrics.json gives {wanted}")
    os.mkdir(directory)
    with open(os.path.join(directory, "quiet.json"), "w", encoding="utf-8") as file:
        json.dump({"said": said, "text": text, "at": at}, file)


def compare(port, earlier, later, killed):
    before, after = (metrics.load(directory, "quiet.json")
                     for directory in (earlier, later))
    # Both ends of the window are samples, so that increase() has nothing to extrapolate;
    # a millisecond more, because a newer Prometheus leaves the beginning out.
    length = after["at"] - before["at"]
    window, at = f"[{length + 1}ms]", after["at"]
    found = series(port, f'{{job="weir",__name__!~"weir:.+"}}{window}', at)
    rose = check_series(found, before["text"], after["text"])
    slack = 1 + 2 / length
    sums = {}
    for name in sorted({name for name, _ in rose}):
        for one in query(port, f"increase({name}{window})", at):
            got, wanted = float(one["value"][1]), rose[name, key(one["metric"])[1]]
            require(wanted - 1e-6 <= got <= wanted * slack + 1e-6,
                    f"increase() of {name}{one['metric']} is {got}, not {wanted}")
            sums[name] = sums.get(name, 0) + got
        resets = [one for one in query(port, f"resets({name}{window})", at)
                  if float(one["value"][1])]
        require(not resets, f"resets() of {name}: {resets}")
    first, second = told(before["said"]), told(after["said"])
    for name, value in second.items():
        wanted = value - first[name]
        # The JSON's milliseconds have three decimals.
        require(wanted - 1e-5 <= sums[name] <= wanted * slack + 1e-5,
                f"increase() of {name} is {sums[name]}; /metrics.json says {wanted}")
    how = rose["weir_processes_ended_total", (("how", "killed"),)]
    require(how == int(killed), f"{how} of {killed} processes are said to be killed")
    up = [value for _, value in found["up", ()]]
    print(f"{len(RULES)} rules, and {len(rose)} counters over {killed} kills of who answers, "
          f"in {up.count(1)} scrapes; {up.count(0)} failed")


def check_series(found, before, after):
    """Each sample of the socket is a series, and none that counts falls or ends elsewhere
    than the socket's.  By how much each rose."""
    known, _ = metrics.samples(after[:-1].split("\n"), False)
    own = {of for of in found if of[0] == "up" or of[0].startswith("scrape_")}
    require(set(found) - own == set(known),
            f"not in both: {sorted(set(found) - own ^ set(known))[:3]}")
    start, end = metrics.counters(before), metrics.counters(after)
    for of, value in end.items():
        values = [value for _, value in found[of]]
        require(values == sorted(values), f"{of} fell: {values}")
        require((values[0], values[-1]) == (start[of], value),
                f"{of} goes from {values[0]} to {values[-1]}, not {start[of]} to {value}")
    return {of: value - start[of] for of, value in end.items()}


def main():
    verbs = {"configure": configure, "growing": growing, "quiet": quiet, "compare": compare}
    try:
        verbs[sys.argv[1]](*sys.argv[2:])
    except metrics.Wrong as problem:
        print(problem)
        sys.exit(1)


main()
