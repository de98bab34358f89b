"""weir run starts servers, or refuses with a status and a sentence that says what to do."""
import os
import shutil
import struct
import subprocess

import lib

CAT = "/usr/bin/cat"


def compiler():
    return os.environ.get("CC", "gcc").split()


def compiled(tmp, name, *options, source="int main(void) { return 0; }"):
    path = os.path.join(tmp, name)
    done = subprocess.run([*compiler(), "-x", "c", "-", "-o", path, *options],
                          input=source, text=True, capture_output=True, check=False)
    if done.returncode:
        raise lib.Skip("cannot be compiled here: " + done.stderr.splitlines()[-1])
    return path


def refused(status, *args, says, env=None):
    """With that status, nothing on stdout and one line that says so; check agrees."""
    got, out, err = lib.weir("run", *args, env=env)
    assert got == status and not out, (got, out, err)
    assert len(err.splitlines()) == 1 and err.startswith("weir: run: "), err
    for word in (says,) if isinstance(says, str) else says:
        assert word in err, err


def refused_program(path, reason, says):
    refused(125, path, says=says)
    status, out, _ = lib.weir("check", "-j", path)
    assert status == 1, out
    assert f'"reason":"{reason}"' in out and '"watched":false' in out, out
    assert f"because {reason}: " in lib.weir("check", path)[1]


def a_server_runs_and_is_found(tmp):
    """In its own place: no process of weir's is left between."""
    script = os.path.join(lib.HERE, "server.py")
    with lib.Server(native=True, prefix=(
            lib.WEIR, "run", "--socket", f"{tmp}/%e.%p", "--response-chunk=4K", "--delay", "900",
            "--request-chunk", "0", "--no-pool", "--"), python=lib.PYTHON) as server:
        server.turns(server.client())
        [family] = lib.within(lambda: [f for f in lib.weir_json("ps", "-j")
                                       if f["pid"] == server.pid])
        assert family["socket"] == f"{tmp}/python3.{server.pid}", family
        with open(f"/proc/{server.pid}/cmdline", encoding="utf-8") as f:
            assert f.read() == f"{lib.PYTHON}\0{script}\0"
        with open(f"/proc/{server.pid}/environ", encoding="utf-8") as f:
            env = dict(v.split("=", 1) for v in f.read().split("\0") if "=" in v)
        assert {k: v for k, v in env.items() if k.startswith("STREAM_")} == {
            "STREAM_METRICS_SOCKET": f"{tmp}/%e.%p", "STREAM_RESPONSE_CHUNK_SIZE": "4K",
            "STREAM_FLUSH_DELAY_US": "900", "STREAM_REQUEST_CHUNK_SIZE": "0",
            "STREAM_BUFFER_POOL_ENABLED": "0"}, env


def the_status_is_the_command_s(tmp):
    assert lib.weir("run", "sh", "-c", "exit 7")[0] == 7
    assert lib.weir("run", "sh", "-c", "kill -9 $$")[0] == -9
    assert lib.weir("run", "--observe", "sh", "-c", "echo $STREAM_REQUEST_CHUNK_SIZE,"
                    "$STREAM_RESPONSE_CHUNK_SIZE,$1", "x", "--chunk")[1] == "0,0,--chunk\n"
    # What has no "#!" is a shell's, as with env.
    path = os.path.join(tmp, "bare")
    with open(path, "w", encoding="utf-8") as f:
        f.write("echo $0 $1\n")
    os.chmod(path, 0o755)
    assert lib.weir("run", path, "a b")[:2] == (0, f"{path} a b\n")


def an_existing_preload_is_kept(tmp):
    other = compiled(tmp, "other.so", "-shared", "-fPIC", source="int nothing;")
    env = lib.clean_environment(LD_PRELOAD=other)
    look = 'echo $LD_PRELOAD; grep -cE "other.so|libweir.so" /proc/self/maps'
    status, out, err = lib.weir("run", "bash", "-c", look, env=env)
    assert status == 0 and out.split()[0] == f"{other}:{lib.LIB}", (out, err)
    assert int(out.split()[1]) > 1, out
    # It is not added twice, and another one is not mixed with it.
    env["LD_PRELOAD"] = lib.LIB
    assert lib.weir("run", "bash", "-c", "echo $LD_PRELOAD", env=env)[1] == lib.LIB + "\n"
    os.mkdir(f"{tmp}/old")
    env["LD_PRELOAD"] = shutil.copy(lib.LIB, f"{tmp}/old/libweir.so")
    refused(125, "true", says=(f"{tmp}/old/libweir.so", "unset LD_PRELOAD"), env=env)


def missing(tmp):
    refused(127, "no-such-program", says="no such program in PATH")
    refused(127, f"{tmp}/nothing", says="no such program")
    refused(126, tmp, says="cannot be executed")
    path = os.path.join(tmp, "plain")
    shutil.copy(CAT, path)
    os.chmod(path, 0o644)
    refused(126, path, says="cannot be executed")
    assert lib.weir("check", "no-such-program")[0] == 3
    assert lib.weir("check", path)[0] == 1


def static(tmp):
    refused_program(compiled(tmp, "static", "-static"), "static",
                    ("statically linked", "use a dynamically linked build"))
    refused_program(compiled(tmp, "static-pie", "-static-pie"), "static", "statically linked")


