#include "metrics/text.h"
#include "base/config.h"
#include "metrics/names.h"

const char *const text_content_types[] = {
	"text/plain; version=0.0.4; charset=utf-8",
	"application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* The family that is being written. */
struct text {
	struct out *out;
	const char *name, *suffix;
	bool openmetrics;
};

enum type { COUNTER, GAUGE, HISTOGRAM };

/* OpenMetrics names a counter's family without _total, the older format with it. */
static void
family(struct text *t, enum type type, const char *name, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *suffix = type == COUNTER ? "_total" : "";
	const char *shown = t->openmetrics ? "" : suffix;

	t->name = name;
	t->suffix = suffix;
	out_str(t->out, "# HELP ");
	out_str(t->out, name);
	out_str(t->out, shown);
	out_char(t->out, ' ');
	out_str(t->out, help);
	out_str(t->out, "\n# TYPE ");
	out_str(t->out, name);
	out_str(t->out, shown);
	out_char(t->out, ' ');
	out_str(t->out, types[type]);
	out_char(t->out, '\n');
}

static void
label(struct text *t, char before, const char *name, const char *value)
{
	out_char(t->out, before);
	out_str(t->out, name);
	out_str(t->out, "=\"");
	out_label(t->out, value);
	out_char(t->out, '"');
}

/* `labels`: name, value, name, value, ... NULL. The value is n / 10^decimals. */
static void
sample(struct text *t, const char *const *labels, uint64_t n, unsigned decimals)
{
	out_str(t->out, t->name);
	out_str(t->out, t->suffix);
	for (int i = 0; labels[i]; i += 2)
		label(t, i ? ',' : '{', labels[i], labels[i + 1]);
	if (labels[0])
		out_char(t->out, '}');
	out_char(t->out, ' ');
	out_fixed(t->out, n, decimals);
	out_char(t->out, '\n');
}

static void
plain(struct text *t, uint64_t n, unsigned decimals)
{
	sample(t, (const char *[]){ NULL }, n, decimals);
}

static void
one(struct text *t, const char *name, const char *value, uint64_t n, unsigned decimals)
{
	sample(t, (const char *[]){ name, value, NULL }, n, decimals);
}

static void
set(struct text *t, const char *name, const char *const *values, const uint64_t *n,
    int nr)
{
	for (int i = 0; i < nr; i++)
		one(t, name, values[i], n[i], 0);
}

/* One sample of a histogram's bounds and counts, which `bounds` gives in 10^-decimals. */
static void
buckets(struct text *t, const uint64_t *bounds, const uint64_t *counts, int nr,
	unsigned decimals)
{
	uint64_t sum = 0;

	for (int i = 0; i <= nr; i++) {
		/* Whatever stands in the region: no bucket is less than the one before. */
		sum = counts[i] > UINT64_MAX - sum ? UINT64_MAX : sum + counts[i];
		out_str(t->out, t->name);
		out_str(t->out, "_bucket{le=\"");
		if (i < nr)
			out_float(t->out, bounds[i], decimals);
		else
			out_str(t->out, "+Inf");
		out_str(t->out, "\"} ");
		out_u64(t->out, sum);
		out_char(t->out, '\n');
	}
	t->suffix = "_count";
	plain(t, sum, 0);
}

static void
seconds_histogram(struct text *t, const uint64_t *bounds, const uint64_t *counts,
		  int nr, uint64_t sum_ns)
{
	buckets(t, bounds, counts, nr, 9);
	t->suffix = "_sum";
	plain(t, sum_ns, 9);
}

static void
size_histogram(struct text *t, const struct snapshot *snap, enum size_histogram kind,
	       uint64_t sum)
{
	uint64_t bounds[NR_SIZE_BOUNDS];

	for (int i = 0; i < NR_SIZE_BOUNDS; i++)
		bounds[i] = size_bounds[i];
	buckets(t, bounds, snap->sizes[kind], NR_SIZE_BOUNDS, 0);
	t->suffix = "_sum";
	plain(t, sum, 0);
}

static void
process_families(struct text *t, const struct snapshot *snap)
{
	family(t, GAUGE, "weir_build_info", "The library's version.");
	one(t, "version", WEIR_VERSION, 1, 0);
	family(t, GAUGE, "weir_config_chunk_size_bytes",
	       "Size up to which a direction is gathered; 0: only watched.");
	one(t, "direction", "request", config->request_chunk, 0);
	one(t, "direction", "response", config->response_chunk, 0);
	family(t, GAUGE, "weir_config_flush_delay_seconds",
	       "The longest time an accepted byte may wait.");
	plain(t, config->delay_us, 6);
	family(t, GAUGE, "weir_pool_enabled", "Whether chunks are pooled.");
	plain(t, config->pool_enabled, 0);
	/* As Prometheus' own libraries say it: node_exporter, which has one, refuses another. */
	family(t, GAUGE, "process_start_time_seconds",
	       "Start time of the process since unix epoch in seconds.");
	plain(t, snap->started_wall_ms, 3);
	family(t, GAUGE, "weir_processes", "Live processes of the family.");
	plain(t, snap->nr_pids, 0);
	family(t, COUNTER, "weir_processes_ended", "Ended processes by how they ended.");
	set(t, "how", ending_names, snap->totals.ended, NR_ENDINGS);
}

static void
stream_families(struct text *t, const struct snapshot *snap)
{
	const struct totals *totals = &snap->totals;

	family(t, GAUGE, "weir_streams", "Open streams.");
	for (int r = 0; r < NR_ROLES; r++)
		for (int m = 0; m < NR_MODES; m++)
			sample(t,
			       (const char *[]){ "role", role_names[r], "mode",
						 mode_names[m], NULL },
			       snap->open[r][m], 0);
	family(t, COUNTER, "weir_streams_opened", "Streams opened.");
	set(t, "role", role_names, totals->opened, NR_ROLES);
	family(t, COUNTER, "weir_streams_closed", "Streams closed.");
	set(t, "role", role_names, totals->closed, NR_ROLES);
	family(t, COUNTER, "weir_streams_bypassed",
	       "Streams, or sides of one, left alone for good.");
	set(t, "reason", bypass_names, totals->bypassed, NR_BYPASSES);
	family(t, GAUGE, "weir_streams_backpressured",
	       "Open streams whose sending is held back now.");
	plain(t, snap->stalled, 0);
	family(t, HISTOGRAM, "weir_stream_duration_seconds",
	       "Age of streams at their close.");
	seconds_histogram(t, age_bounds_ns, totals->age, NR_AGE_BOUNDS, totals->age_ns);
}

enum amount { APP_CALLS, KERNEL_CALLS, APP_BYTES, KERNEL_BYTES };

static uint64_t
amount(const struct flow_view *flow, enum amount what)
{
	switch (what) {
	case APP_CALLS:
		return flow->app_calls;
	case KERNEL_CALLS:
		return flow->kernel_calls;
	case APP_BYTES:
		return flow->app_bytes;
	default:
		return flow->kernel_bytes;
	}
}

static uint64_t
both_roles(const struct snapshot *snap, enum dir dir, enum amount what)
{
	return amount(&snap->total[ROLE_ACCEPTED][dir], what) +
	       amount(&snap->total[ROLE_CONNECTED][dir], what);
}

static void
flow_families(struct text *t, const struct snapshot *snap)
{
	static const struct {
		const char *name, *help;
		enum dir dir;
		enum amount what;
	} by_role[] = {
		{ "weir_app_reads", "Reads by the application.", RECEIVED, APP_CALLS },
		{ "weir_kernel_reads", "System calls that read, refusals too.",
		  RECEIVED, KERNEL_CALLS },
		{ "weir_app_writes", "Writes by the application.", SENT, APP_CALLS },
		{ "weir_kernel_writes", "System calls that wrote, refusals too.", SENT,
		  KERNEL_CALLS },
		{ "weir_received_bytes", "Bytes taken from the kernel.", RECEIVED,
		  KERNEL_BYTES },
		{ "weir_sent_bytes", "Bytes given to the kernel.", SENT, KERNEL_BYTES },
		{ "weir_app_read_bytes", "Bytes the application was given.", RECEIVED,
		  APP_BYTES },
		{ "weir_app_written_bytes", "Bytes the application wrote.", SENT,
		  APP_BYTES },
	};

	for (size_t i = 0; i < sizeof by_role / sizeof by_role[0]; i++) {
		family(t, COUNTER, by_role[i].name, by_role[i].help);
		for (int r = 0; r < NR_ROLES; r++)
			one(t, "role", role_names[r],
			    amount(&snap->total[r][by_role[i].dir], by_role[i].what), 0);
	}
	family(t, GAUGE, "weir_pending_bytes",
	       "Bytes written and not sent yet, or given and still in the kernel.");
	for (int w = 0; w < NR_WAYS; w++)
		one(t, "direction", way_names[w],
		    snap->total[ROLE_ACCEPTED][way_dir((enum way)w, ROLE_ACCEPTED)]
				    .pending +
			    snap->total[ROLE_CONNECTED]
				       [way_dir((enum way)w, ROLE_CONNECTED)]
					       .pending,
		    0);
	family(t, COUNTER, "weir_discarded_bytes",
	       "Bytes that were accepted and could not be sent.");
	set(t, "reason", discard_names, snap->totals.discarded, NR_DISCARDS);
}

static void
size_families(struct text *t, const struct snapshot *snap)
{
	uint64_t flushes[NR_FLUSHES] = { 0 };

	family(t, HISTOGRAM, "weir_app_write_size_bytes",
	       "Sizes of the application's writes.");
	size_histogram(t, snap, SIZE_APP_WRITE, both_roles(snap, SENT, APP_BYTES));
	family(t, HISTOGRAM, "weir_kernel_write_size_bytes",
	       "Sizes of what the kernel was given.");
	size_histogram(t, snap, SIZE_KERNEL_WRITE, both_roles(snap, SENT, KERNEL_BYTES));
	family(t, HISTOGRAM, "weir_app_read_size_bytes",
	       "Sizes of the application's reads.");
	size_histogram(t, snap, SIZE_APP_READ, both_roles(snap, RECEIVED, APP_BYTES));
	family(t, HISTOGRAM, "weir_kernel_read_size_bytes",
	       "Sizes of what the kernel gave.");
	size_histogram(t, snap, SIZE_KERNEL_READ,
		       both_roles(snap, RECEIVED, KERNEL_BYTES));
	family(t, HISTOGRAM, "weir_write_hold_seconds",
	       "Time that written bytes were held.");
	seconds_histogram(t, hold_bounds_ns, snap->totals.hold, NR_HOLD_BOUNDS,
			  snap->totals.hold_ns);
	for (int r = 0; r < NR_ROLES; r++)
		for (int i = 0; i < NR_FLUSHES; i++)
			flushes[i] += snap->total[r][SENT].flushes[i];
	family(t, COUNTER, "weir_flushes", "Flushes of held bytes by what caused them.");
	set(t, "reason", flush_names, flushes, NR_FLUSHES);
}

static void
backpressure_families(struct text *t, const struct snapshot *snap)
{
	struct flow_view flow[NR_DIRS] = { 0 };

	for (int r = 0; r < NR_ROLES; r++)
		for (int d = 0; d < NR_DIRS; d++)
			view_add(&flow[d], &snap->total[r][d]);
	family(t, COUNTER, "weir_send_backpressure_events",
	       "Times that sending was held back.");
	plain(t, flow[SENT].stall_events, 0);
	family(t, COUNTER, "weir_send_backpressure_seconds",
	       "Time that sending was held back, by what held it.");
	for (int i = 0; i < NR_CAUSES; i++)
		one(t, "cause", cause_names[i], flow[SENT].cause_ns[i], 9);
	family(t, HISTOGRAM, "weir_send_backpressure_episode_seconds",
	       "Length of ended spans of send backpressure.");
	seconds_histogram(t, episode_bounds_ns, snap->totals.episode, NR_EPISODE_BOUNDS,
			  snap->totals.episode_ns);
	family(t, COUNTER, "weir_receive_backpressure_events",
	       "Times that received bytes began to sit unread.");
	plain(t, flow[RECEIVED].stall_events, 0);
	family(t, COUNTER, "weir_receive_backpressure_seconds",
	       "Time that received bytes sat unread.");
	plain(t, flow[RECEIVED].stall_ns, 9);
}

static void
pool_families(struct text *t, const struct snapshot *snap)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} counters[] = {
		{ "weir_pool_hits", "Chunks taken from the pool.",
		  offsetof(struct pool_count, hits) },
		{ "weir_pool_misses", "Chunks that had to be made.",
		  offsetof(struct pool_count, misses) },
		{ "weir_pool_exhausted", "Chunks refused at the cap.",
		  offsetof(struct pool_count, exhausted) },
	};

	family(t, GAUGE, "weir_pool_buffers", "Chunks in the pool.");
	for (int i = 0; i < NR_POOL_TIERS; i++) {
		const struct pool_count *p = &snap->pool[i];
		uint64_t free = p->buffers > p->in_use ? p->buffers - p->in_use : 0;

		sample(t,
		       (const char *[]){ "tier", tier_names[i], "state", "in_use",
					 NULL },
		       p->in_use, 0);
		sample(t,
		       (const char *[]){ "tier", tier_names[i], "state", "free", NULL },
		       free, 0);
	}
	family(t, GAUGE, "weir_pool_bytes", "Bytes of the chunks in the pool.");
	for (int i = 0; i < NR_POOL_TIERS; i++)
		one(t, "tier", tier_names[i], snap->pool[i].buffers << (12 + i), 0);
	for (int c = 0; c < 3; c++) {
		family(t, COUNTER, counters[c].name, counters[c].help);
		for (int i = 0; i < NR_POOL_TIERS; i++)
			one(t, "tier", tier_names[i],
			    *(const uint64_t *)((const char *)&snap->pool[i] +
						counters[c].offset),
			    0);
	}
	family(t, GAUGE, "weir_pool_max_bytes", "Cap on a process's pool.");
	plain(t, config->pool_max, 0);
}

