#ifndef WEIR_WAITS_WAIT_H
#define WEIR_WAITS_WAIT_H
/* waits/wait: what poll, select and epoll do for the bytes this thread holds. The native
 * calls themselves are made by the entries in interpose, in this shape:
 *
 *	if (wait_begin(&w, timeout is 0)) {        // something is held: look first
 *		r = native call with time-out 0;
 *		if (wait_looked(r))            // events, or an error: the answer
 *			return r;
 *	}
 *	r = native call with the caller's arguments;
 *	wait_end(&w, r);
 *
 * With nothing held they cost a few loads. A flush never blocks here.
 *
 * Whether a call that was passed on really slept nobody asks: with nothing held, every one with a
 * time-out ends the turn. A busy loop that writes to a stream again without having read from it
 * still holds, because a piece left since (stream/evidence.h); so two clock reads a request
 * are saved.
 * Threads: any. Signals: safe. errno is left alone. */
#include "stream/interest.h"
#include "stream/turn.h"
#include <stdbool.h>
#include <stdint.h>

struct wait {
	bool zero; /* the caller's time-out is 0 */
};

/* The awaited stream is released. True: other bytes are held and the caller would sleep. */
bool wait_begin_owing(struct wait *w);

static inline bool
wait_begin(struct wait *w, bool zero_timeout)
{
	w->zero = zero_timeout;
	return turn_owes() && wait_begin_owing(w);
}

/* True: this thread holds nothing, so nothing is to be done after the call either: the turn ends
 * here, unless the caller will not sleep. */
static inline bool
wait_free(bool zero_timeout)
{
	if (turn_owes())
		return false;
	if (!zero_timeout)
		turn_slept();
	return true;
}

/* A wait call on the epoll instance `ep`: true: *r events are in `events` that need no kernel
 * (stream/interest.h), and the call is done. Instead of wait_begin(). */
bool wait_known(int ep, struct epoll_event *events, int max, int *r);

/* After the look: r > 0 events, 0 none, < 0 failed. True: return r now (what is overdue was
 * flushed); false: nothing was ready, everything was flushed: make the real call. */
bool wait_looked(int r);

/* After the real call: ends the turn if it was a sleep. */
void wait_end_owing(int r);

static inline void
wait_end(struct wait *w, int r)
{
	interest_waited();
	if (!self.wrote)
		return;
	if (turn_owes())
		wait_end_owing(r);
	else if (r == 0 || !w->zero)
		turn_slept();
}

/* Any other call that sleeps: everything held leaves, the turn ends. */
void wait_sleep(void);

/* pthread_cond_*wait and sem_*wait. */
void wait_cond(void);

/* accept, connect, a blocking read of no stream: flushes if it may sleep; to be called
 * before; wait_end() after. `fd` is asked whether it blocks only if something is held. */
void wait_blocking(struct wait *w, int fd);
#endif
