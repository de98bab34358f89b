"""The pool: steady traffic makes no allocation, and growth is controlled."""

import os
import time

import lib
import servers

ABOUT = "allocations of chunks at steady traffic, pool on and off"
FEWER = 0.99  # the aim the default was chosen for


def figures(server):
    pool = server.ask("/buffer-pool-metrics")
    return {"misses": sum(t["misses"] for t in pool["tiers"]),
            "hits": sum(t["hits"] for t in pool["tiers"]),
            "bytes": pool["totalBytes"],
            "peak": sum(t["peakInUse"] for t in pool["tiers"])}


def snapshot(server):
    """A new one: for a second all who ask share the last."""
    time.sleep(1.1)
    return figures(server)


def one(bench, streams, enabled, replies):
    """Misses from the start, and those after the warm-up."""
    directory = os.path.join(bench.tmp, f"pool-{streams}-{enabled}")
    env = {"STREAM_BUFFER_POOL_ENABLED": str(enabled)}
    server, load = servers.memcached(directory, True, connections=2000, env=env)
    with server, load.gate(server, "-d", 16, "-c", streams) as client:
        client.round(replies)
        warm = snapshot(server)
        client.round(replies)
        done = snapshot(server)
        rss = lib.rss_bytes(server.pid)
    return {"warm": warm, "done": done, "rss": rss}


def run(out, bench):
    if not lib.preloaded_is_real():
        out.skip("pool", "needs the library")
        return
    replies = 64_000 if bench.quick else 640_000
    for streams in (10, 100, 1000):
        lib.log(f"pool: {streams} streams")
        on, off = (one(bench, streams, enabled, replies) for enabled in (1, 0))
        grown = on["done"]["misses"] - on["warm"]["misses"]
        out.row(f"{streams} streams: allocations when steady", "",
                str(grown), f"{replies:,} replies", "0", grown == 0)
        fewer = 1 - on["done"]["misses"] / max(1, off["done"]["misses"])
        out.row(f"{streams} streams: allocations, pool off and on",
                f"{off['done']['misses']:,}", f"{on['done']['misses']:,}",
                f"{fewer * 100:.2f} % fewer", f">= {FEWER * 100:.0f} %", fewer >= FEWER)
        out.row(f"{streams} streams: memory, pool off and on",
                f"RSS {off['rss'] / 1e6:.1f} MB", f"RSS {on['rss'] / 1e6:.1f} MB",
                f"pool {on['done']['bytes'] / 1e6:.2f} MB, "
                f"peak {on['done']['peak']} in use")
        out.raw[str(streams)] = {"on": on, "off": off}
