#ifndef WEIR_METRICS_VIEW_H
#define WEIR_METRICS_VIEW_H
/* metrics/view: one direction of a stream, or a sum of them, as the metrics show it.
 * Threads: any, no state. Numbers from the region may be false, never dangerous. */
#include "count/region.h"

/* One direction: of a stream since its open, or a total. */
struct flow_view {
	uint64_t app_calls, app_bytes; /* whoever answered them */
	uint64_t kernel_calls, kernel_bytes, chunks, discarded, pending;
	uint64_t stall_events;
	uint64_t stall_ns;   /* the running episodes included */
	uint64_t running_ns; /* the longest running episode or waiting write; 0 none */
	uint64_t unseen_ns;  /* of it what is yet to be added to stall_ns */
	bool is_episode; /* and not a write at which no look has found the cause yet */
	uint64_t cause_ns[NR_CAUSES];
	uint64_t flushes[NR_FLUSHES];
};

/* All that the direction has ever counted in the record, but for what view_settle() adds.
 * kernel_bytes and discarded are read first: bytes that pass while we read show as pending,
 * never as less than nothing. */
void view_read(struct flow_view *v, const struct record *rec, enum dir dir,
	       uint64_t now_ns);

/* Takes away what earlier streams counted in the same record. */
void view_since_open(struct flow_view *v, const struct record *rec, enum dir dir);

/* Computes pending, and adds the running episode to the ended ones. */
void view_settle(struct flow_view *v);

void view_add(struct flow_view *to, const struct flow_view *from);

#endif
