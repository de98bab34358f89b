"""weir tune recommends what really is faster, with real servers and loads, or to leave it off."""
import json
import os
import shutil
import statistics

import lib

CLIENT = os.path.join(lib.BUILD, "bench/client")
TWO_WRITE = os.path.join(lib.BUILD, "bench/two_write")
RATE = '"rate":([0-9.]+)'
ROUNDS = 5
LIMIT = 100  # seconds; a few on a quiet machine


def need(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise lib.Skip(f"no {program} here")
    return path


def tune(tmp, *args):
    """The document, and what was printed, which have to agree."""
    path = os.path.join(tmp, "tune.json")
    status, out, err = lib.weir("tune", "--repeat", ROUNDS, "--try", "32K,4K", "--out", path,
                                *args, limit=LIMIT, env=lib.clean_environment(TMPDIR=tmp))
    assert status == 0, (out, err)
    assert os.listdir(tmp) == ["tune.json"], os.listdir(tmp)
    with open(path, encoding="utf-8") as f:
        doc = json.load(f)
    assert doc["schema"] == "weir.tune/1" and doc["rounds"] == ROUNDS, doc
    assert f"Recommended: {doc['recommendation']['setting']}." in out, out
    check_figures(doc)
    print("".join(f"# {line}\n" for line in out.splitlines() if "times off" in line or
                  "off ran from" in line), end="")
    return doc, out


def check_figures(doc):
    """Medians, intervals and gains are those of the raw samples."""
    value = {(s["round"], s["setting"], s["load"]): s["value"] for s in doc["samples"]}
    rounds = range(1, doc["rounds"] + 1)
    assert len(value) == len(doc["samples"]) == ROUNDS * len(doc["settings"]) * len(doc["loads"])

    def off(n, load):
        return (value[n, 0, load] + value[n, 1, load]) / 2

    def same(interval, values):
        wanted = statistics.median(values), min(values), max(values)
        got = interval["median"], interval["low"], interval["high"]
        assert all(abs(a / b - 1) < 1e-9 for a, b in zip(got, wanted)), (got, wanted)
    for load in range(len(doc["loads"])):
        same(doc["offToOff"][load], [value[n, 1, load] / value[n, 0, load] for n in rounds])
        for i, setting in enumerate(doc["settings"][2:], 2):
            found = setting["loads"][load]
            same(found["value"], [value[n, i, load] for n in rounds])
            same(found["gain"], [value[n, i, load] / off(n, load) for n in rounds])
            noise = max(1.03, doc["offToOff"][load]["high"], 1 / doc["offToOff"][load]["low"])
            gain = found["gain"]
            better = gain["low"] > 1 and gain["median"] > noise
            worse = gain["high"] < 1 and gain["median"] < 1 / noise
            assert found["verdict"] == ("better" if better else "worse" if worse else "same")


def a_reply_in_two_writes_gains(tmp):
    """40 ms a reply without the library; with it no more than the reply takes."""
    port = lib.free_port()
    doc, out = tune(tmp, "--metric", RATE, "--load", f"{CLIENT} -c %c -t 0.2 127.0.0.1:{port}",
                    "--clients", "3", "--", TWO_WRITE, f"127.0.0.1:{port}")
    assert [load["clients"] for load in doc["loads"]] == [3, 1]
    chosen = doc["recommendation"]["setting"]
    found = next(s for s in doc["settings"] if s["name"] == chosen)
    for load in found["loads"]:
        assert load["gain"]["low"] > 10 and load["holdP99"] > 0, load
        assert load["cpu"]["high"] < 1, load
    # What to do is printed, and says the same.
    chunk = str(found["chunk"])
    wanted = {"LD_PRELOAD": lib.LIB, "STREAM_REQUEST_CHUNK_SIZE": chunk,
              "STREAM_RESPONSE_CHUNK_SIZE": chunk, "STREAM_FLUSH_DELAY_US": "500"}
    assert doc["recommendation"]["variables"] == wanted, doc["recommendation"]
    unit = doc["recommendation"]["dropIn"]
    assert unit.startswith("[Service]\n") and "/run/two_write/weir.sock" in unit, unit
    for name, value in wanted.items():
        assert f"    {name}={value}\n" in out and f"Environment={name}={value}\n" in unit


def memcached_with_16_requests_in_flight_gains(tmp):
    port = lib.free_port()
    server = [need("memcached"), "-l", "127.0.0.1", "-p", port]
    if os.geteuid() == 0:
        server += ["-u", "nobody"]
    doc, _ = tune(tmp, "--metric", RATE, "--load", f"{CLIENT} -c 4 -d 16 -r 'get k\\r\\n' "
                  f"-u 'END\\r\\n' -t 0.4 127.0.0.1:{port}", "--", *server)
    noise, chosen = doc["offToOff"][0], doc["recommendation"]["setting"]
    if chosen == "off" and (noise["high"] > 1.5 or noise["low"] < 1 / 1.5):
        raise lib.Skip(f"too noisy to tell: off against off ran from {noise['low']:.2f} to "
                       f"{noise['high']:.2f}")
    assert chosen in ("32K/500us", "4K/500us"), doc["recommendation"]
    assert all(s["loads"][0]["gain"]["median"] > 1.1 for s in doc["settings"][2:])


def redis_without_pipelining_does_not(tmp):
    port = lib.free_port()
    load = (f"{need('redis-benchmark')} -q -p {port} -t get -n 8000 -P 1 -c 4")
    for left in (1, 0):
        doc, out = tune(tmp, "--metric", "GET: ([0-9.]+) requests", "--load", load, "--",
                        need("redis-server"), "--port", port, "--save", "", "--dir", tmp)
        found = doc["recommendation"]
        if not found["saving"]:
            break
        # A twentieth of the processor's time may be chance: not twice.
        assert left, found
    assert found == {"setting": "off", "saving": None, "variables": {}, "dropIn": None}, found
    assert "Leave the library off" in out and "LD_PRELOAD" not in out, out


if __name__ == "__main__":
    lib.run([a_reply_in_two_writes_gains, memcached_with_16_requests_in_flight_gains,
             redis_without_pipelining_does_not])
