"""Python's ssl, reading: OpenSSL reads a header of five bytes, then the record.

The client encrypts all its records before it sends the first, so that the queue stays
full; only the server is measured, by itself.
"""

import json
import os
import ssl

import counts
import lib
import pairs
import postgres
import report
import servers

ABOUT = "TLS records read by Python's ssl"
SMALL, LARGE = 200, 16 << 10
SYSTEM = 0.15   # of native's system time, small records, queue full
CALLS = 1.1     # of native's receive calls, one record at a time
LARGE_RATE = 0.95
RECEIVE = ("read", "readv", "recvfrom", "recvmsg")


def certificate(directory):
    """A file with a key and a certificate signed with it."""
    path = os.path.join(directory, "server.pem")
    postgres.quiet([
        lib.tool("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-keyout", path, "-out", path + ".crt"])
    with open(path, "a", encoding="utf-8") as out:
        with open(path + ".crt", encoding="utf-8") as crt:
            out.write(crt.read())
    os.chmod(path, 0o644)
    return path


def make(directory, preload, pem=None, **kw):
    argv = [lib.PYTHON, servers.script("tls_reader.py"), pem]
    return lib.Server(argv, None, preload, directory, **kw), None


class Client:
    """TLS over memory, so that what is encrypted can be sent when it suits."""

    def __init__(self, server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = lib.connect(server.address)
        self.socket.settimeout(60)
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward)
        self.complete(self.tls.do_handshake)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def complete(self, step, *args):
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self.send()
                block = self.socket.recv(1 << 16)
                if not block:
                    raise RuntimeError("the TLS server closed") from None
                self.inward.write(block)
            else:
                self.send()
                return result

    def send(self):
        if self.outward.pending:
            self.socket.sendall(self.outward.read())

    def say(self, text):
        self.complete(self.tls.write, text)

    def hear(self):
        return self.complete(self.tls.read, 1 << 14)

    def begin(self, how, records, size):
        self.say(f"{how} {records} {size}".encode())
        if self.hear() != b"ready":
            raise RuntimeError("the TLS server is not ready")

    def sink(self, records, size):
        self.begin("sink", records, size)
        record = b"r" * size
        for _ in range(records):
            self.tls.write(record)
        self.send()
        return json.loads(self.hear())

    def echo(self, records, size):
        self.begin("echo", records, size)
        for i in range(records):
            record = b"%d " % i
            record += b"e" * (size - len(record))
            self.say(record)
            if self.hear() != record:
                raise RuntimeError("the TLS server answered something else")
        return json.loads(self.hear())


def full_queue(size, records, server):
    with Client(server) as client:
        return client.sink(records, size)


def small(out, pair, bench):
    records = 100_000 if bench.quick else 300_000
    runs = pairs.interleave(lambda s: full_queue(SMALL, records, s), pair,
                            bench.rounds(9))
    # The kernel divides a process's time by what a tick of 4 ms finds it in: the system
    # time of one run is a handful of ticks, so all runs together are compared.
    a, b = (sum(run["system"] for run in r) / records / len(r) * 1e6 for r in runs)
    share = pairs.ratio(b, a)
    out.row(f"{SMALL}-byte records, queue full: system CPU", f"{a:.2f} us a record",
            f"{b:.2f} us", f"{share:.2f} of native", f"<= {SYSTEM}", share <= SYSTEM)
    a, b = (records / pairs.median_of(r, "seconds") for r in runs)
    out.row(f"{SMALL}-byte records, queue full: records", report.rate(a),
            report.rate(b), report.times(b / a))
    out.raw["small"] = {"native": runs[0], "preloaded": runs[1]}


def large(out, pair, bench):
    records = 4000 if bench.quick else 8000
    runs = pairs.interleave(lambda s: full_queue(LARGE, records, s), pair,
                            bench.rounds(15))
    a, b = (records * LARGE / pairs.median_of(r, "seconds") / 1e6 for r in runs)
    share = lib.median([x["seconds"] / y["seconds"] for x, y in zip(*runs)])
    out.row("16 KiB records: throughput", f"{a:,.0f} MB/s", f"{b:,.0f} MB/s",
            report.times(share), f">= {LARGE_RATE}", share >= LARGE_RATE)
    out.raw["large"] = {"native": runs[0], "preloaded": runs[1]}


def native_calls(server, records):
    with Client(server) as client:
        client.echo(20, SMALL)
    with counts.Strace(server) as strace, Client(server) as client:
        client.echo(records, SMALL)
    return sum(strace.calls[call] for call in RECEIVE) / records


def own_count(server, records):
    before = server.samples()
    with Client(server) as client:
        client.echo(records, SMALL)
    after = server.samples()
    family = "weir_kernel_reads_total"
    return (lib.sum_of(after, family) - lib.sum_of(before, family)) / records


def one_at_a_time(out, pair, bench):
    """With the handshake in both; natively by strace, else by the library's counters,
    which tell what happens at full speed."""
    records = 1000 if bench.quick else 5000
    native = native_calls(pair[0], records)
    if not pair[1].preload:
        return
    ours = own_count(pair[1], records)
    out.row("one record at a time: receive calls", f"{native:.3f} a record",
            f"{ours:.3f}", f"{ours / native:.2f} of native", f"<= {CALLS}",
            ours <= CALLS * native)
    out.raw["one at a time"] = {"native": native, "preloaded": ours}


def run(out, bench):
    pem = certificate(bench.tmp)
    # On two cores the same records take 45 or 90 ms, with where their bytes lie.
    with lib.on_one_core(), pairs.both(make, bench.tmp, pem=pem) as (a, b, _):
        for part in (small, large, one_at_a_time):
            lib.log(f"tls: {part.__name__.replace('_', ' ')}")
            part(out, [a, b], bench)