def go(tmp):
    """What its linker leaves tells, with C's part in the program or without."""
    says = ("Go program", "leave the library off")
    refused_program(compiled(tmp, "cgo", source=(
        '__asm__(".section .go.buildinfo,\\"a\\"\\n.ascii \\"go\\"\\n.text");'
        "int main(void) { return 0; }")), "go", says)
    refused_program(compiled(tmp, "go", "-static", source=(
        '__asm__(".section .note.go.buildid,\\"a\\",@note\\n.long 4,4,4\\n.ascii \\"Go\\\\0\\\\0\\"\\n'
        '.ascii \\"abcd\\"\\n.text");int main(void) { return 0; }')), "go", says)
    if os.path.exists("/usr/bin/prometheus"):
        refused_program("/usr/bin/prometheus", "go", says)


def set_uid(tmp):
    for bits in (0o4755, 0o2755):
        path = shutil.copy(CAT, f"{tmp}/cat{bits:o}")
        os.chmod(path, bits)
        refused_program(path, "setuid", ("set-user-ID", "a copy of it without the bit"))


def file_capabilities(tmp):
    lib.need_root()
    path = shutil.copy(CAT, f"{tmp}/cat")
    try:  # net_bind_service, permitted and effective
        os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    except OSError as why:
        raise lib.Skip(f"no file capabilities here: {why}") from why
    refused_program(path, "capability", ("file capabilities", "AmbientCapabilities"))


def another_libc_or_machine(tmp):
    refused_program(compiled(tmp, "musl", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"),
                    "libc", "another libc than the library")
    path = shutil.copy(CAT, f"{tmp}/cat")
    with open(path, "r+b") as f:
        f.seek(18)
        f.write(struct.pack("<H", 243))  # RISC-V
    refused_program(path, "machine", "another processor")


def scripts(tmp):
    """What runs a script decides, through any number of them and through env."""
    program = compiled(tmp, "static", "-static")

    def script(name, line):
        path = os.path.join(tmp, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(line + "\n")
        os.chmod(path, 0o755)
        return path
    first = script("first", f"#!{program} -x")
    refused_program(first, "static", program)
    refused_program(script("second", f"#! {first}"), "static", program)
    env = lib.clean_environment(PATH=f"{tmp}:{os.environ['PATH']}")
    refused(125, script("third", "#!/usr/bin/env static"), says=program, env=env)
    refused(127, script("fourth", "#!/usr/bin/env no-such-program"), says="no-such-program")
    refused(127, script("fifth", "#!/no/such/program"), says="cannot be executed")
    good = script("good", "#!/usr/bin/env -S bash -u\necho fine")
    assert lib.weir("run", good)[:2] == (0, "fine\n")
    refused(126, script("loop", f"#!{tmp}/loop"), says="names nothing that runs it")


def damaged_files(tmp):
    """No file, however broken, is run or ends the command."""
    with open(CAT, "rb") as f:
        whole = f.read()
    path = os.path.join(tmp, "cat")
    for size in (4, 15, 16, 63, 64, 100):
        with open(path, "wb") as f:
            f.write(whole[:size])
        os.chmod(path, 0o755)
        assert lib.weir("check", path)[0] == 1, size
    # Where its program headers are, how many, and its sections, which nobody needs to run it.
    for at, value, status in ((32, b"\xff" * 8, 1), (56, b"\xff" * 2, 1), (40, b"\xff" * 8, 0)):
        with open(path, "wb") as f:
            f.write(whole[:at] + value + whole[at + len(value):])
        assert lib.weir("check", path)[0] == status, at


def missing_library(tmp):
    def with_lib(path):
        return lib.clean_environment(WEIR_LIB=path)
    refused(125, "true", says=(f"{tmp}/gone.so", "install it"), env=with_lib(f"{tmp}/gone.so"))
    bad = os.path.join(tmp, "bad.so")
    with open(bad, "w", encoding="utf-8") as f:
        f.write("nonsense")
    refused(125, "true", says="no library", env=with_lib(bad))
    spaced = shutil.copy(lib.LIB, f"{tmp}/a b.so")
    refused(125, "true", says="put it elsewhere", env=with_lib(spaced))
    # A missing program is the worse of two.
    refused(127, "no-such-program", says="no such program", env=with_lib(bad))


def bad_options(_):
    for options in (["--chunk", "12"], ["--chunk", "2M"], ["--chunk"], ["--chunk", "0x400"],
                    ["--chunk", "1024k1"], ["--response-chunk=99999999999999999999"],
                    ["--delay", "1000001"], ["--delay", "-1"], ["--delay", ""],
                    ["--socket", "%x"], ["--socket", "a%"], ["--socket="], ["--nosuch"],
                    ["--observe=1"], ["-x"]):
        args = [*options] if options == ["--chunk"] else [*options, "true"]
        status, out, err = lib.weir("run", *args)
        assert status == 125 and not out and err, options
    assert lib.weir("run")[0] == 125
    assert lib.weir("run", "--")[0] == 125
    refused(125, "true", says="unset it", env=lib.clean_environment(STREAM_ENABLED="no"))
    for good in (["--chunk", "1M"], ["--chunk", "1k"], ["--delay", "0"], ["--socket", "off"],
                 ["--chunk=0"]):
        assert lib.weir("run", *good, "true")[0] == 0, good


if __name__ == "__main__":
    lib.run([a_server_runs_and_is_found, the_status_is_the_command_s,
             an_existing_preload_is_kept, missing, static, go, set_uid, file_capabilities,
             another_libc_or_machine, scripts, damaged_files, missing_library, bad_options])
