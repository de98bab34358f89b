#ifndef WEIR_STREAM_KEEPER_H
#define WEIR_STREAM_KEEPER_H
/* stream/keeper: one thread ("weir-keeper") that flushes what outlives STREAM_FLUSH_DELAY_US,
 * because its own thread computes; trims the pool; and, while somebody watches the
 * metrics, looks whether running backpressure episodes have ended.
 *
 * Made at the first hold, or at a member's first sleep after somebody asked
 * for metrics. It sleeps until the oldest deadline. A hold that finds it idle sets its alarm
 * for then. To wake is dear (a virtual processor that was idle takes tens of microseconds), and to
 * set the alarm is cheap, so a thread that knows itself to be the only one that owes anything
 * puts the alarm off now and then: while it sees to its bytes in time by itself, the keeper sleeps.
 * Threads: any. Signals: safe, but not from a locked section (it allocates a stack). */
#include "count/region.h"
#include <stdbool.h>
#include <stdint.h>

struct stream;

/* True: it runs (made now if it did not). False: it cannot be made, or was ended for good. */
bool keeper_start(void);

/* True: it cannot be made, or was ended for good. */
bool keeper_ended(void);

/* After the first byte of a chunk, or a borrow, is visible in the caller's list. */
void keeper_notice(struct stream *s);

/* Nothing on the caller's list is older than `oldest_ns`. If no other thread has a list, and the alarm
 * is to go off soon, it is put off. */
void keeper_put_off(int64_t oldest_ns);

/* Before a sleep: makes it if somebody watches and this process has had a stream or listens. */
void keeper_watch_asked(void);

static inline void
keeper_watch(void)
{
	struct region *region = region_get();

	if (region && __atomic_load_n(&region->totals.watched_ns, __ATOMIC_RELAXED))
		keeper_watch_asked();
}

/* Before a snapshot, by the thread that takes it: if it runs, and an episode of send backpressure does
 * on any stream of this process, it looks now which still do, and this waits until it has, 20 ms at most. Not
 * where such looks cost too much. */
void keeper_look_now(void);

/* Ends it and waits until the kernel has forgotten the thread. It comes back at the next hold,
 * unless `for_good`. */
void keeper_stop(bool for_good);
#endif
