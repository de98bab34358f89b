#include "metrics/json.h"
#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "metrics/names.h"
#include "metrics/place.h"
#include <string.h>

void
json_key(struct out *out, const char *before, const char *name)
{
	out_str(out, before);
	out_char(out, '"');
	out_str(out, name); /* one of ours: nothing in it to escape */
	out_mem(out, "\":", 2);
}

void
json_u64(struct out *out, const char *before, const char *name, uint64_t n)
{
	json_key(out, before, name);
	out_u64(out, n);
}

void
json_ms(struct out *out, const char *before, const char *name, uint64_t ns)
{
	json_key(out, before, name);
	out_fixed(out, ns / 1000, 3);
}

static void
string(struct out *out, const char *before, const char *name, const char *value)
{
	json_key(out, before, name);
	out_json(out, value, strlen(value));
}

static void
set(struct out *out, const char *before, const char *name, const char *const *names,
    const uint64_t *n, int nr)
{
	json_key(out, before, name);
	for (int i = 0; i < nr; i++)
		json_u64(out, i ? "," : "{", names[i], n[i]);
	out_char(out, '}');
}

static void
causes(struct out *out, const uint64_t *ns)
{
	json_key(out, ",", "causes");
	for (int i = 0; i < NR_CAUSES; i++)
		json_ms(out, i ? "," : "{", cause_names[i], ns[i]);
	out_char(out, '}');
}

/* n / d in hundredths, cut; what no number holds is shown as the greatest. */
static uint64_t
hundredths(uint64_t n, unsigned factor, uint64_t d)
{
	unsigned __int128 q;

	if (!d)
		return 0;
	q = (unsigned __int128)n * factor / d;
	return q > UINT64_MAX ? UINT64_MAX : (uint64_t)q;
}

void
json_flow(struct out *out, const struct flow_view *flow, uint64_t age_ns,
	  const char *cause)
{
	json_u64(out, "{", "totalBytes", flow->kernel_bytes);
	json_u64(out, ",", "chunkCount", flow->chunks);
	json_key(out, ",", "avgChunkSize");
	out_fixed(out, hundredths(flow->kernel_bytes, 100, flow->chunks), 2);
	json_ms(out, ",", "duration", age_ns);
	/* bytes / 10^6 over ns / 10^9, in hundredths */
	json_key(out, ",", "throughput");
	out_fixed(out, hundredths(flow->kernel_bytes, 100000, age_ns), 2);
	json_u64(out, ",", "backpressureEvents", flow->stall_events);
	json_ms(out, ",", "backpressureTime", flow->stall_ns);
	json_key(out, ",", "blocked");
	if (cause && flow->running_ns) {
		json_ms(out, "{", "for", flow->running_ns);
		string(out, ",", "cause", cause);
		out_char(out, '}');
	} else {
		out_str(out, "null");
	}
	json_u64(out, ",", "appCalls", flow->app_calls);
	json_u64(out, ",", "kernelCalls", flow->kernel_calls);
	json_u64(out, ",", "appBytes", flow->app_bytes);
	json_u64(out, ",", "pendingBytes", flow->pending);
	json_u64(out, ",", "discardedBytes", flow->discarded);
	causes(out, flow->cause_ns);
	set(out, ",", "flushes", flush_names, flow->flushes, NR_FLUSHES);
	out_char(out, '}');
}

static void
log_level(struct out *out)
{
	static const char *const levels[] = { "off", "error", "warn", "info", "debug" };
	int level = config->log_level;

	string(out, ",", "STREAM_LOG",
	       levels[level < 0 || level > LOG_DEBUG ? 0 : level]);
}

static void
paths(struct out *out, const struct snapshot *snap)
{
	char path[CONFIG_PATH_MAX] = "";
	char mode[5] = "0000";

	string(out, ",", "STREAM_METRICS_SOCKET",
	       config->metrics ? place_path() : "off");
	for (int i = 0; i < 3; i++)
		mode[3 - i] = (char)('0' + (config->socket_mode >> (3 * i) & 7));
	string(out, ",", "STREAM_METRICS_SOCKET_MODE", mode);
	if (config->at_exit[0] &&
	    config_path(path, sizeof path, config->at_exit, snap->first_pid) < 0)
		path[0] = '\0';
	string(out, ",", "STREAM_METRICS_AT_EXIT", path);
}

static void
config_values(struct out *out, const struct snapshot *snap)
{
	json_key(out, ",", "config");
	json_u64(out, "{", "STREAM_REQUEST_CHUNK_SIZE", config->request_chunk);
	json_u64(out, ",", "STREAM_RESPONSE_CHUNK_SIZE", config->response_chunk);
	json_u64(out, ",", "STREAM_BUFFER_POOL_ENABLED", config->pool_enabled);
	json_u64(out, ",", "STREAM_BUFFER_POOL_MAX_BYTES", config->pool_max);
	json_u64(out, ",", "STREAM_FLUSH_DELAY_US", config->delay_us);
	paths(out, snap);
	string(out, ",", "STREAM_PROGRAMS", config->programs);
	json_u64(out, ",", "STREAM_ENABLED", config->enabled);
	log_level(out);
	out_char(out, '}');
}

static void
process(struct out *out, bool first, int32_t pid, const char *state)
{
	json_key(out, first ? "{" : ",{", "pid");
	out_i64(out, pid);
	string(out, ",", "state", state);
	out_char(out, '}');
}

