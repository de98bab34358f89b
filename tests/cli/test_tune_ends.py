"""weir tune when something goes wrong: it says what, ends what it started, and tells what it
knows by then."""
import json
import os
import re
import shutil
import signal
import subprocess

import lib

SERVER = os.path.join(lib.HERE, "tune_server.py")
LOAD = os.path.join(lib.HERE, "tune_load.py")


class Tune:
    """The command's arguments for tune_server.py in the directory `tmp`."""

    def __init__(self, tmp, *words, load=None, options=(), env=None):
        self.tmp, self.port = tmp, lib.free_port()
        self.load = load or f"{lib.PYTHON} {LOAD} {self.port}"
        self.args = ["tune", "--try", "32K", *map(str, options), "--load", self.load, "--",
                     lib.PYTHON, SERVER, str(self.port), *words]
        self.env = env or lib.clean_environment(TMPDIR=tmp)

    def run(self, status=0):
        got, out, err = lib.weir(*self.args, env=self.env, limit=60)
        assert got == status, (got, out, err)
        self.nothing_is_left()
        return out, err

    def start(self):
        def as_from_a_terminal():  # whoever ran the tests may ignore it
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
            [lib.WEIR, *self.args], env=self.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=as_from_a_terminal)

    def processes(self):
        """Of the server, wherever they are now."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            if SERVER in words and str(self.port) in words:
                found.append(int(pid))
        return found

    def nothing_is_left(self):
        assert not self.processes(), self.processes()

    def kept(self):
        """The only directory that was kept: the contents of its files."""
        [directory] = [d for d in os.listdir(self.tmp) if d.startswith("weir-tune.")]
        found = {}
        for name in os.listdir(os.path.join(self.tmp, directory)):
            with open(os.path.join(self.tmp, directory, name), encoding="utf-8") as f:
                found[name] = f.read()
        return os.path.join(self.tmp, directory), found


def off_is_without_the_library(tmp):
    """The server itself says so, each time; the load never has it."""
    said = os.path.join(tmp, "said")
    load = f'echo "$LD_PRELOAD," >>{said}.load; {lib.PYTHON} {LOAD} {{port}}'
    tune = Tune(tmp, options=["--repeat", 2, "--try", "8K/300"],
                env=lib.clean_environment(TMPDIR=tmp, LD_PRELOAD=lib.LIB))
    tune.args[tune.args.index("--load") + 1] = load.format(port=tune.port)
    at = tune.args.index("--") + 1
    tune.args[at:] = ["sh", "-c", f'exec "$@" >>{said}', "sh", *tune.args[at:]]
    out, _ = tune.run()
    with open(said, encoding="utf-8") as f:
        lines = f.read().splitlines()
    native = [line for line in lines if line == "native PRELOAD="]
    held = [line for line in lines if re.fullmatch(
        r"library STREAM_FLUSH_DELAY_US=300 STREAM_METRICS_SOCKET=\S+ "
        r"STREAM_REQUEST_CHUNK_SIZE=8192 STREAM_RESPONSE_CHUNK_SIZE=8192 "
        rf"PRELOAD={re.escape(lib.LIB)}", line)]
    # The warm-up, and two rounds of off, off again and the setting.
    assert (len(native), len(held), len(lines)) == (5, 2, 7), lines
    with open(said + ".load", encoding="utf-8") as f:
        assert f.read() == ",\n" * 7
    assert "Too few rounds to tell: 2, and it takes 5." in out and "SECONDS" in out, out
    assert sorted(os.listdir(tmp)) == ["said", "said.load"]


def a_load_that_fails(tmp):
    tune = Tune(tmp, load="echo one; echo two >&2; echo three >&2; exit 7")
    out, err = tune.run(status=1)
    directory, files = tune.kept()
    assert not out and files == {"off.load.err": "two\nthree\n"}, (out, files)
    for said in ("the load failed (exit status 7)", "| two\n", "| three\n",
                 f"the end of {directory}/off.load.err"):
        assert said in err, err
    tune = Tune(tmp, load="kill -9 $$")
    assert "the load failed (signal 9" in tune.run(status=1)[1]


def a_number_that_is_not_found(tmp):
    for metric, why in (("rate: ([a-z]+)", "finds no number"), ("p99", "finds no number"),
                        ("nothing ([0-9]+)", "finds no number")):
        tune = Tune(tmp, options=["--metric", metric])
        out, err = tune.run(status=1)
        assert not out and why in err and "| rate: 1000 requests/s, p99 3 ms" in err, err


def a_server_that_does_not_start(tmp):
    tune = Tune(tmp, "deaf", options=["--wait", "1"])
    out, err = tune.run(status=1)
    assert not out and "did not listen on a TCP or Unix socket within 1 s" in err, err
    tune = Tune(tmp)
    tune.args[-1] = "no port"
    out, err = tune.run(status=1)
    assert "the server ended before it listened (exit status 1)" in err, err
    assert "| ValueError: invalid literal" in err, err
    tune = Tune(tmp, "once")
    tune.args[tune.args.index("--load") + 1] += " 2"  # the second client finds nobody
    assert "ended during the load (exit status 0)" in tune.run(status=1)[1]


def a_setting_under_which_the_server_fails_is_out(tmp):
    for word, when in (("crash", "during the load (signal 11, Segmentation fault)"),
                       ("abort", "by a crash when it was stopped (signal 6, Aborted)")):
        tune = Tune(tmp, word, options=["--json", "--repeat", 3])
        out, err = tune.run()
        doc = json.loads(out)
        assert doc["settings"][2]["out"] == f"the server ended {when}", doc["settings"]
        assert doc["recommendation"]["setting"] == "off", doc
        assert f"32K/500us: the server ended {when}" in err, err
        assert "| library STREAM_" in err, err


def static(tmp):
    """A server that listens, and nothing else."""
    path = os.path.join(tmp, "static")
    done = subprocess.run(
        [*os.environ.get("CC", "gcc").split(), "-x", "c", "-", "-static", "-o", path],
        input="#include <sys/socket.h>\n#include <unistd.h>\n"
        "int main(void) { listen(socket(AF_INET, SOCK_STREAM, 0), 1); pause(); }",
        text=True, capture_output=True, check=False)
    if done.returncode:
        raise lib.Skip("cannot be compiled here: " + done.stderr.splitlines()[-1])
    return path


def the_library_that_does_not_get_in(tmp):
    tune = Tune(tmp, load="true")
    at = tune.args.index("--") + 1
    tune.args[at:] = ["env", "-u", "LD_PRELOAD", *tune.args[at:]]
    assert "not in the process that listens" in tune.run(status=1)[1]
    tune.args[at:at + 3] = ["sh", "-c", 'exec "$@"', "sh", static(tmp)]
    assert "statically linked" in tune.run(status=1)[1]
    tune.args[at:at + 5] = ["env", f"LD_PRELOAD={lib.LIB}"]
    assert "although it was not preloaded" in tune.run(status=1)[1]


def a_server_of_many_processes(tmp):
    """What daemonizes, and what it forks, is found, measured and ended."""
    tune = Tune(tmp, "daemon", options=["--json", "--repeat", 1, "--metric", "rate: [0-9]+"])
    out, _ = tune.run()
    doc = json.loads(out)
    assert doc["rounds"] == 1 and [s["value"] for s in doc["samples"]] == [1000] * 3, doc
    assert doc["metric"] == "rate: [0-9]+" and doc["recommendation"] is None, doc


def the_cpu_time_of_the_server(tmp):
    """That of a child it has waited for, and not the load's own."""
    tune = Tune(tmp, "burn", options=["--json", "--repeat", 1])
    tune.args[tune.args.index("--load") + 1] += f"; timeout 0.2 {lib.PYTHON} -c 'while 1: 1' || :"
    for sample in json.loads(tune.run()[0])["samples"]:
        assert 0.09 <= sample["cpuSeconds"] <= 0.17, sample


