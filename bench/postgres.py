"""PostgreSQL for the benches: a throw-away cluster, one simple query, pgbench, COPY."""

import glob
import os
import pwd
import re
import shutil
import struct
import subprocess
import time

import lib

ROWS = 100_000  # pgbench's table at scale 1


def binary(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise lib.Missing(f"{name} is missing: apt-get install postgresql")
    return found[-1]


def owner():
    """The server refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


def quiet(argv, **kw):
    """Runs a set-up step; its output is shown only where it fails."""
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False, **kw)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.decode()[-400:]}")
    return done.stdout.decode()


def as_owner():
    if owner() is None:
        return {}
    return {"user": owner(), "group": owner(), "extra_groups": [], "cwd": "/"}


class Postgres(lib.Server):
    """A cluster made anew, or copied from one that has been filled (`template`)."""

    def __init__(self, preload, directory, template=None, **kw):
        self.port = lib.free_port()
        self.data = os.path.join(directory, "data")
        self.template = template
        argv = [binary("postgres"), "-D", self.data, "-p", str(self.port),
                "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                "-c", f"unix_socket_directories={directory}",
                "-c", "autovacuum=off", "-c", "wal_level=logical"]
        super().__init__(argv, f"127.0.0.1:{self.port}", preload, directory,
                         user=owner(), **kw)

    def start(self):
        if not os.path.exists(self.data):
            self.fill()
        super().start()

    def fill(self):
        if self.template:
            shutil.copytree(self.template, self.data)
        if owner():
            lib.give(self.directory, pwd.getpwnam(owner()))
        if not self.template:
            quiet([binary("initdb"), "-A", "trust", "-U", "bench", "-N", "-D",
                   self.data], **as_owner())
        else:
            os.chmod(self.data, 0o700)

    def client(self, program, *args):
        return [binary(program), "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench",
                *args, "postgres"]

    def answers(self):
        if not super().answers():
            return False
        ready = subprocess.run(self.client("pg_isready", "-q", "-d"), check=False)
        return ready.returncode == 0


def template(directory):
    """A stopped cluster with pgbench's tables; returns its data directory."""
    with Postgres(False, directory) as server:
        quiet(server.client("pgbench", "-i", "-q", "-s", "1"))
        return server.data


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def make(directory, preload, **kw):
    """The server, and a load that asks pgbench's one select over the wire."""
    hello = struct.pack("!I", 196608) + b"user\0bench\0database\0postgres\0\0"
    hello = struct.pack("!I", len(hello) + 4) + hello
    select = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1;\0"
    ready = b"Z\0\0\0\5I"
    load = lib.Load(request=message(b"Q", select), until=ready, prologue=hello)
    return Postgres(preload, directory, **kw), load


def pgbench(server, transactions):
    """pgbench -S on one connection, in the shape of the load client's result."""
    before = server.cpu()
    text = quiet(server.client("pgbench", "-S", "-n", "-c", "1", "-t",
                               str(transactions)))
    rate = float(re.search(r"tps = ([\d.]+)", text).group(1))
    return {"replies": transactions, "rate": rate, "cpu": server.cpu() - before}


def copy_out(server, rows):
    """COPY of the filled table, again and again, to one client; a reply is a row."""
    before, start = server.cpu(), time.monotonic()
    asked = ["-c", "COPY pgbench_accounts TO STDOUT"] * max(1, rows // ROWS)
    with open(os.devnull, "wb") as sink:
        subprocess.run(server.client("psql", "-q", "-X", *asked), stdout=sink,
                       check=True, timeout=lib.LOAD_TIMEOUT)
    seconds, rows = time.monotonic() - start, ROWS * len(asked) // 2
    return {"replies": rows, "seconds": seconds, "rate": rows / seconds,
            "cpu": server.cpu() - before}


def replicate(server, rows):
    """Rows inserted before, streamed through a logical replication slot; a reply is a row."""
    def sql(text):
        return quiet(server.client("psql", "-q", "-X", "-A", "-t", "-c", text)).strip()
    sql("SELECT pg_create_logical_replication_slot('bench', 'test_decoding')")
    sql(f"CREATE TABLE streamed AS SELECT generate_series(1, {rows}) AS row")
    end = sql("SELECT pg_current_wal_lsn()")
    receive = [binary("pg_recvlogical"), "-h", "127.0.0.1", "-p", str(server.port), "-U",
               "bench", "-d", "postgres", "-S", "bench", "-E", end, "--no-loop"]
    before, start = server.cpu(), time.monotonic()
    quiet([*receive, "--start", "-f", os.devnull])
    seconds, cpu = time.monotonic() - start, server.cpu() - before
    quiet([*receive[:-3], "--drop-slot"])
    sql("DROP TABLE streamed")
    return {"replies": rows, "seconds": seconds, "rate": rows / seconds, "cpu": cpu}
