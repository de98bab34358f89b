"""Debian's packages of weir in use: installed, under Debian's own servers and units, removed.

Runs as root in a system that is thrown away (machine.sh), beside the packages, the drop-ins
(NAME.conf for NAME.service), and the scripts that it needs of tests/cli and tests/servers.
The tests follow on each other: the first installs what the last removes.
"""
import glob
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys

import lib

UNITS = ("memcached", "redis-server")
PORTS = {"memcached": 11211, "redis-server": 6379}
PACKAGES_LIMIT = 120  # seconds, of which triggers take most
SPEAK = {"memcached": "memcached", "redis-server": "redis"}
# What others write meanwhile: the package system, servers, systemd. The group stays (Debian's
# policy leaves it open): its number must not become another's while a file of it is left.
OTHERS = ("/etc/group", "/etc/gshadow", "/var/cache", "/var/log", "/var/lib/apt",
          "/var/lib/dpkg", "/var/lib/redis", "/var/tmp", "/weir-test")
before = {}


def do(*command, status=0, limit=lib.LIMIT, **how):
    """Its output; it must end as expected."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=limit, check=False, **how)
    assert status is None or done.returncode == status, (command, done)
    return done.stdout


def apt(*words):
    do("apt-get", "-q", "-y", "--no-install-recommends", *words, limit=PACKAGES_LIMIT,
       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def files():
    """What was written here so far: path to what it is. What was taken away is a device."""
    found = do("find", "/weir-above", "-mindepth", "1", "-printf", r"/%P\t%y %m %U %G %s %l\n")
    lines = (line.split("\t") for line in found.splitlines())
    return {path: what for path, what in lines if not path.startswith(OTHERS)
            # A directory in which something was written is a copy.
            and not (what[0] == "d" and os.path.isdir("/weir-below" + path))}


def families():
    """By program's name; none is no failure."""
    _, out, _ = lib.weir("ps", "--json")
    return {f["program"]: f for f in json.loads(out)}


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def metric(path, name):
    """The sum over all labels."""
    text = do("curl", "-sS", "--unix-socket", path, "http://localhost/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith((name + "{", name + " ")))


def the_packages_install(_):
    do("dpkg", "--purge", "weir", "libweir")
    do("groupdel", "weir", status=None)
    before.update(files())
    apt("install", *glob.glob(os.path.abspath("*.deb")))
    assert do("dpkg-query", "-W", "-f", "${db:Status-Status} ", "weir", "libweir") == \
        "installed installed "
    what = os.stat("/run/weir")
    assert stat.S_IMODE(what.st_mode) == 0o3777 and what.st_uid == 0
    assert do("getent", "group", str(what.st_gid)).startswith("weir:")


def what_is_installed_runs(_):
    for how in (["weir", "run"], ["LD_PRELOAD=/usr/$LIB/weir/libweir.so"]):
        with lib.Server(prefix=["env", "-u", "WEIR_LIB", *how], native=True) as server:
            server.turns(server.client())
            found = lib.within(lambda s=server: [
                f for f in families().values() if f["pid"] == s.pid])
            assert found[0]["socket"].startswith("/run/weir/python3."), found


def the_group_reads_and_others_do_not(_):
    with lib.Server(prefix=["setpriv", "--reuid=65534", "--regid=65534",
                            "--clear-groups", "--"], STREAM_METRICS_SOCKET_MODE="0660") as server:
        server.turns(server.client())
        path = lib.within(lambda: [f for f in families().values()
                                   if f["pid"] == server.pid])[0]["socket"]
        what = os.stat(path)
        assert stat.S_IMODE(what.st_mode) == 0o660 and what.st_uid == 65534, what
        weir = str(what.st_gid)
        assert do("getent", "group", weir).startswith("weir:")
        ask = ["curl", "-sS", "--unix-socket", path, "http://localhost/healthz"]
        member = ["setpriv", "--reuid=1", "--regid=1", "--groups", weir, "--", *ask]
        other = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "--", *ask]
        assert json.loads(do(*member))["pid"] == server.pid
        assert do(*other, status=7) == ""  # curl: could not connect


def load(unit):
    do(sys.executable, "load_kv.py", "--speak", SPEAK[unit], "--port", str(PORTS[unit]),
       "--clients", "2", "--pipeline", "16", "--least", "4000")


def started(unit):
    """Restarted; its pid, as soon as it listens."""
    do("systemctl", "daemon-reload")
    do("systemctl", "restart", unit)
    lib.within(lambda: listens(PORTS[unit]))
    return int(do("systemctl", "show", "-P", "MainPID", unit))


def debians_servers_run_under_their_drop_ins(_):
    for unit in UNITS:
        place = f"/run/systemd/system/{unit}.service.d"
        os.makedirs(place)
        shutil.copy(f"{unit}.conf", f"{place}/weir.conf")
    said = subprocess.run(["systemd-analyze", "verify", *(f"{u}.service" for u in UNITS)],
                          capture_output=True, text=True, timeout=lib.LIMIT, check=True).stderr
    assert "weir" not in said, said
    for unit in UNITS:
        pid = started(unit)
        load(unit)
        family = lib.within(lambda u=unit: families().get(u))
        path = family["socket"]
        assert family["pid"] == pid and path.startswith("/run/weir/"), family
        assert do("stat", "-c", "%a %G", path) == "660 weir\n"
        assert metric(path, "weir_internal_errors_total") == 0
        assert lib.within(lambda p=path: metric(p, "weir_streams_opened_total") >= 2)
        do("weir", "check", str(pid))
        writes = [metric(path, f"weir_{whose}_writes_total") for whose in ("app", "kernel")]
        print("# {}: {:.0f} writes, {:.0f} to the kernel".format(unit, *writes))
        # redis gathers its replies itself.
        assert writes[1] < writes[0] / 2 or unit != "memcached", writes


def redis_writes_where_its_drop_in_lets_it(_):
    place = "/run/systemd/system/redis-server.service.d/weir.conf"
    with open(place, encoding="utf-8") as f:
        ours = f.read()
    # What ProtectSystem=strict means. Here, in a container, it may leave /run as it is.
    strict = ours + "ReadOnlyPaths=/run\n"
    for text, seen in ((strict, True), (strict.replace("ReadWritePaths=", "#"), False),
                       (ours, True)):
        with open(place, "w", encoding="utf-8") as f:
            f.write(text)
        pid = started("redis-server")
        load("redis-server")
        family = lib.within(lambda: families().get("redis-server"))
        assert family["pid"] == pid
        # Where it is not, root still finds it, behind PrivateTmp.
        hidden = f"/proc/{pid}/root/tmp/weir-"
        assert family["socket"].startswith("/run/weir/" if seen else hidden), (text, family)


def the_exporter_is_off_until_it_is_wanted(_):
    unit = "weir-exporter.service"
    assert do("systemctl", "is-enabled", unit, status=1) == "disabled\n"
    assert do("systemctl", "is-active", unit, status=3) == "inactive\n"
    assert not do("systemd-analyze", "verify", unit)
    exposure = do("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
    print("#", exposure)
    assert float(re.search(r": ([0-9.]+) ", exposure)[1]) < 2
    do("systemctl", "enable", "--now", unit)


def exporter():
    """Its pid and the programs of which it has figures. Who does not answer within a second is left out, until the
    next time."""
    pid = int(do("systemctl", "show", "-P", "MainPID", "weir-exporter"))
    lib.within(lambda: listens(9464))

    def programs():
        text = do("curl", "-sS", "http://127.0.0.1:9464/metrics")
        found = set(re.findall(r'^weir_processes{program="(.*?)"}', text, re.M))
        return found if found >= set(UNITS) else None
    return pid, lib.within(programs)


def the_exporter_reads_what_its_group_may(_):
    with lib.Server() as private:  # 0600, of root
        private.turns(private.client())
        pid, programs = exporter()
        assert programs == set(UNITS), programs
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["Uid"].split()[0] != "0" and int(status["CapEff"], 16) == 0, status
    assert do("getent", "group", status["Gid"].split()[0]).startswith("weir:")


def an_upgrade_starts_the_exporter_again(_):
    old, _ = exporter()
    do("dpkg", "-i", *glob.glob("*.deb"), limit=PACKAGES_LIMIT)
    new, programs = exporter()
    assert new not in (0, old) and programs == set(UNITS), (old, new, programs)


def what_runs_outlives_the_packages(_):
    apt("remove", "weir", "libweir")
    assert not listens(9464)
    for unit in UNITS:
        load(unit)
        started(unit)
        load(unit)


def nothing_is_left(_):
    apt("purge", "weir", "libweir")
    assert not os.path.exists("/run/weir")
    after = files()
    left = {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()
            if before.get(path) != after.get(path)}
    assert not left, left


def do_without_user_namespaces():
    """Where none can be made, as in what was started in a chroot, units get none."""
    if subprocess.run(["unshare", "-U", "true"], stderr=subprocess.DEVNULL).returncode:
        print("# PrivateUsers= is not tried: no user namespace can be made here")
        os.makedirs("/run/systemd/system/service.d")
        with open("/run/systemd/system/service.d/users.conf", "w", encoding="utf-8") as f:
            f.write("[Service]\nPrivateUsers=no\n")
        do("systemctl", "daemon-reload")


if __name__ == "__main__":
    do_without_user_namespaces()
    lib.run([the_packages_install, what_is_installed_runs, the_group_reads_and_others_do_not,
             debians_servers_run_under_their_drop_ins, redis_writes_where_its_drop_in_lets_it,
             the_exporter_is_off_until_it_is_wanted, the_exporter_reads_what_its_group_may,
             an_upgrade_starts_the_exporter_again, what_runs_outlives_the_packages, nothing_is_left])