def a_server_that_sigterm_does_not_end(tmp):
    tune = Tune(tmp, "stubborn", options=["--repeat", 1, "--grace", 1])
    _, err = tune.run()
    assert err.count("the server did not end within 1 s of SIGTERM and was killed") == 1, err


def the_interrupt(tmp):
    """What is measured by then is told; a second one does not wait for the server."""
    tune = Tune(tmp, options=["--repeat", 99])
    with tune.start() as process:
        while "round 2 of" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=lib.LIMIT)
        assert process.returncode == 1 and "interrupted" in err, (process.returncode, err)
        assert out.startswith("1 round in ") and "Too few rounds" in out, out
    tune.nothing_is_left()
    tune = Tune(tmp, "stubborn", load="sleep 600", options=["--grace", 600])
    with tune.start() as process:
        lib.within(lambda: subprocess.run(
            ["pgrep", "-P", str(process.pid), "-x", "sh"], check=False,
            stdout=subprocess.DEVNULL).returncode == 0)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=lib.LIMIT)
        assert process.returncode == 1 and not out, (process.returncode, out)
    tune.nothing_is_left()
    assert not os.listdir(tmp), os.listdir(tmp)


def the_time_is_bounded(tmp):
    for most in (4, 16):
        tune = Tune(tmp, options=["--json", "--max-time", most])
        doc = json.loads(tune.run()[0])
        assert doc["rounds"] <= 15 * most and doc["seconds"] < most + 2, doc
        if doc["rounds"]:
            break  # else a busy machine had no time for one
    assert doc["rounds"], doc
    # Settings give way, so that there are rounds enough; on a machine that grows busy the second time at the latest.
    tune = Tune(tmp, load="sleep 0.2", options=["--json", "--max-time", 12, "--try",
                                                ",".join(["32K"] * 14)])
    for _ in range(2):
        out, err = tune.run()
        doc = json.loads(out)
        tried = [s["name"] for s in doc["settings"][2:] if not s["out"]]
        assert 1 <= len(tried) < 14 and "are left out" in err, (len(tried), err)
        enough = doc["rounds"] >= 5 and doc["recommendation"]
        # Where one is too many already, that is tried all the same.
        if enough or len(tried) == 1:
            break
    assert enough or len(tried) == 1, doc
    tune = Tune(tmp, load="sleep 600", options=["--max-time", 1])
    assert "Too few rounds to tell: 0, and it takes 5.\n" in tune.run()[0]
    assert not os.listdir(tmp), os.listdir(tmp)


