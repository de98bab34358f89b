"""The servers that are measured: small ones kept here, and Debian's own.

Each function makes a Server on 127.0.0.1 with files in a directory of its own and
returns (server, load); nothing is started yet. Keywords go to lib.Server: `via` is a
command in front of the server (valgrind), `env` adds variables.
"""

import os

import lib
import postgres

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL_FILE = "0123456789abcdef" * 64  # 1 KiB
LINE = lib.Load(request="hello\\n", until="\\n")


def put(directory, name, text):
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, 0o644)
    os.utime(path, (1e9, 1e9))  # Apache's ETag of a file changes while it is new
    return path


def script(name):
    return os.path.join(HERE, "scripts", name)


def dropped(user, kw):
    """Under valgrind a server starts as the user it would change to: valgrind's door
    for commands stays with whoever opened it."""
    return {**kw, "user": user} if "via" in kw else kw


def on_port(argv, preload, directory, **kw):
    """A server whose last argument is its port."""
    port = lib.free_port()
    return lib.Server([*argv, str(port)], f"127.0.0.1:{port}", preload, directory, **kw)


def python_http(directory, preload, **kw):
    put(directory, "index.html", "Hello, world.\n")
    argv = [lib.PYTHON, "-m", "http.server", "--protocol", "HTTP/1.1", "--bind",
            "127.0.0.1"]
    return on_port(argv, preload, directory, **kw), lib.Load()


def tcl_eleven(directory, preload, **kw):
    argv = [lib.tool("tclsh", "tcl"), script("eleven_lines.tcl")]
    return on_port(argv, preload, directory, **kw), lib.Load()


def tcl_one(directory, preload, **kw):
    argv = [lib.tool("tclsh", "tcl"), script("one_line.tcl")]
    return on_port(argv, preload, directory, **kw), LINE


def webrick(directory, preload, **kw):
    argv = [lib.tool("ruby", "ruby-webrick"), script("chunked.rb")]
    return on_port(argv, preload, directory, **kw), lib.Load()


def socketserver_eleven(directory, preload, **kw):
    argv = [lib.PYTHON, script("eleven_writes.py")]
    load = lib.Load(request="go\\n", until=".\\n")
    return on_port(argv, preload, directory, **kw), load


def socketserver_nodelay(directory, preload, **kw):
    """The same with TCP_NODELAY: no 40 ms natively, eleven small segments instead."""
    argv = [lib.PYTHON, script("eleven_writes.py"), "nodelay"]
    load = lib.Load(request="go\\n", until=".\\n")
    return on_port(argv, preload, directory, **kw), load


def two_write(directory, preload, **kw):
    argv = [lib.program("two_write"), "127.0.0.1:0"]
    return lib.Server(argv, None, preload, directory, **kw), lib.Load()


def pool_worker(directory, preload, **kw):
    argv = [lib.program("pool_worker"), "127.0.0.1:0"]
    return lib.Server(argv, None, preload, directory, **kw), LINE


class Memcached(lib.Server):
    def start(self):
        super().start()
        with lib.connect(self.address) as s:
            s.sendall(b"set k 0 0 64\r\n" + b"v" * 64 + b"\r\n")
            if s.recv(64) != b"STORED\r\n":
                raise RuntimeError("memcached did not store")


def memcached(directory, preload, connections=1024, **kw):
    port = lib.free_port()
    argv = [lib.tool("memcached", "memcached"), "-l", "127.0.0.1", "-p", str(port),
            "-u", "nobody", "-c", str(connections)]
    if "via" in kw:  # its housekeeping would blur the instructions of a request
        argv += ["-o", "no_lru_maintainer,no_lru_crawler"]
    load = lib.Load(request="get k\\r\\n", until="END\\r\\n")
    kw = dropped("nobody", kw)
    return Memcached(argv, f"127.0.0.1:{port}", preload, directory, **kw), load


