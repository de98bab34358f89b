#ifndef WEIR_BASE_LOCK_H
#define WEIR_BASE_LOCK_H
/* base/lock: a lock word that holds its holder's thread number.
 *
 * Sections are short: nothing that may block, and no cancellation point, is called under a
 * lock, so a waiter spins, then yields, then sleeps 50 us at a time; the holder never has
 * to wake anybody. Signals are not blocked (two system calls would cost more than most
 * sections). Instead a handler that finds its own thread's number in the word knows that
 * it interrupted the holder: lock_take() then answers false, and the caller does without.
 *
 * Lock order, low first; a stream's own lock (stream/stream.h) comes before all of these:
 *   stream > threads (stream/turn) > pool > region
 * Threads: any. Signals: safe, as said. */
#include <stdbool.h>
#include <stdint.h>

struct lock {
	uint32_t word; /* 0 free, else the holder's thread number */
};

/* True: held, give it back with lock_give(). False: our own thread holds it (we are a
 * handler): do without. `tid` is the caller's thread number, never 0. */
bool lock_take(struct lock *l, uint32_t tid);
/* The same, but also false once it would have to sleep: for who holds what the holder's handlers may
 * be waiting for. The caller does without. */
bool lock_take_soon(struct lock *l, uint32_t tid);
void lock_give(struct lock *l);

/* One step of waiting for somebody else's short section; `spins` counts the steps. */
void lock_wait(unsigned *spins);
#endif