def the_number_of_clients(tmp):
    load = f"test '100%%' = 100'%%' && {lib.PYTHON} {LOAD} {{port}} %c"
    for options, clients in ((["--max-time", 1], [8, 1]), (["--clients", 1, "--repeat", 1], [1]),
                             (["--clients", 3, "--max-time", 1], [3, 1])):
        tune = Tune(tmp, options=["--json", *options])
        tune.args[tune.args.index("--load") + 1] = load.format(port=tune.port)
        doc = json.loads(tune.run()[0])
        assert [load["clients"] for load in doc["loads"]] == clients, doc["loads"]
        assert doc["rounds"] == 1 or "--repeat" not in options, doc
        assert doc["loads"][0]["command"].endswith(f"{tune.port} {clients[0]}"), doc["loads"]


def the_picture(tmp):
    path = os.path.join(tmp, "it's.png")
    if shutil.which("gnuplot"):
        Tune(tmp, options=["--repeat", 1, "--png", path]).run()
        with open(path, "rb") as f:
            assert f.read(8) == b"\x89PNG\r\n\x1a\n"
    env = lib.clean_environment(TMPDIR=tmp, PATH=tmp)
    _, err = Tune(tmp, options=["--png", path], env=env).run(status=1)
    assert "needs gnuplot" in err and len(err.splitlines()) == 1, err


def what_cannot_begin(tmp):
    """A sentence at once, and no run."""
    good = ["--load", "true", "--", "true"]
    for status, args, says in (
            (2, [], "usage"), (2, ["--", "true"], "usage"), (2, ["--load", "true"], "usage"),
            (2, ["--nosuch", *good], "--nosuch"), (2, ["--repeat", "0", *good], "--repeat 0"),
            (2, ["--max-time", "x", *good], "--max-time x"),
            (2, ["--clients", "-1", *good], "--clients -1"),
            (2, ["--try", "12", *good], "--try 12"), (2, ["--try", ",", *good], "--try ,"),
            (2, ["--try", "4K/5s", *good], "--try 4K/5s"),
            (2, ["--try", ",".join(["4K"] * 15), *good], "--try"),
            (2, ["--metric", "(", *good], "--metric ("),
            (2, ["--load", "a %x", "--", "true"], "percent sign"),
            (2, ["--load", "a %", "--", "true"], "percent sign"),
            (1, ["--out", f"{tmp}/no/such", *good], f"{tmp}/no/such"),
            (1, ["--png", f"{tmp}/no/such", *good],
             f"{tmp}/no/such" if shutil.which("gnuplot") else "gnuplot"),
            (127, ["--load", "true", "--", "no-such-program"], "no such program in PATH")):
        got, out, err = lib.weir("tune", *args)
        assert got == status and not out and says in err, (args, got, err)
    got, out, err = lib.weir("tune", *good, env=lib.clean_environment(WEIR_LIB=f"{tmp}/gone.so"))
    assert got == 125 and not out and "install it" in err, err


if __name__ == "__main__":
    lib.run([off_is_without_the_library, a_load_that_fails, a_number_that_is_not_found,
             a_server_that_does_not_start, a_setting_under_which_the_server_fails_is_out,
             the_library_that_does_not_get_in, a_server_of_many_processes,
             the_cpu_time_of_the_server, a_server_that_sigterm_does_not_end,
             the_interrupt, the_time_is_bounded, the_number_of_clients,
             the_picture, what_cannot_begin])
