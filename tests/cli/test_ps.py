"""weir ps and weir targets find families wherever their sockets are; weir help."""
import json
import os
import socket
import subprocess
import sys
import threading

import lib


def listed(pid, **how):
    """The family's entry, once it is there."""
    def look():
        status, out, _ = lib.weir("ps", "-j", **how)
        assert status in (0, 3)
        return [f for f in json.loads(out) if pid in (f["pid"], f["ownPid"])]
    return lib.within(look)[0]


def default_directory(tmp):
    with lib.Server(XDG_RUNTIME_DIR=tmp) as server:
        server.turns(server.client())
        env = lib.clean_environment(XDG_RUNTIME_DIR=tmp)
        family = listed(server.pid, env=env)
        assert family["program"] == "python3", family
        assert family["processes"] == 1 and family["streams"]["open"] == 1, family
        assert family["socket"] == f"{tmp}/weir/python3.{server.pid}.sock", family
        status, out, err = lib.weir("ps", env=env)
        head, *rows = out.splitlines()
        assert status == 0 and family["socket"] not in err, (status, err)
        assert head.split() == ["PID", "PROGRAM", "AGE", "PROCS", "STREAMS", "VERSION",
                                "SOCKET"]
        assert any(r.split()[0] == str(server.pid) and r.endswith(family["socket"])
                   for r in rows), out


def nothing_stays_behind(tmp):
    """Also not where a program gives itself, and those it starts, a directory of its own,
    and removes that in the end."""
    program = """
import os, socket, subprocess, sys
def talk():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.send(b"x"), server.recv(1)
talk()
if len(sys.argv) > 1:
    os.mkdir(sys.argv[1])
    os.environ["XDG_RUNTIME_DIR"] = sys.argv[1]
    subprocess.run([sys.executable, "-c", sys.orig_argv[2]], check=True)
    talk()
    os.rmdir(sys.argv[1])
"""
    runtime, own = os.path.join(tmp, "runtime"), os.path.join(tmp, "own")
    os.mkdir(runtime)
    subprocess.run([sys.executable, "-c", program, own], check=True, timeout=lib.LIMIT,
                   env=lib.clean_environment(XDG_RUNTIME_DIR=runtime, LD_PRELOAD=lib.LIB))
    os.rmdir(runtime)


def custom_path(tmp):
    """A relative one: only the process itself leads there."""
    with lib.Server(STREAM_METRICS_SOCKET="deep/%e-%p.weir", prefix=(
            "sh", "-c", 'cd "$0" && mkdir deep && exec "$@"', tmp)) as server:
        server.turns(server.client())
        assert listed(server.pid)["socket"] == f"{tmp}/deep/python3-{server.pid}.weir"


def a_path_that_no_address_holds(tmp):
    deep = os.path.join(tmp, "d" * 100, "e" * 100)
    os.makedirs(deep)
    with lib.Server(STREAM_METRICS_SOCKET=f"{deep}/%e.%p.sock") as server:
        server.turns(server.client())
        assert listed(server.pid)["socket"] == f"{deep}/python3.{server.pid}.sock"


def hidden_by_private_tmp(tmp):
    """As PrivateTmp does: a mount namespace with a /tmp of its own, into which the library and
    the server are brought, as they may lie in the other."""
    lib.need_mount_namespace()
    library = os.path.join("/run", os.path.basename(tmp) + ".so")
    script = os.path.join("/run", os.path.basename(tmp) + ".py")
    subprocess.run(["cp", lib.LIB, library], check=True)
    subprocess.run(["cp", os.path.join(lib.HERE, "server.py"), script], check=True)
    code = ('mount -t tmpfs none /tmp && mkdir /tmp/lib && cp "$0" /tmp/lib/libweir.so && '
            'exec env LD_PRELOAD=/tmp/lib/libweir.so "$1" "$2"')
    try:
        with subprocess.Popen(
                ["unshare", "-m", "sh", "-c", code, library, lib.PYTHON, script],
                env=lib.clean_environment(), stdout=subprocess.PIPE) as server:
            try:
                port = int(server.stdout.readline())
                with socket.create_connection(("127.0.0.1", port), lib.LIMIT) as client:
                    client.sendall(b"pieces 3\n")
                    assert client.recv(100)
                    family = listed(server.pid)
                assert family["socket"] == (f"/proc/{server.pid}/root/tmp/weir-0/"
                                            f"python3.{server.pid}.sock"), family
                status, out, _ = lib.weir("ps")
                assert status == 0 and family["socket"] in out
            finally:
                server.kill()
    finally:
        os.unlink(library)
        os.unlink(script)


