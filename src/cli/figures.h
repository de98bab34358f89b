#ifndef WEIR_CLI_FIGURES_H
#define WEIR_CLI_FIGURES_H
/* cli/figures: the counters of a direction and of the time that bytes were held, as numbers to
 * reckon with. Documents are untrusted: what is missing or no number is 0. Times are
 * milliseconds, unless they say otherwise. */
#include <jansson.h>
#include <stdbool.h>

enum cause { CAUSE_PEER, CAUSE_NETWORK, CAUSE_LOCAL, CAUSE_UNKNOWN, NR_CAUSES };

struct flow {
	double app_calls, kernel_calls, app_bytes, bytes, chunks, stalls, stall_ms;
	double cause_ms[NR_CAUSES]; /* of a sent direction; one that is received has none */
};

/* The names of the two directions, requests first, in documents and on the screen. */
extern const char *const flow_ways[2];

void flow_read(const json_t *direction, struct flow *flow);
/* sum += factor * part */
void flow_add(struct flow *sum, const struct flow *part, double factor);

void flow_both(struct flow *sum, const struct flow way[2]);

/* Application calls for each call of the kernel; 0 without any. */
double flow_ratio(const struct flow *flow);
double flow_chunk(const struct flow *flow);

/* What held it up most: "peer", "network", "local", "unknown"; "reader" where the application
 * did not read; "-" where nothing did. */
const char *flow_cause(const struct flow *flow);

/* As in JSON, with the names of /metrics.json. */
json_t *flow_json(const struct flow *flow);

/* How long the library held bytes: Prometheus' cumulative buckets. */
enum { MOST_BUCKETS = 24 };
struct holds {
	int nr;
	double le[MOST_BUCKETS]; /* seconds; the last is infinite */
	double count[MOST_BUCKETS];
};

/* Out of the text of /metrics, which has its families one after another. */
void holds_read(const char *metrics, struct holds *holds);
/* sum += factor * part; an empty sum takes the part's buckets. */
void holds_add(struct holds *sum, const struct holds *part, double factor);
/* Seconds, between two bounds as Prometheus' histogram_quantile has it; the greatest bound
 * where it lies beyond; below 0: nothing was counted. */
double holds_quantile(const struct holds *holds, double q);

/* The value of a sample of /metrics without labels; 0 if there is none. */
double metric_value(const char *metrics, const char *name);
#endif
