"""weir check PID says whether the library is at work there, and what it does not see."""
import json
import os
import shutil
import subprocess

import lib
from test_run import compiled


def check(pid):
    """The status, and what it says, in both forms."""
    status, out, err = lib.weir("check", "-j", pid)
    assert status in (0, 1) and not err, (status, err)
    found = json.loads(out)
    assert found["watched"] == (status == 0)
    text = lib.weir("check", pid)
    assert text[0] == status and (": watched\n" in text[1]) == found["watched"], text
    for entry in found["reasons"] + found["hidden"] + found["bypassed"]:
        assert entry["reason"] in text[1] and entry["text"] in text[1], (entry, text)
    return found


def reasons(entries):
    return [e["reason"] for e in entries]


def at_work(tmp):
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/%e.%p") as server:
        server.turns(server.client())
        lib.within(lambda: check(server.pid)["socket"])
        found = check(server.pid)
        assert found["watched"] and not found["reasons"] and not found["bypassed"], found
        assert found["socket"] == f"{tmp}/python3.{server.pid}"
        assert found["hidden"] == [], found


def a_worker_of_a_family(tmp):
    """Any process of it."""
    script = ("import os, socket; s = socket.socket(); s.listen(); pid = os.fork()\n"
              "if pid: print(pid, flush=True)\n"
              "import signal; signal.pause()")
    with subprocess.Popen(["env", f"LD_PRELOAD={lib.LIB}", lib.PYTHON, "-c", script],
                          env=lib.clean_environment(STREAM_METRICS_SOCKET=f"{tmp}/s"),
                          stdout=subprocess.PIPE) as server:
        child = int(server.stdout.readline())
        try:
            assert lib.within(lambda: check(server.pid)["socket"]) == f"{tmp}/s"
            assert lib.within(lambda: check(child)["socket"]) == f"{tmp}/s"
        finally:
            os.kill(child, 9)
            server.kill()


def why_streams_were_left_alone(tmp):
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s") as server:
        client = server.client()
        server.turns(client)
        server.ask(client, "dup", 1)
        # Those that are open and all that ever were come by two answers, maybe of two moments.
        [entry] = lib.within(lambda: [e for e in check(server.pid)["bypassed"]
                                      if e["open"] and e["ever"]])
        assert entry["reason"] == "dup" and entry["open"] == 1 and entry["ever"] == 1, entry
        assert "duplicated" in entry["text"]


def what_passes_by(tmp):
    """A library loaded with RTLD_DEEPBIND, which no file tells, and an io_uring."""
    module = compiled(tmp, "module.so", "-shared", "-fPIC", source=(
        "#include <unistd.h>\nint f(void) { return (int)write(-1, \"\", 0); }"))
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s") as server:
        client = server.client()
        server.turns(client)
        assert check(server.pid)["hidden"] == []
        server.ask(client, "load", module)
        [entry] = check(server.pid)["hidden"]
        assert entry["reason"] == "deepbind", entry
        assert entry["text"].startswith(f"{module} calls libc's write itself"), entry
        no_ring = server.ask(client, "ring", 1)
        if no_ring:
            raise lib.Skip(f"no io_uring here: {no_ring}")
        assert sorted(reasons(check(server.pid)["hidden"])) == ["deepbind", "io_uring"]


def not_preloaded(_):
    with lib.Server(native=True) as server:
        found = check(server.pid)
        assert reasons(found["reasons"]) == ["not_preloaded"], found
        assert "weir run" in found["reasons"][0]["text"]


def switched_off(tmp):
    with lib.Server(STREAM_ENABLED="0") as server:
        assert reasons(check(server.pid)["reasons"]) == ["disabled"]
    with lib.Server(STREAM_ENABLED="OFF") as server:  # no switch to the library, which says so
        assert check(server.pid)["watched"]
    with lib.Server(STREAM_METRICS_SOCKET="off") as server:
        server.turns(server.client())
        found = check(server.pid)
        assert found["watched"] and reasons(found["hidden"]) == ["no_socket"], found
    assert os.listdir(tmp) == []


def waiting(program, **how):
    """The program runs until its input ends; ready is when it is what runs."""
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, **how)
    name = os.path.realpath(how.get("executable") or program[0])
    lib.within(lambda: os.path.realpath(f"/proc/{process.pid}/exe") == name)
    return process


def end(process):
    process.stdin.close()
    process.wait(lib.LIMIT)


def a_program_that_cannot_be(tmp):
    source = "#include <unistd.h>\nint main(void) { char c; return (int)read(0, &c, 1); }"
    program = compiled(tmp, "static", "-static", source=source)
    process = waiting([program], env=lib.clean_environment(LD_PRELOAD=lib.LIB))
    try:
        assert reasons(check(process.pid)["reasons"]) == ["static"]
    finally:
        end(process)


def a_library_that_is_not_there(tmp):
    """As in a container that LD_PRELOAD reaches, and the file does not."""
    gone = shutil.copy(lib.LIB, f"{tmp}/libweir.so")
    os.unlink(gone)
    process = waiting(["/usr/bin/cat"], env=lib.clean_environment(LD_PRELOAD=gone))
    try:
        found = check(process.pid)
        assert reasons(found["reasons"]) == ["not_there"], found
        assert gone in found["reasons"][0]["text"]
    finally:
        end(process)
    bad = f"{tmp}/libweir.so"
    with open(bad, "w", encoding="utf-8") as f:
        f.write("nonsense")
    process = waiting(["/usr/bin/cat"], env=lib.clean_environment(LD_PRELOAD=bad))
    try:
        assert reasons(check(process.pid)["reasons"]) == ["refused"]
    finally:
        end(process)


def no_such_process(_):
    process = subprocess.Popen(["true"])
    process.wait()
    status, out, err = lib.weir("check", process.pid)
    assert status == 3 and not out and "no process" in err, (status, out, err)
    assert lib.weir("check")[0] == 2


if __name__ == "__main__":
    lib.run([at_work, a_worker_of_a_family, why_streams_were_left_alone, what_passes_by,
             not_preloaded, switched_off, a_program_that_cannot_be,
             a_library_that_is_not_there, no_such_process])