static void
processes(struct out *out, const struct snapshot *snap)
{
	json_key(out, ",", "processes");
	out_char(out, '[');
	for (uint32_t i = 0; i < snap->nr_pids; i++)
		process(out, !i, snap->pids[i], "live");
	for (uint32_t i = 0; i < snap->nr_ended; i++)
		process(out, !i && !snap->nr_pids, snap->ended[i].pid,
			ending_names[snap->ended[i].how]);
	out_char(out, ']');
}

static void
stream_counts(struct out *out, const struct snapshot *snap)
{
	uint64_t modes[NR_MODES] = { 0 }, open = 0;
	const struct totals *totals = &snap->totals;

	for (int m = 0; m < NR_MODES; m++) {
		for (int r = 0; r < NR_ROLES; r++)
			modes[m] += snap->open[r][m];
		open += modes[m];
	}
	json_key(out, ",", "streams");
	json_u64(out, "{", "open", open);
	for (int m = 0; m < NR_MODES; m++)
		json_u64(out, ",", mode_names[m], modes[m]);
	json_u64(out, ",", "opened",
		 totals->opened[ROLE_ACCEPTED] + totals->opened[ROLE_CONNECTED]);
	json_u64(out, ",", "closed",
		 totals->closed[ROLE_ACCEPTED] + totals->closed[ROLE_CONNECTED]);
	out_char(out, '}');
}

static void
total_flows(struct out *out, const struct snapshot *snap)
{
	uint64_t age_ns =
		snap->now_ns > snap->started_ns ? snap->now_ns - snap->started_ns : 0;

	json_key(out, ",", "totals");
	for (int w = 0; w < NR_WAYS; w++) {
		struct flow_view sum = { 0 };

		for (int r = 0; r < NR_ROLES; r++)
			view_add(&sum,
				 &snap->total[r][way_dir((enum way)w, (enum role)r)]);
		json_key(out, w ? "," : "{", way_names[w]);
		json_flow(out, &sum, age_ns, NULL);
	}
	out_char(out, '}');
}

/* The pool without the closing brace. */
static void
pool(struct out *out, const struct snapshot *snap)
{
	uint64_t buffers = 0, in_use = 0, bytes = 0;

	json_key(out, "{", "enabled");
	out_str(out, config->pool_enabled ? "true" : "false");
	json_u64(out, ",", "maxBytes", config->pool_max);
	json_key(out, ",", "tiers");
	for (int i = 0; i < NR_POOL_TIERS; i++) {
		const struct pool_count *p = &snap->pool[i];

		json_u64(out, i ? ",{" : "[{", "size", UINT64_C(4096) << i);
		json_u64(out, ",", "buffers", p->buffers);
		json_u64(out, ",", "inUse", p->in_use);
		json_u64(out, ",", "peakInUse", p->peak);
		json_u64(out, ",", "bytes", p->buffers << (12 + i));
		json_u64(out, ",", "hits", p->hits);
		json_u64(out, ",", "misses", p->misses);
		json_u64(out, ",", "exhausted", p->exhausted);
		out_char(out, '}');
		buffers += p->buffers;
		in_use += p->in_use;
		bytes += p->buffers << (12 + i);
	}
	json_u64(out, "],", "totalBuffers", buffers);
	json_u64(out, ",", "totalInUse", in_use);
	json_u64(out, ",", "totalBytes", bytes);
}

static void
errors(struct out *out, const struct snapshot *snap)
{
	const struct totals *totals = &snap->totals;

	json_key(out, ",", "errors");
	json_key(out, "{", "calls");
	for (int o = 0; o < NR_OPS; o++)
		set(out, o ? "," : "{", operation_names[o], error_names,
		    totals->errors[o], NR_ERRORS);
	json_u64(out, "},", "deferred", totals->deferred);
	set(out, ",", "internal", internal_names, totals->internal, NR_INTERNALS);
	set(out, ",", "bypassed", bypass_names, totals->bypassed, NR_BYPASSES);
	out_char(out, '}');
}

static void
tests(struct out *out, const struct snapshot *snap)
{
	if (!config->test_count)
		return;
	json_key(out, ",", "test");
	json_u64(out, "{", "borrows", snap->totals.borrows);
	json_u64(out, ",", "poorBorrows", snap->totals.poor_borrows);
	out_char(out, '}');
}

void
json_metrics(struct out *out, const struct snapshot *snap)
{
	string(out, "{", "schema", "weir.metrics/1");
	string(out, ",", "version", WEIR_VERSION);
	string(out, ",", "program", config->program);
	json_key(out, ",", "pid");
	out_i64(out, snap->first_pid);
	json_u64(out, ",", "startTime", snap->started_wall_ms);
	json_u64(out, ",", "timestamp", snap->wall_ms);
	config_values(out, snap);
	processes(out, snap);
	stream_counts(out, snap);
	total_flows(out, snap);
	json_key(out, ",", "pool");
	pool(out, snap);
	out_char(out, '}');
	errors(out, snap);
	tests(out, snap);
	out_str(out, "}\n");
}

void
json_pool(struct out *out, const struct snapshot *snap)
{
	pool(out, snap);
	json_u64(out, ",", "timestamp", snap->wall_ms);
	out_str(out, "}\n");
}

void
json_health(struct out *out)
{
	string(out, "{", "status", "ok");
	string(out, ",", "version", WEIR_VERSION);
	json_key(out, ",", "pid");
	out_i64(out, sys_getpid());
	out_str(out, "}\n");
}
