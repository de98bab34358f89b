#include "cli/figures.h"
#include "cli/family.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const cause_names[NR_CAUSES] = { "peer", "network", "local",
						    "unknown" };

const char *const flow_ways[2] = { "request", "response" };

void
flow_read(const json_t *direction, struct flow *flow)
{
	const json_t *causes = json_object_get(direction, "causes");

	flow->app_calls = json_figure(direction, "appCalls");
	flow->kernel_calls = json_figure(direction, "kernelCalls");
	flow->app_bytes = json_figure(direction, "appBytes");
	flow->bytes = json_figure(direction, "totalBytes");
	flow->chunks = json_figure(direction, "chunkCount");
	flow->stalls = json_figure(direction, "backpressureEvents");
	flow->stall_ms = json_figure(direction, "backpressureTime");
	for (int i = 0; i < NR_CAUSES; i++)
		flow->cause_ms[i] = json_figure(causes, cause_names[i]);
}

void
flow_add(struct flow *sum, const struct flow *part, double factor)
{
	sum->app_calls += factor * part->app_calls;
	sum->kernel_calls += factor * part->kernel_calls;
	sum->app_bytes += factor * part->app_bytes;
	sum->bytes += factor * part->bytes;
	sum->chunks += factor * part->chunks;
	sum->stalls += factor * part->stalls;
	sum->stall_ms += factor * part->stall_ms;
	for (int i = 0; i < NR_CAUSES; i++)
		sum->cause_ms[i] += factor * part->cause_ms[i];
}

void
flow_both(struct flow *sum, const struct flow way[2])
{
	*sum = way[0];
	flow_add(sum, &way[1], 1);
}

double
flow_ratio(const struct flow *flow)
{
	return flow->kernel_calls > 0 ? flow->app_calls / flow->kernel_calls : 0;
}

double
flow_chunk(const struct flow *flow)
{
	return flow->chunks > 0 ? flow->bytes / flow->chunks : 0;
}

const char *
flow_cause(const struct flow *flow)
{
	double known = 0;
	int most = -1;

	for (int i = 0; i < NR_CAUSES; i++) {
		known += flow->cause_ms[i];
		if (flow->cause_ms[i] > (most < 0 ? 0 : flow->cause_ms[most]))
			most = i;
	}
	/* A received direction has no causes: its time is the application's own. */
	if (flow->stall_ms - known > (most < 0 ? 0 : flow->cause_ms[most]) + 0.5)
		return "reader";
	return most < 0 ? "-" : cause_names[most];
}

json_t *
flow_json(const struct flow *flow)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f}}",
			 "appCalls", flow->app_calls, "kernelCalls", flow->kernel_calls,
			 "bytes", flow->bytes, "avgChunkSize", flow_chunk(flow),
			 "backpressureEvents", flow->stalls, "backpressureTime",
			 flow->stall_ms, "causes", "peer", flow->cause_ms[CAUSE_PEER],
			 "network", flow->cause_ms[CAUSE_NETWORK], "local",
			 flow->cause_ms[CAUSE_LOCAL], "unknown",
			 flow->cause_ms[CAUSE_UNKNOWN]);
}

/* The line behind `line`, or NULL. */
static const char *
next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end && end[1] ? end + 1 : NULL;
}

void
holds_read(const char *metrics, struct holds *holds)
{
	static const char name[] = "weir_write_hold_seconds_bucket{le=\"";

	holds->nr = 0;
	for (const char *line = metrics; line && holds->nr < MOST_BUCKETS;
	     line = next_line(line)) {
		char *end;

		if (strncmp(line, name, sizeof name - 1) != 0)
			continue;
		holds->le[holds->nr] =
			strtod(line + sizeof name - 1, &end); /* "+Inf" too */
		if (strncmp(end, "\"} ", 3) == 0)
			holds->count[holds->nr++] = strtod(end + 3, NULL);
	}
}

void
holds_add(struct holds *sum, const struct holds *part, double factor)
{
	if (!sum->nr)
		for (; sum->nr < part->nr; sum->nr++) {
			sum->le[sum->nr] = part->le[sum->nr];
			sum->count[sum->nr] = 0;
		}
	/* Other bounds are another version's: there is no sum of the two. */
	for (int i = 0; i < sum->nr && sum->nr == part->nr; i++)
		sum->count[i] += factor * part->count[i];
}

double
holds_quantile(const struct holds *holds, double q)
{
	double all = holds->nr ? holds->count[holds->nr - 1] : 0, wanted = q * all;

	if (all < 0.5)
		return -1;
	for (int i = 0; i < holds->nr; i++) {
		double low = i ? holds->le[i - 1] : 0,
		       below = i ? holds->count[i - 1] : 0;

		if (holds->count[i] < wanted)
			continue;
		if (isinf(holds->le[i]) || holds->count[i] <= below)
			return low;
		return low + (holds->le[i] - low) * (wanted - below) /
				     (holds->count[i] - below);
	}
	return -1;
}

double
metric_value(const char *metrics, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = metrics; line; line = next_line(line))
		if (strncmp(line, name, len) == 0 && line[len] == ' ')
			return strtod(line + len + 1, NULL);
	return 0;
}
