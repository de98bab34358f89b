"""Shared by the tests of the weir command: TAP, servers under the library, the command."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../servers"))
from wire import free_port  # noqa: E402,F401 pylint: disable=wrong-import-position,unused-import
BUILD = os.environ.get("WEIR_BUILD") or os.getcwd()
LIB = os.environ.get("WEIR_LIB") or os.path.join(BUILD, "src/.libs/libweir.so")
WEIR = os.environ.get("WEIR_COMMAND") or os.path.join(BUILD, "src/cli/weir")
PYTHON = "/usr/bin/python3"
LIMIT = 30  # seconds that any wait may take


class Skip(Exception):
    pass


def clean_environment(**more):
    """This process's, without what would reach into a test."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("STREAM_") and k not in ("LD_PRELOAD", "XDG_RUNTIME_DIR")}
    env.update(LC_ALL="C.UTF-8", WEIR_LIB=LIB)
    env.update(more)
    return env


def weir(*args, env=None, limit=LIMIT, **how):
    """The command's result: status, stdout, stderr."""
    done = subprocess.run([WEIR, *map(str, args)], env=env or clean_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=limit, check=False, **how)
    return done.returncode, done.stdout, done.stderr


def weir_json(*args, env=None):
    status, out, err = weir(*args, env=env)
    assert status == 0, (status, out, err)
    return json.loads(out)


def within(what, seconds=LIMIT):
    """The first true value of what(), which must come in time."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


class Server:
    """server.py under the library, or natively. `prefix` runs before it, `args` go to it."""

    def __init__(self, *args, prefix=(), native=False, python=PYTHON, **variables):
        env = clean_environment(**variables)
        command = [] if native else ["env", f"LD_PRELOAD={LIB}"]
        self.process = subprocess.Popen(
            [*prefix, *command, python, os.path.join(HERE, "server.py"), *args], env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        self.said = self.process.stdout.readline().decode().strip()
        assert self.said, "the server did not start"
        self.clients = []

    @property
    def pid(self):
        return self.process.pid

    def client(self, path=None):
        c = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        c.settimeout(LIMIT)
        if not path:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        c.connect(path or ("127.0.0.1", int(self.said)))
        self.clients.append(c)
        return c

    def say(self, client, word, what):
        client.sendall(f"{word} {what}\n".encode())

    def ask(self, client, word, what):
        """The reply, without its newline."""
        self.say(client, word, what)
        got = b""
        while not got.endswith(b"\n"):
            more = client.recv(4096)
            assert more, "the server closed the connection"
            got += more
        return got[:-1].decode()

    def turns(self, client, nr=20, pieces=8):
        """A dialogue, every reply read to its end."""
        for _ in range(nr):
            assert len(self.ask(client, "pieces", pieces)) == 10 * pieces

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for c in self.clients:
            c.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(LIMIT)
        self.process.stdout.close()


def need_root():
    if os.geteuid() != 0:
        raise Skip("must be run as root")


def need_mount_namespace():
    """Not to be had in a chroot whose root is no mount point."""
    need_root()
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        raise Skip("no mount namespace can be made here")


def run(tests):
    """Runs functions that take a directory of their own; TAP."""
    if os.environ.get("WEIR_SANITIZER"):
        print("# a sanitized library is not preloaded into Debian's programs")
        sys.exit(77)
    failed = 0
    wanted = sys.argv[1:]
    tests = [t for t in tests if not wanted or t.__name__ in wanted]
    print(f"1..{len(tests)}")
    for nr, test in enumerate(tests, 1):
        name = test.__name__
        tmp = tempfile.mkdtemp(prefix="weir-cli.")
        try:
            test(tmp)
            print(f"ok {nr} - {name}", flush=True)
        except Skip as why:
            print(f"ok {nr} - {name} # SKIP {why}", flush=True)
        except Exception:  # a test's failure, whatever it is, is that test's
            failed += 1
            print(f"not ok {nr} - {name}")
            print("\n".join("# " + s for s in traceback.format_exc().splitlines()),
                  flush=True)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
    sys.exit(failed > 0)
