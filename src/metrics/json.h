#ifndef WEIR_METRICS_JSON_H
#define WEIR_METRICS_JSON_H
/* metrics/json: a snapshot as JSON documents. Times are milliseconds, throughput is 10^6
 * bytes a second cut to two decimals.
 * Threads: any, but json_streams() sorts snap->order: one at a time for a snapshot. */
#include "metrics/out.h"
#include "metrics/snapshot.h"

void json_metrics(struct out *out, const struct snapshot *snap); /* /metrics.json */
void json_pool(struct out *out, const struct snapshot *snap); /* /buffer-pool-metrics */
void json_health(struct out *out);                            /* /healthz */

enum stream_sort { SORT_NONE, SORT_BYTES, SORT_BACKPRESSURE, SORT_BLOCKED, SORT_AGE };
enum stream_state { STATE_ANY, STATE_OPEN, STATE_CLOSED };
struct stream_query {
	enum stream_sort sort; /* without one: oldest first, open ones before closed ones */
	enum stream_state state;
	uint32_t limit; /* UINT32_MAX: all */
};
void json_streams(struct out *out, struct snapshot *snap,
		  const struct stream_query *query);

/* Pieces that several documents have. */
void json_key(struct out *out, const char *before, const char *name);
void json_u64(struct out *out, const char *before, const char *name, uint64_t n);
void json_ms(struct out *out, const char *before, const char *name, uint64_t ns);
/* `cause`: that of the running episode; NULL: of a total, which has none. */
void json_flow(struct out *out, const struct flow_view *flow, uint64_t age_ns,
	       const char *cause);
void json_address(struct out *out, const struct region_addr *addr);
#endif
