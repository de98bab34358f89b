#ifndef WEIR_WAITS_WAIT_H
#define WEIR_WAITS_WAIT_H
/* waits/wait: what poll, select and epoll do for the bytes this thread holds. The native
 * calls themselves are made by the entries in interpose, in this shape:
 *
 *	if (wait_begin(&w, timeout is 0)) {        // something is held: look first
 *		r = native call with time-out 0;
 *		if (wait_looked(&w, r))            // events, or an error: the answer
 *			return r;
 *	}
 *	r = native call with the caller's arguments;
 *	wait_end(&w, r);
 *
 * With nothing held, wait_begin() costs a few loads, and two clock reads only if this
 * thread wrote since its last sleep. A flush never blocks here.
 * Threads: any. Signals: safe. errno is left alone. */
#include "base/self.h"
#include <stdbool.h>
#include <stdint.h>

struct wait {
	int64_t start_ns; /* 0: not timed */
};

/* The awaited stream is released. True: other bytes are held and the caller would sleep. */
bool wait_begin_wrote(struct wait *w, bool zero_timeout);

static inline bool
wait_begin(struct wait *w, bool zero_timeout)
{
	w->start_ns = 0;
	return self.wrote && wait_begin_wrote(w, zero_timeout);
}

/* After the look: r > 0 events, 0 none, < 0 failed. True: return r now (what is overdue was
 * flushed); false: nothing was ready, everything was flushed: make the real call. */
bool wait_looked(struct wait *w, int r);

/* After the real call: ends the turn if it was a sleep. */
void wait_end_wrote(struct wait *w, int r);

static inline void
wait_end(struct wait *w, int r)
{
	if (self.wrote)
		wait_end_wrote(w, r);
}

/* Any other call that sleeps: everything held leaves, the turn ends. */
void wait_sleep(void);

/* pthread_cond_*wait and sem_*wait. */
void wait_cond(void);

/* accept, connect, a blocking read of no stream: flushes if it may sleep; to be called
 * before; wait_end() after. `fd` is asked whether it blocks only if something is held. */
void wait_blocking(struct wait *w, int fd);
#endif