class Redis(lib.Server):
    def start(self):
        super().start()
        with lib.connect(self.address) as s:
            s.sendall(b"SET k " + b"v" * 64 + b"\r\n")
            if s.recv(64) != b"+OK\r\n":
                raise RuntimeError("redis did not store")


def redis(directory, preload, **kw):
    port = lib.free_port()
    argv = [lib.tool("redis-server", "redis-server"), "--bind", "127.0.0.1", "--port",
            str(port), "--save", "", "--appendonly", "no", "--dir", directory]
    if "via" in kw:
        argv += ["--hz", "1", "--dynamic-hz", "no"]
    load = lib.Load(request="*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n", reply_bytes=71)
    return Redis(argv, f"127.0.0.1:{port}", preload, directory, **kw), load


NGINX = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 100000000;
	server {{ listen 127.0.0.1:{port}; root {dir}; }}
}}
"""


def nginx(directory, preload, **kw):
    port = lib.free_port()
    put(directory, "index.html", SMALL_FILE)
    conf = put(directory, "nginx.conf", NGINX.format(dir=directory, port=port))
    argv = [lib.tool("nginx", "nginx-light"), "-c", conf]
    kw = dropped("www-data", kw)
    return lib.Server(argv, f"127.0.0.1:{port}", preload, directory, **kw), lib.Load()


HAPROXY = """\
global
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	http-reuse always
frontend in
	bind 127.0.0.1:{port}
	default_backend web
backend web
	server one {backend}
"""


class Fronted(lib.Server):
    """A proxy in front of a server that never gets the library."""

    def __init__(self, backend, *args, **kw):
        self.backend = backend
        super().__init__(*args, **kw)

    def start(self):
        self.backend.start()
        super().start()

    def stop(self):
        super().stop()
        self.backend.stop()


def haproxy(directory, preload, **kw):
    port = lib.free_port()
    backend, load = nginx(os.path.join(directory, "backend"), False)
    conf = put(directory, "haproxy.cfg",
               HAPROXY.format(port=port, backend=backend.address))
    argv = [lib.tool("haproxy", "haproxy"), "-db", "-f", conf]
    address = f"127.0.0.1:{port}"
    return Fronted(backend, argv, address, preload, directory, **kw), load


TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogLevel Error
"""


def tinyproxy(directory, preload, **kw):
    """An HTTP proxy that reads header lines byte by byte, one request a connection."""
    port = lib.free_port()
    backend, _ = nginx(os.path.join(directory, "backend"), False)
    conf = put(directory, "tinyproxy.conf", TINYPROXY.format(port=port))
    argv = [lib.tool("tinyproxy", "tinyproxy"), "-d", "-c", conf]
    load = lib.Load(request=f"GET http://{backend.address}/ HTTP/1.1\\r\\n"
                            f"Host: {backend.address}\\r\\n\\r\\n")
    server = Fronted(backend, argv, f"127.0.0.1:{port}", preload, directory,
                     user="nobody", **kw)
    return server, load


SLAPD = """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {dir}/slapd.pid
database mdb
suffix "dc=example,dc=com"
directory {dir}/db
index objectClass eq
"""
ENTRIES = """\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=one,dc=example,dc=com
objectClass: person
cn: one
sn: one
"""


def ber(tag, *parts):
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body


def one_entry_search():
    """An anonymous LDAP search of one entry by its name, and the end of its answer."""
    number = ber(0x02, b"\x02")
    zero, never = ber(0x02, b"\x00"), ber(0x01, b"\x00")
    search = ber(0x63, ber(0x04, b"cn=one,dc=example,dc=com"), ber(0x0A, b"\x00"),
                 ber(0x0A, b"\x00"), zero, zero, never, ber(0x87, b"objectClass"),
                 ber(0x30))
    done = ber(0x65, ber(0x0A, b"\x00"), ber(0x04), ber(0x04))
    return ber(0x30, number, search), done


