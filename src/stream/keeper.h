#ifndef WEIR_STREAM_KEEPER_H
#define WEIR_STREAM_KEEPER_H
/* stream/keeper: one thread ("weir-keeper") that flushes what outlives STREAM_FLUSH_DELAY_US,
 * because its own thread computes; trims the pool; and, while somebody watches the
 * metrics, looks whether running backpressure episodes have ended.
 *
 * Made at the first hold, or at the first sleep of a process with streams after somebody asked
 * for metrics. It sleeps until the oldest deadline. A hold that finds it idle sets its alarm
 * for then, so it wakes once a hold at most, and for no hold that was flushed in time while
 * another was.
 * Threads: any. Signals: safe, but not from a locked section (it allocates a stack). */
#include "count/region.h"
#include <stdbool.h>

/* True: it runs (made now if it did not). False: it cannot be made, or was ended for good. */
bool keeper_start(void);

/* True: it cannot be made, or was ended for good. */
bool keeper_ended(void);

/* After the first byte of a chunk, taken at `first_ns`, is visible in the holder's list. */
void keeper_notice(int64_t first_ns);

/* Before a sleep: makes it if somebody watches and there are streams. */
void keeper_watch_asked(void);

static inline void
keeper_watch(void)
{
	struct region *region = region_get();

	if (region && __atomic_load_n(&region->totals.watched_ns, __ATOMIC_RELAXED))
		keeper_watch_asked();
}

/* Ends it and waits until the kernel has forgotten the thread. It comes back at the next hold,
 * unless `for_good`. */
void keeper_stop(bool for_good);
#endif
