"""The README's table: what the library gives servers, and where to leave it off."""

import contextlib
import functools
import os

import counts
import lib
import pairs
import postgres
import report
import servers

ABOUT = "gains on real servers, and servers that have nothing to gain"


class Asked:
    """A server under the load client, with some connections and requests in flight."""

    def __init__(self, make, *extra, seconds=1.0, traced=400):
        self.make, self.extra = make, extra
        self.seconds, self.traced = seconds, traced

    @contextlib.contextmanager
    def measuring(self, subjects, load, bench):
        seconds = self.seconds * (0.4 if bench.quick else 1)
        yield lambda server: load.run(server, "-t", seconds, *self.extra)

    def calls(self, server, load):
        each = counts.calls_a_reply(server, load, self.traced, *self.extra)
        return sum(each.values())


class Fanned:
    """mosquitto with one publisher and some subscribers; a reply is a message."""

    def __init__(self, subscribers):
        self.make, self.subscribers = servers.mosquitto, subscribers

    def gate(self, server):
        return lib.Gate([lib.program("fan"), str(self.subscribers), server.address])

    @contextlib.contextmanager
    def measuring(self, subjects, load, bench):
        messages = 10_000 if bench.quick else 40_000
        with contextlib.ExitStack() as stack:
            gates = {s: stack.enter_context(self.gate(s)) for s in subjects}

            def one(server):
                before = server.cpu()
                result = gates[server].round(messages)
                return {**result, "cpu": server.cpu() - before}
            yield one

    def calls(self, server, load):
        with self.gate(server) as client:
            client.round(1000)
            with counts.Strace(server) as strace:
                client.round(2000)
        return sum(strace.calls.values()) / 2000


class Benched:
    """PostgreSQL by its own programs."""

    def __init__(self, filled, how, amount):
        self.make = functools.partial(servers.postgresql, template=filled)
        self.how, self.amount = how, amount

    @contextlib.contextmanager
    def measuring(self, subjects, load, bench):
        amount = self.amount // 4 if bench.quick else self.amount
        yield lambda server: self.how(server, amount)

    def calls(self, server, load):
        with counts.Strace(server, follow=True) as strace:
            done = self.how(server, self.amount // 8)["replies"]
        return sum(strace.calls.values()) / done


def subjects(filled):
    gain = {
        "`python3 -m http.server --protocol HTTP/1.1`":
            Asked(servers.python_http, traced=40),
        "Tcl, a reply of eleven flushed lines": Asked(servers.tcl_eleven, traced=40),
        "C, header and body in two writes": Asked(servers.two_write, traced=40),
        "WEBrick, chunked reply": Asked(servers.webrick, traced=40),
        "Java, the JDK's HttpServer": Asked(servers.java_http, traced=40),
        "bind9 over TCP, 1 client, 16 queries in flight":
            Asked(servers.named, "-d", "16", traced=1600),
        "memcached, 1 client, 16 requests in flight":
            Asked(servers.memcached, "-d", "16", traced=1600),
        "memcached, 8 clients, 16 requests in flight each":
            Asked(servers.memcached, "-d", "16", "-c", "8", traced=12800),
        "Python socketserver, eleven writes":
            Asked(servers.socketserver_eleven, traced=40),
        "Python socketserver, eleven writes, TCP_NODELAY":
            Asked(servers.socketserver_nodelay),
        "mosquitto, 1 subscriber, 32-byte QoS 0": Fanned(1),
        "mosquitto, 4 subscribers, 32-byte QoS 0": Fanned(4),
    }
    off = {
        "redis, no pipelining": Asked(servers.redis),
        "memcached, no pipelining": Asked(servers.memcached),
        "nginx, 1 KiB file": Asked(servers.nginx),
        "haproxy in front of nginx": Asked(servers.haproxy),
        "slapd, one-entry searches": Asked(servers.slapd),
        "Apache event, 1 KiB file": Asked(servers.apache),
    }
    if filled:
        # For more than a second: the end of psql is seen up to 50 ms late.
        gain["PostgreSQL, COPY to the client (a reply is a row)"] = Benched(
            filled, postgres.copy_out, 4_000_000)
        gain["PostgreSQL, logical replication (a reply is a row)"] = Benched(
            filled, postgres.replicate, 200_000)
        off["PostgreSQL, pgbench -S"] = Benched(filled, postgres.pgbench, 10_000)
    return gain, off


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def line(title, rates, cpus, calls):
    gain, share = pairs.ratio(rates[1], rates[0]), pairs.ratio(cpus[1], cpus[0])
    return (f"| {title} | {number(rates[0])} | {number(rates[1])} | "
            f"{number(gain) if gain >= 100 else f'{gain:.2f}'}x | {share:.2f} | "
            f"{number(calls[0])} → {number(calls[1])} |")


def subject(out, title, spec, bench):
    directory = os.path.join(bench.tmp, f"{len(out.rows)}")
    with pairs.both(spec.make, directory) as (native, preloaded, load):
        both = [native, preloaded]
        with spec.measuring(both, load, bench) as measure:
            runs = pairs.interleave(measure, both, bench.rounds(5))
    with pairs.both(spec.make, directory + "-traced", env=counts.SLOW) as (a, b, load):
        calls = [spec.calls(server, load) for server in (a, b)]
    rates = [pairs.median_of(r, "rate") for r in runs]
    cpus = [pairs.cpu_a_reply(r) for r in runs]
    gain = pairs.ratio(rates[1], rates[0])
    share = pairs.ratio(cpus[1], cpus[0])
    out.row(title, report.rate(rates[0]), report.rate(rates[1]), report.times(gain),
            f"CPU a reply {share:.2f}, calls {number(calls[0])} to {number(calls[1])}")
    out.raw[title] = {"native": runs[0], "preloaded": runs[1], "calls": calls}
    return line(title, rates, cpus, calls)


def table(out, specs, bench):
    lines = ["| server and load | native, replies/s | with weir | gain | CPU a reply, "
             "of native's | system calls a reply |", "|---|--:|--:|--:|--:|--:|"]
    for title, spec in specs.items():
        lib.log(f"gains: {title}")
        try:
            lines.append(subject(out, title, spec, bench))
        except lib.Missing as why:
            out.skip(title, why)
    return "\n".join(lines)


def run(out, bench):
    try:
        filled = postgres.template(os.path.join(bench.tmp, "filled"))
    except lib.Missing as why:
        filled = None
        out.skip("PostgreSQL", why)
    gain, off = subjects(filled)
    machine = lib.machine()
    gained = table(out, gain, bench)
    with lib.on_one_core():
        leave_off = table(out, off, bench)
    out.markdown = "\n".join([
        gained, "", "Leave it off, there is nothing to gain:", "",
        leave_off, "",
        f"Medians of {bench.rounds(5)} interleaved runs on {machine['cores']} cores "
        f"({machine['cpu']}, Linux {machine['kernel']}); the second table with server "
        "and client on one of them.", ""])
