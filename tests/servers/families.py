"""The Prometheus families of the metrics socket: name, type, labels and their values.

A value set of None is open.  Every combination of the closed sets is there from the
start; weir-metrics(7) is the manual.
"""
ROLES = ("accepted", "connected")
MODES = ("managed", "observed", "bypassed")
DIRECTIONS = ("request", "response")
CAUSES = ("peer", "network", "local", "unknown")
ENDED = ("exit", "killed", "exec")
FLUSHES = ("full", "turn", "sleep", "delay", "large", "order", "close", "shutdown",
           "share", "exit")
BYPASSES = ("no_record", "memory", "thread", "shared", "foreign_reader", "seccomp",
            "io_uring", "zerocopy", "urgent", "dup", "other")
DISCARDS = ("reset", "exit")
INTERNAL = ("memory", "thread", "descriptor", "directory", "socket", "region",
            "refused")
OPERATIONS = ("read", "write")
ERRNOS = ("ECONNRESET", "EPIPE", "ETIMEDOUT", "other")
TIERS = tuple(str(4096 << step) for step in range(9))

SIZES = (64, 256, 1024, 4096, 16384, 32768, 65536, 262144)
HOLDS = (10e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 20e-3)
EPISODES = (1e-3, 10e-3, 100e-3, 1, 10, 60)
DURATIONS = (10e-3, 100e-3, 1, 10, 60, 600)

GAUGES = {
    "weir_build_info": {"version": None},
    "weir_config_chunk_size_bytes": {"direction": DIRECTIONS},
    "weir_config_flush_delay_seconds": {},
    "weir_pool_enabled": {},
    "process_start_time_seconds": {},
    "weir_processes": {},
    "weir_streams": {"role": ROLES, "mode": MODES},
    "weir_streams_backpressured": {},
    "weir_pending_bytes": {"direction": DIRECTIONS},
    "weir_pool_buffers": {"tier": TIERS, "state": ("in_use", "free")},
    "weir_pool_bytes": {"tier": TIERS},
    "weir_pool_max_bytes": {},
    "weir_accept_queue": {},
    "weir_accept_queue_limit": {},
}

# Without _total, as OpenMetrics names the families.
COUNTERS = {
    "weir_processes_ended": {"how": ENDED},
    "weir_streams_opened": {"role": ROLES},
    "weir_streams_closed": {"role": ROLES},
    "weir_streams_bypassed": {"reason": BYPASSES},
    "weir_app_reads": {"role": ROLES},
    "weir_kernel_reads": {"role": ROLES},
    "weir_app_writes": {"role": ROLES},
    "weir_kernel_writes": {"role": ROLES},
    "weir_received_bytes": {"role": ROLES},
    "weir_sent_bytes": {"role": ROLES},
    "weir_app_read_bytes": {"role": ROLES},
    "weir_app_written_bytes": {"role": ROLES},
    "weir_discarded_bytes": {"reason": DISCARDS},
    "weir_flushes": {"reason": FLUSHES},
    "weir_send_backpressure_events": {},
    "weir_send_backpressure_seconds": {"cause": CAUSES},
    "weir_receive_backpressure_events": {},
    "weir_receive_backpressure_seconds": {},
    "weir_pool_hits": {"tier": TIERS},
    "weir_pool_misses": {"tier": TIERS},
    "weir_pool_exhausted": {"tier": TIERS},
    "weir_errors": {"operation": OPERATIONS, "errno": ERRNOS},
    "weir_deferred_errors": {},
    "weir_internal_errors": {"what": INTERNAL},
}

HISTOGRAMS = {
    "weir_stream_duration_seconds": DURATIONS,
    "weir_app_write_size_bytes": SIZES,
    "weir_kernel_write_size_bytes": SIZES,
    "weir_app_read_size_bytes": SIZES,
    "weir_kernel_read_size_bytes": SIZES,
    "weir_write_hold_seconds": HOLDS,
    "weir_send_backpressure_episode_seconds": EPISODES,
}
