"""Servers that speak SQL, beside PostgreSQL: MariaDB, and pgbouncer."""

import os
import pwd
import struct

import lib
import postgres
import servers

MYSQL_FLAGS = (1 << 0 | 1 << 9 | 1 << 15 | 1 << 24)  # 4.1 protocol, OK instead of EOF


class Mariadb(lib.Server):
    """A data directory made anew, open to all."""

    def __init__(self, preload, directory, **kw):
        self.data = os.path.join(directory, "data")
        port = lib.free_port()
        self.install = lib.tool("mariadb-install-db", "mariadb-server-core")
        user = "nobody" if os.geteuid() == 0 else None
        argv = [lib.tool("mariadbd", "mariadb-server-core"), "--no-defaults",
                f"--datadir={self.data}", f"--port={port}", "--bind-address=127.0.0.1",
                f"--socket={directory}/sql.sock", f"--pid-file={directory}/sql.pid",
                "--skip-grant-tables", "--skip-name-resolve"]
        super().__init__(argv, f"127.0.0.1:{port}", preload, directory, user=user, **kw)

    def start(self):
        who = {}
        if self.user:
            entry = pwd.getpwnam(self.user)
            lib.give(self.directory, entry)
            who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        postgres.quiet([self.install, "--no-defaults", f"--datadir={self.data}",
                        "--skip-test-db", "--auth-root-authentication-method=normal"],
                       cwd="/", **who)
        super().start()


def packet(number, body):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def mariadb(directory, preload, **kw):
    """The server, and `select 1` over the wire.

    The login is followed by a first query at once, so that its reply ends as that of
    every query does: the fourth packet, an OK in place of an end of rows.
    """
    login = struct.pack("<IIB23x", MYSQL_FLAGS, 1 << 24, 33) + b"root\0\0"
    query = packet(0, b"\x03select 1")
    load = lib.Load(request=query, until=b"\x04\xfe\0\0\2\0\0\0",
                    prologue=packet(1, login) + query)
    return Mariadb(preload, directory, **kw), load


PGBOUNCER = """\
[databases]
postgres = host=127.0.0.1 port={backend} user=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
"""


def pgbouncer(directory, preload, template=None, **kw):
    """pgbouncer in front of a PostgreSQL that never gets the library."""
    binary, port = lib.tool("pgbouncer", "pgbouncer"), lib.free_port()
    backend, load = postgres.make(os.path.join(directory, "backend"), False,
                                  template=template)
    conf = servers.put(directory, "pgbouncer.ini",
                       PGBOUNCER.format(port=port, backend=backend.port))
    server = servers.Fronted(backend, [binary, conf], f"127.0.0.1:{port}", preload,
                             directory, user=postgres.owner(), **kw)
    return server, load