def slapd(directory, preload, **kw):
    port = lib.free_port()
    binary = lib.tool("slapd", "slapd")
    conf = put(directory, "slapd.conf", SLAPD.format(dir=directory))
    os.makedirs(os.path.join(directory, "db"), exist_ok=True)
    entries = put(directory, "entries.ldif", ENTRIES)
    postgres.quiet([lib.tool("slapadd", "slapd"), "-f", conf, "-l", entries])
    request, done = one_entry_search()
    argv = [binary, "-d", "0", "-f", conf, "-h", f"ldap://127.0.0.1:{port}"]
    server = lib.Server(argv, f"127.0.0.1:{port}", preload, directory, **kw)
    return server, lib.Load(request=request, until=done)


APACHE = """\
ServerRoot {dir}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {dir}/apache.pid
ErrorLog {dir}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot {dir}
"""


def apache(directory, preload, **kw):
    port = lib.free_port()
    put(directory, "small.txt", SMALL_FILE)
    conf = put(directory, "apache.conf", APACHE.format(dir=directory, port=port))
    argv = [lib.tool("apache2", "apache2"), "-D", "FOREGROUND", "-f", conf]
    kw = dropped("www-data", kw)
    server = lib.Server(argv, f"127.0.0.1:{port}", preload, directory, **kw)
    get = "GET /small.txt HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
    return server, lib.Load(request=get)


MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
log_type error
"""


def mosquitto(directory, preload, **kw):
    port = lib.free_port()
    conf = put(directory, "mosquitto.conf", MOSQUITTO.format(port=port))
    argv = [lib.tool("mosquitto", "mosquitto"), "-c", conf]
    return lib.Server(argv, f"127.0.0.1:{port}", preload, directory, **kw), None


COMPILER = "/usr/share/java/ecj.jar"


def java_http(directory, preload, **kw):
    java = lib.tool("java", "openjdk-17-jre-headless")
    if not os.path.exists(COMPILER):
        raise lib.Missing(f"{COMPILER} is missing: apt-get install libecj-java")
    postgres.quiet([java, "-cp", COMPILER, "org.eclipse.jdt.internal.compiler.batch.Main",
                    "-11", "-d", directory, script("Hello.java")])
    argv = [java, "-XX:+UseSerialGC", "-cp", directory, "Hello"]
    return on_port(argv, preload, directory, **kw), lib.Load()


NAMED = """\
options {{
	directory "{dir}";
	pid-file none;
	session-keyfile none;
	listen-on port {port} {{ 127.0.0.1; }};
	listen-on-v6 {{ none; }};
	recursion no;
	dnssec-validation no;
	minimal-responses yes;
}};
controls {{ }};
zone "example.com" {{ type primary; file "{dir}/zone"; }};
"""
ZONE = """\
$TTL 60
@ IN SOA ns hostmaster 1 60 60 60 60
@ IN NS ns
ns IN A 127.0.0.1
"""


def address_query():
    """A DNS query over TCP for the address of ns.example.com, and the size of its answer."""
    question = b"\2ns\7example\3com\0" + b"\0\1\0\1"
    query = b"\0\1\0\0" + b"\0\1" + bytes(6) + question
    answer = 16  # a pointer to the name, type, class, TTL, length, address
    return len(query).to_bytes(2, "big") + query, 2 + len(query) + answer


def named(directory, preload, **kw):
    port = lib.free_port()
    put(directory, "zone", ZONE)
    conf = put(directory, "named.conf", NAMED.format(dir=directory, port=port))
    argv = [lib.tool("named", "bind9"), "-g", "-n", "1", "-c", conf]
    request, size = address_query()
    server = lib.Server(argv, f"127.0.0.1:{port}", preload, directory, user="bind", **kw)
    return server, lib.Load(request=request, reply_bytes=size)


def postgresql(directory, preload, **kw):
    return postgres.make(directory, preload, **kw)
