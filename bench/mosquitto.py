"""mosquitto with 32-byte QoS 0 messages pipelined: both halves of the library at once.

One publisher, one or four subscribers (fan.c, which compares every message). All
figures are for a message published, whatever the number of its subscribers.
"""

import contextlib
import os
import time

import counts
import lib
import pairs
import report
import servers

ABOUT = "mosquitto, 32-byte QoS 0 messages pipelined, per message published"
# subscribers: (at most of native's CPU, at least times native's messages a second)
GOALS = {1: (0.6, 1.6), 4: (0.5, 2.2)}
MOST = {"writes": 0.15, "reads": 0.10}  # calls to the kernel
CALLS = {
    "writes": ("write", "writev", "sendto", "sendmsg", "sendmmsg"),
    "reads": ("read", "readv", "recvfrom", "recvmsg"),
}
AGREE = 0.02  # calls a message that strace's count may differ by: connects, time-outs


def gate(server, subscribers):
    return lib.Gate([lib.program("fan"), str(subscribers), server.address])


def one_round(gates, messages, server):
    before = server.cpu()
    result = gates[server].round(messages)
    return {**result, "cpu": server.cpu() - before}


def kernel_calls(server, client, messages):
    """Of a round, the calls a message by the library's own counters."""
    before = server.samples()
    client.round(messages)
    after = server.samples()
    families = {kind: f"weir_kernel_{kind}_total" for kind in MOST}
    return {kind: (lib.sum_of(after, f) - lib.sum_of(before, f)) / messages
            for kind, f in families.items()}


def show(calls):
    return ", ".join(f"{calls[kind]:.3f} {kind}" for kind in MOST)


def at_full_speed(out, subscribers, pair, gates, bench):
    cpu_goal, rate_goal = GOALS[subscribers]
    what = f"{subscribers} subscriber{'s' if subscribers > 1 else ''}"
    messages = 20_000 if bench.quick else 80_000
    runs = pairs.interleave(lambda s: one_round(gates, messages, s), pair,
                            bench.rounds(9))
    a, b = (pairs.median_of(r, "rate") for r in runs)
    gain = lib.median([y["rate"] / x["rate"] for x, y in zip(*runs)])
    out.row(f"{what}: messages", report.rate(a), report.rate(b), report.times(gain),
            f">= {rate_goal}x", gain >= rate_goal)
    a, b = (pairs.cpu_a_reply(r) * 1e6 for r in runs)
    share = lib.median([y["cpu"] / x["cpu"] for x, y in zip(*runs)])
    out.row(f"{what}: CPU a message", f"{a:.2f} us", f"{b:.2f} us",
            f"{share:.2f} of native", f"<= {cpu_goal}", share <= cpu_goal)
    out.raw[what] = {"native": runs[0], "preloaded": runs[1]}
    if not pair[1].preload:
        return
    # Last: whoever asks for metrics is watched for a minute.
    calls = kernel_calls(pair[1], gates[pair[1]], messages)
    for kind, most in MOST.items():
        out.row(f"{what}: kernel {kind} a message", "", f"{calls[kind]:.3f}", "",
                f"<= {most}", calls[kind] <= most)
    out.raw[what]["calls"] = calls


def by_strace(out, subscribers, bench):
    """The library's own counters against strace's, of the same messages.

    strace stretches a message to half a millisecond, hence the delay of a second.
    """
    messages = 2000 if bench.quick else 10_000
    directory = os.path.join(bench.tmp, f"strace-{subscribers}")
    with pairs.both(servers.mosquitto, directory, env=counts.SLOW) as (a, b, _):
        found = []
        for server in (a, b):
            with gate(server, subscribers) as client:
                client.round(1000)
                before = server.samples() if server.preload else None
                with counts.Strace(server, follow=True) as strace:
                    client.round(messages)
                    time.sleep(1.5)  # whatever is held or taken has left by then
                after = server.samples() if server.preload else None
                found.append({kind: sum(strace.calls[c] for c in names) / messages
                              for kind, names in CALLS.items()})
        if before is None:
            return
    own = {kind: (lib.sum_of(after, f"weir_kernel_{kind}_total") -
                  lib.sum_of(before, f"weir_kernel_{kind}_total")) / messages
           for kind in MOST}
    off = max(abs(own[kind] - found[1][kind]) for kind in MOST)
    out.row(f"{subscribers}: calls a message by strace", show(found[0]), show(found[1]),
            f"its own counters: {show(own)}", f"<= {AGREE} apart", off <= AGREE)
    out.raw[f"strace {subscribers}"] = {"native": found[0], "preloaded": found[1],
                                        "own": own}


def run(out, bench):
    for subscribers in GOALS:
        lib.log(f"mosquitto: {subscribers} subscribers")
        directory = os.path.join(bench.tmp, str(subscribers))
        with contextlib.ExitStack() as stack:
            *pair, _ = stack.enter_context(pairs.both(servers.mosquitto, directory))
            gates = {s: stack.enter_context(gate(s, subscribers)) for s in pair}
            at_full_speed(out, subscribers, pair, gates, bench)
        if bench.strace:
            lib.log(f"mosquitto: {subscribers} subscribers, strace")
            by_strace(out, subscribers, bench)