static void
error_families(struct text *t, const struct snapshot *snap)
{
	family(t, COUNTER, "weir_errors", "Failed reads and writes.");
	for (int o = 0; o < NR_OPS; o++)
		for (int e = 0; e < NR_ERRORS; e++)
			sample(t,
			       (const char *[]){ "operation", operation_names[o],
						 "errno", error_names[e], NULL },
			       snap->totals.errors[o][e], 0);
	family(t, COUNTER, "weir_deferred_errors",
	       "Errors that a flush met and a later call was given.");
	plain(t, snap->totals.deferred, 0);
	family(t, COUNTER, "weir_internal_errors", "Failures inside the library.");
	set(t, "what", internal_names, snap->totals.internal, NR_INTERNALS);
	family(t, GAUGE, "weir_accept_queue",
	       "Connections waiting to be accepted at the fullest listener.");
	plain(t, snap->accept_queue, 0);
	family(t, GAUGE, "weir_accept_queue_limit",
	       "Room for waiting connections there.");
	plain(t, snap->accept_limit, 0);
}

void
text_metrics(struct out *out, const struct snapshot *snap, enum text_format format)
{
	struct text t = { .out = out, .openmetrics = format == TEXT_OPENMETRICS };

	process_families(&t, snap);
	stream_families(&t, snap);
	flow_families(&t, snap);
	size_families(&t, snap);
	backpressure_families(&t, snap);
	pool_families(&t, snap);
	error_families(&t, snap);
	if (t.openmetrics)
		out_str(out, "# EOF\n");
}
