#ifndef WEIR_STREAM_TURN_H
#define WEIR_STREAM_TURN_H
/* stream/turn: what a thread owes before it sleeps.
 *
 * A thread that holds bytes, or has borrowed some, has a record (struct thread) that lists the descriptors; entries
 * are hints, dropped when they turn out stale. The keeper reads the same lists.
 * At most one stream with held bytes is awaited (self.awaited): it is released, its bytes
 * flushed, as soon as the thread turns to another stream, a wait call or a sleep.
 * Threads: own record. Signals: safe. */
#include "pool/pool.h"
#include "stream/stream.h"

enum { NR_HELD = 1022 };
/* So many condition-variable sleeps in a row, each followed by a write, predict the next. */
enum { TURN_PREDICTED = 2 };
/* Where that was wrong, a reply was out with the delay only: the next so many keep nothing back, and twice as
 * many each time, unless as many were right since as pay for a wrong one. */
enum { COND_SKIP = 16, COND_MOST_SKIPPED = 4096, COND_WORTH = 128 };

struct thread {
	uint32_t tid;       /* A: 0 free */
	uint32_t nr_held;   /* O: entries of fd[]; read by the keeper */
	struct stream *hot; /* O: an append or a take is under way (stream/hot.h); read by
			     * who takes the stream away */
	int32_t fd[NR_HELD];
	struct pool_cache cache;
};

/* From the constructor: how the end of a thread is noticed. Early, so that the key is among the
 * first, for which a thread's first value needs no memory. */
void turn_init(void);

/* The caller's record, made on first use; NULL: no memory. */
struct thread *turn_thread(void);
/* The i-th record of any thread that ever held, or NULL after the last. */
struct thread *turn_thread_at(unsigned i);
struct thread *turn_thread_of(uint32_t tid); /* NULL: none, or it has ended */
void
turn_thread_end(void); /* flushes what it holds, gives its record, cache and tally back */

/* The list, or the pool, is full: the older half of the list is flushed and settled. Not within a section. */
void turn_make_room(void);

static inline bool
turn_full(void)
{
	return self.thread && self.thread->nr_held == NR_HELD;
}

/* Every number that any thread lists, one after the other. Some may come twice, or be listed no more;
 * none that is listed all the while is missed, though its thread may be changing its list. */
void turn_each(void (*see)(int fd, void *arg), void *arg);

/* Lists `s` among what this thread holds or has borrowed. False: the list is full, or the gate is
 * shut. Listed first, then the gate is looked at: whoever shuts it waits for the sections of
 * what is listed, and quiesces it. */
bool turn_list(struct stream *s);

/* True: this thread holds or has borrowed bytes (or did, until others saw to them), or the kernel is still to
 * be told what an epoll instance is to wait for (stream/interest). */
static inline bool
turn_owes(void)
{
	return self.owed != 0;
}

/* The same, where the last entry has turned out stale: after dropping all that are. */
bool turn_still_owes(void);

/* Somebody called pthread_cancel(): a call that is answered from memory is a cancellation point, too,
 * and the hot paths are none. From now on nothing gets hot. */
void turn_cool(void);
bool turn_cooled(void);

/* Where this thread takes chunks from; NULL: it has no record. */
static inline struct pool_cache *
turn_cache(void)
{
	return self.thread ? &self.thread->cache : NULL;
}

/* The thread reads or writes `fd`: another awaited stream is released first. */
void turn_release(void);

static inline void
turn_to(int fd)
{
	if (self.awaited && self.awaited != fd + 1)
		turn_release();
}

/* Before what will sleep: everything leaves, what was taken is settled. turn_slept() after it, if it really slept. */
void turn_flush(void);

/* What a handler has held meanwhile is yet to leave before the next sleep. */
static inline void
turn_slept(void)
{
	self.turn++;
	/* In this order: a handler may hold between the two. */
	self.wrote = false;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(turn_owes(), 0))
		self.wrote = true;
}

/* Before a sleep on a condition variable or semaphore: as turn_flush() and turn_slept(), but the
 * awaited stream is kept back where the thread is known to write on. */
void turn_cond(void);

/* At the last one it was kept back, and should not have been: the thread does not write on, and the
 * keeper had to release it. */
void turn_kept_in_vain(void);

/* Flushes and settles what is older than half the delay. */
void turn_overdue(void);
#endif
