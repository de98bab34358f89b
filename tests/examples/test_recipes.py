"""examples/recipes.md: its commands start servers that are watched, its variables, metrics and alerts exist, its
ratios are the README's.

    test_recipes.py --write    puts in the ratios that the README has by now
"""
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys

import common
import lib

TOP = os.path.normpath(os.path.join(common.EXAMPLES, ".."))
SCRIPTS = os.path.join(TOP, "bench/scripts")
RATIO = re.compile(r"([\d.,]+x) \(`([^`]*)`\)")
COMPILER = "/usr/share/java/ecj.jar"


def read(name):
    with open(os.path.join(TOP, name), encoding="utf-8") as f:
        return f.read()


def page():
    return read("examples/recipes.md")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", page(), re.M | re.S)


def measured():
    """The README's table: {server and load: gain}"""
    table = {}
    for line in read("README.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[3].endswith("x"):
            table[cells[0].strip("`")] = cells[3]
    return table


def ratios_are_the_readmes(_):
    """Wherever the page has a ratio, the README's table has it for that server and load."""
    table, said = measured(), RATIO.findall(page())
    assert len(said) >= 10 and len(re.findall(r"^## ", page(), re.M)) == 10
    wrong = [(ratio, title) for ratio, title in said if table.get(title) != ratio]
    assert not wrong, f"{wrong}: test_recipes.py --write puts the README's ratios in"


def write():
    table = measured()
    text = RATIO.sub(lambda said: f"{table[said.group(2)]} (`{said.group(2)}`)", page())
    with open(os.path.join(TOP, "examples/recipes.md"), "w", encoding="utf-8") as f:
        f.write(text)


def names_exist(_):
    variables = set(re.findall(r"^\| `(STREAM_\w+)`", read("README.md"), re.M))
    assert set(re.findall(r"STREAM_\w+", page())) <= variables
    metrics = set(re.findall(r"\bweir_\w+", page()))
    known = read("src/metrics/names.c") + read("src/metrics/text.c")
    for metric in metrics:
        assert f'"{metric.removesuffix("_total")}' in known, metric
    alerts = set(re.findall(r"alert: (\w+)", read("examples/prometheus/weir-alerts.yml")))
    assert set(re.findall(r"`(Weir\w+)`", page())) <= alerts
    for link in re.findall(r"\]\(([^)]*)\)", page()):
        assert os.path.exists(os.path.join(common.EXAMPLES, link)), link


def drop_ins_are_understood(tmp):
    """Each for a unit that Debian has, and with nothing systemd does not know."""
    common.need("systemd-analyze")
    for block in blocks("ini"):
        unit, name = re.match(r"# (\S+)\.d/(\S+)\n", block).groups()
        unit = unit.replace("@", "@x")
        os.makedirs(f"{tmp}/{unit}.d", exist_ok=True)
        with open(f"{tmp}/{unit}", "w", encoding="utf-8") as f:
            f.write("[Service]\nExecStart=/bin/true\n")
        with open(f"{tmp}/{unit}.d/{name}", "w", encoding="utf-8") as f:
            f.write(block)
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", f"{tmp}/{unit}"],
                              capture_output=True, text=True, timeout=30, check=False)
        assert not re.search(r"weir\.conf|Unknown|assignment", said.stderr), said.stderr


def prepared(tmp, name):
    """What the commands of the page find in the directory they are typed in."""
    for script in ("eleven_lines.tcl", "Hello.java"):
        shutil.copy(os.path.join(SCRIPTS, script), tmp)
    port = lib.free_port()
    with open(f"{tmp}/mosquitto.conf", "w", encoding="utf-8") as f:
        f.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    if name == "java":
        if not os.path.exists(COMPILER):
            raise lib.Skip("libecj-java is not installed")
        common.done("java", "-cp", COMPILER, "org.eclipse.jdt.internal.compiler.batch.Main",
                    "-11", "-d", tmp, f"{tmp}/Hello.java")
    return port


def recipe(number, name):
    """A test that runs the page's command of that number, with a port of its own."""
    def test(tmp):
        common.need(name)
        os.chmod(tmp, 0o777)
        words = blocks("sh")[number].split()
        assert words[:3] == ["weir", "run", name], words
        port = prepared(tmp, name)
        words = [re.sub(r"^(8000|8080|11211)$", str(port), word) for word in words]
        env = lib.clean_environment(STREAM_METRICS_SOCKET=f"{tmp}/m",
                                    PATH=os.environ["PATH"] + ":/usr/sbin")
        with open(f"{tmp}/log", "wb") as log, common.running(
                port, lib.WEIR, *words[1:], cwd=tmp, env=env, stdout=log,
                stderr=log) as server:
            with socket.create_connection(("127.0.0.1", port), lib.LIMIT):
                [family] = lib.within(lambda: [
                    f for f in json.loads(lib.weir("ps", "-j")[1]) if f["pid"] == server.pid])
                assert family["program"] == name and family["socket"] == f"{tmp}/m", family
            status, out, _ = lib.weir("check", server.pid)
            assert status == 0, out
    test.__name__ = f"{name}_is_watched"
    return test


def postgresql_is_watched(tmp):
    """Debian's own scripts make a cluster and start it, with the page's environment file."""
    common.need("pg_createcluster")
    if os.geteuid() == 0:
        who, dropped = pwd.getpwnam("postgres"), ["setpriv", "--reuid=postgres",
                                                  "--regid=postgres", "--init-groups"]
        os.chown(tmp, who.pw_uid, who.pw_gid)
    else:
        dropped = []
    # Where that user may read it, as he may where packages put it.
    library = shutil.copy(lib.LIB, f"{tmp}/libweir.so")
    os.chmod(library, 0o644)
    [block] = blocks("conf")
    block, count = re.subn(r"(?m)^(LD_PRELOAD = ).*", rf"\1'{library}'", block)
    assert count == 1
    version = max(os.listdir("/usr/lib/postgresql"), key=int)
    env = lib.clean_environment(PG_CLUSTER_CONF_ROOT=tmp)
    port = lib.free_port()

    def do(*command):
        common.done(*dropped, *command, env=env, cwd=tmp)
    do("pg_createcluster", version, "weir", f"--datadir={tmp}/data", f"--port={port}",
       f"--socketdir={tmp}", f"--logfile={tmp}/log", "--", "-N", "-A", "trust")
    with open(f"{tmp}/{version}/weir/environment", "a", encoding="utf-8") as f:
        f.write(f"{block}STREAM_METRICS_SOCKET = '{tmp}/m'\n")
    do("pg_ctlcluster", version, "weir", "start")
    try:
        with socket.create_connection(("127.0.0.1", port), lib.LIMIT):
            [family] = lib.within(lambda: [
                f for f in json.loads(lib.weir("ps", "-j")[1]) if f["socket"] == f"{tmp}/m"])
        assert family["program"] == "postgres", family
    finally:
        do("pg_ctlcluster", version, "weir", "stop", "-m", "immediate")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        sys.exit(write())
    lib.run([ratios_are_the_readmes, names_exist, drop_ins_are_understood,
             *(recipe(nr, name) for nr, name in enumerate(
                 ("python3", "tclsh", "memcached", "mosquitto", "java"))),
             postgresql_is_watched])