def another_pid_namespace(tmp):
    """A family says the number it has there; the one that people here can use is shown."""
    lib.need_root()
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/%e.%p",
                    prefix=("unshare", "-p", "-f", "--kill-child")) as server:
        server.turns(server.client())
        found = lib.within(lambda: [
            f for f in json.loads(lib.weir("ps", "-j")[1]) if f["socket"] == f"{tmp}/python3.1"])
        with open(f"/proc/{found[0]['pid']}/cmdline", "rb") as f:
            assert b"server.py" in f.read()
        assert found[0]["ownPid"] == 1


def fixed_path_in_use(tmp):
    """The second family adds its pid to the path."""
    place = f"{tmp}/fixed"
    with lib.Server(STREAM_METRICS_SOCKET=place) as first:
        first.turns(first.client())
        assert listed(first.pid)["socket"] == place
        with lib.Server(STREAM_METRICS_SOCKET=place) as second:
            second.turns(second.client())
            assert listed(second.pid)["socket"] == f"{place}.{second.pid}"


def targets_for_prometheus(tmp):
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/%e.%p") as server:
        server.turns(server.client())
        listed(server.pid)
        [target] = [t for t in lib.weir_json("targets")
                    if t["labels"]["__unix_socket__"].startswith(tmp)]
        assert target == {
            "targets": [f"python3.{server.pid}"],
            "labels": {"__unix_socket__": f"{tmp}/python3.{server.pid}",
                       "program": "python3", "pid": str(server.pid)}}


def hostile_names_are_escaped(tmp):
    """A program may call itself what it likes."""
    evil = os.path.join(tmp, "x\033[31m\nfake")
    os.symlink(lib.PYTHON, evil)
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s", python=evil) as server:
        server.turns(server.client())
        assert listed(server.pid)["program"] == "x\033[31m\nfake"
        _, out, _ = lib.weir("ps")
        assert "x\\x1b[31m\\x0afake" in out and "\033" not in out, out
        assert "\nfake" not in out


def strangers_are_no_families(tmp):
    """Sockets in a default directory that say nonsense, hang, or are dead."""
    os.makedirs(f"{tmp}/weir")
    env = lib.clean_environment(XDG_RUNTIME_DIR=tmp)
    listeners = []
    for name in ("nonsense.1.sock", "hangs.2.sock", "dead.3.sock"):
        s = socket.socket(socket.AF_UNIX)
        s.bind(f"{tmp}/weir/{name}")
        s.listen()
        listeners.append(s)
    listeners[2].close()

    def talk():
        conn, _ = listeners[0].accept()
        with conn:
            conn.recv(1000)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    with lib.Server(XDG_RUNTIME_DIR=tmp) as server:
        server.turns(server.client())
        status, out, err = lib.weir("ps", env=env)
        assert status == 0 and f"python3.{server.pid}.sock" in out
        for name in ("nonsense", "hangs", "dead"):
            assert f"{name}." not in out, out
        assert "nonsense.1.sock" in err and "hangs.2.sock: no answer" in err, err
        assert "dead.3.sock" not in err, err
    thread.join(lib.LIMIT)
    listeners[0].close()
    listeners[1].close()


def nothing_found(tmp):
    """In namespaces of its own there is no family at all."""
    lib.need_mount_namespace()
    code = ("mount -t tmpfs none /tmp && mount -t tmpfs none /run && "
            f'"{lib.WEIR}" ps; echo $?; "{lib.WEIR}" ps -j; echo $?; '
            f'"{lib.WEIR}" targets; echo $?')
    if lib.WEIR.startswith("/tmp/"):
        # What is hidden is still open.
        code = code.replace(f'"{lib.WEIR}"', "/proc/self/fd/9")
    done = subprocess.run(
        ["unshare", "-m", "-p", "-f", "--mount-proc", "bash", "-c", code],
        env=lib.clean_environment(), capture_output=True, text=True, timeout=lib.LIMIT,
        check=False, pass_fds=(9,))
    assert done.stdout.split() == ["3", "[]", "3", "[]", "3"], done
    assert "no family found" in done.stderr


def help_and_usage(_):
    status, out, _ = lib.weir("help")
    assert status == 0
    verbs = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert {"ps", "targets", "help"} <= set(verbs)
    for verb in verbs:
        for how in (("help", verb), (verb, "-h")):
            status, out, err = lib.weir(*how)
            assert status == 0 and out.startswith(f"usage: weir {verb} ") and not err, how
    assert lib.weir("-V")[1].startswith("weir ")
    for bad in ((), ("nosuch",), ("help", "nosuch"), ("ps", "extra"), ("ps", "--nosuch")):
        status, out, err = lib.weir(*bad)
        assert status == 2 and not out and err, bad


if __name__ == "__main__":
    with open(lib.WEIR, "rb") as command:
        os.dup2(command.fileno(), 9)
        lib.run([default_directory, nothing_stays_behind, custom_path,
                 a_path_that_no_address_holds, hidden_by_private_tmp, another_pid_namespace,
                 fixed_path_in_use,
                 targets_for_prometheus, hostile_names_are_escaped,
                 strangers_are_no_families, nothing_found, help_and_usage])
