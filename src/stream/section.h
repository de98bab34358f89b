#ifndef WEIR_STREAM_SECTION_H
#define WEIR_STREAM_SECTION_H
/* stream/section: the lock of a stream, and what a signal handler does about a section of
 * its own thread that it interrupted.
 *
 * Nothing that may block and no cancellation point lies in a section, and no signal is
 * blocked for it. So a handler may find that its own thread holds the lock, and must not
 * wait. It settles the section: it completes the flight under way (the kernel's count is in
 * memory, what has not begun is cancelled), sends what earlier calls left held, and frees
 * the lock. The interrupted code, should it ever go on, finds at its next commit that the
 * word is no longer its own, and begins again. Right whether the handler returns or leaves
 * by siglongjmp.
 *
 * Every change of head and tail is committed by section_commit(). But the interrupted code may
 * be about to store other fields (chunk, tier, cap, owner), or to copy into the chunk. So
 * from then on the stream is "settled": nothing new is held on it by any thread, and nobody
 * gives it a chunk or takes one off, until the interrupted section has come to its
 * section_leave(), which puts all that right; or, where a handler left it by siglongjmp,
 * until its thread notices (section_reap()). Meanwhile every write is native.
 *
 * What such a jump loses: no byte, but the chunk that the section it leaves had in hand just then:
 * between the pool and the stream, or on the way back. So at most one a section left, and a jump
 * leaves as many sections as handlers were nested. The pool cannot tell: it may have
 * given the chunk away again by the time that the thread notices, and a chunk lost is better
 * than one with two owners.
 *
 * The owner of what is held appends without the lock and without an atomic instruction
 * (writer_append): it marks its thread's record (thread->hot), then looks at s->owner.
 * Who locks a stream that another thread owns first makes it nobody's: membarrier(2), so that
 * either the owner has seen the lock, or we see its mark; then waits while the mark is there.
 * The lock is kept meanwhile, for the owner's commit is no bus-locked instruction: it may
 * still overwrite the lock (then we begin again), or, failing, write back what it read, which
 * is harmless only as long as we hold what it read. A handler that finds its own thread's
 * mark quarantines the stream in the same way as an interrupted section, then clears the mark:
 * so nobody waits for a thread that waits for the lock.
 *
 * Threads: any that passed self_enter(). Signals: safe. */
#include "stream/stream.h"

#define W_BITS 21
#define W_MASK ((UINT64_C(1) << W_BITS) - 1)

static inline uint32_t
w_holder(uint64_t w)
{
	return (uint32_t)(w >> (2 * W_BITS));
}

static inline uint32_t
w_head(uint64_t w)
{
	return (uint32_t)(w >> W_BITS & W_MASK);
}

static inline uint32_t
w_tail(uint64_t w)
{
	return (uint32_t)(w & W_MASK);
}

static inline uint64_t
w_make(uint32_t holder, uint32_t head, uint32_t tail)
{
	return (uint64_t)holder << (2 * W_BITS) | (uint64_t)head << W_BITS | tail;
}

static inline uint64_t
stream_word(const struct stream *s)
{
	return __atomic_load_n(&s->w, __ATOMIC_RELAXED);
}

static inline uint32_t
stream_held(const struct stream *s)
{
	uint64_t w = stream_word(s);

	return w_tail(w) - w_head(w);
}

/* The read half's word (stream/borrow.h). A new epoch with each borrow, and with each that ends, so
 * that what an interrupted take saw never comes back. */
static inline uint32_t
r_next(uint64_t r)
{
	return (uint32_t)(r >> W_BITS & W_MASK);
}

static inline uint32_t
r_end(uint64_t r)
{
	return (uint32_t)(r & W_MASK);
}

static inline uint64_t
r_anew(uint64_t old, uint32_t next, uint32_t end)
{
	return ((old >> (2 * W_BITS)) + 1) << (2 * W_BITS) | (uint64_t)next << W_BITS |
	       end;
}

static inline uint64_t
stream_read_word(const struct stream *s)
{
	return __atomic_load_n(&s->r, __ATOMIC_RELAXED);
}

/* True: input of it is borrowed, and some of that unread. */
static inline bool
stream_borrowed(const struct stream *s)
{
	return r_end(stream_read_word(s)) != 0;
}

static inline bool
word_commit(uint64_t *word, uint64_t old, uint64_t new)
{
	/* Release: pairs with section_enter(). */
	return __atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

/* The word is read by its own thread alone between enter and leave: still ours? */
static inline bool
section_ours(const struct stream *s)
{
	return w_holder(stream_word(s)) == self.tid;
}

/* An interrupted section may yet store into it: nothing is held, no chunk changes hands. */
static inline bool
section_settled(const struct stream *s)
{
	const struct stream_cold *cold = stream_cold(s);
	uint32_t any = 0;

	for (int i = 0; i < NR_SETTLED_BY; i++)
		any |= __atomic_load_n(&cold->settled_by[i], __ATOMIC_RELAXED);
	return any != 0;
}

/* With the section entered: waits until the thread `tid` is in no hot path of `s`. Another one it
 * does not begin while we have the lock. False: a handler of ours settled the section
 * meanwhile. */
bool section_revoke(struct stream *s, uint32_t tid);

/* Takes the lock, waiting for other threads, settling an interrupted section or append of our
 * own, and taking the stream from another owner. */
void section_enter(struct stream *s);

/* The same, and what was held is held no more (its number is another socket by now). */
void section_enter_dropping(struct stream *s);

/* True: another thread is in a section of `s`, or on a hot path of it, for longer than a moment: maybe
 * a handler that computes has interrupted it. For who has other streams to see to, and comes back. */
bool section_stuck(const struct stream *s);

/* Gives it back. False: the section was settled by a handler meanwhile; then what it left is
 * put right here. Each section_enter() has one section_leave(). */
bool section_leave(struct stream *s);

/* With the section entered and nothing held: takes the chunk off and puts it, unless settled. */
void section_empty(struct stream *s);

/* If a section of this thread was settled and then left by siglongjmp: puts right what it left.
 * Not from within a section. */
void section_reap(void);

/* The thread ends: none of its sections will resume. */
void section_thread_end(void);

/* head and tail change, the lock stays. False: settled meanwhile: begin again. */
bool section_commit(struct stream *s, uint32_t head, uint32_t tail);

/* If this thread interrupted a section of its own: settles it. Called by what may sleep, end
 * the process, or leave the handler's frame (the longjmp family). */
void section_settle(void);

/* With the section entered: sends what is held, followed by the caller's own `nr_own` pieces, as
 * one flight. Returns what went in all or -errno. To be followed by section_counted(),
 * section_commit() and section_landed(). Where the section turns out to be settled, *own_went
 * tells how many of the caller's own bytes went (else it is 0). nr_own < FLIGHT_IOV. */
ssize_t section_fly(struct stream *s, const struct iovec *own, int nr_own, int flags,
		    size_t *own_went);
void section_landed(void);

/* With the section entered: takes the `n` bytes of the borrow `r` that the application was given
 * from the kernel, as a flight: into `to`, or drops them (NULL, TCP). Returns the bytes or
 * -errno. To be followed by section_swallowed(), the commit, and section_landed(). */
ssize_t section_swallow(struct stream *s, uint64_t r, char *to, size_t n);

/* Adds what was taken to the counts, unless a handler has done so. */
void section_swallowed(struct stream *s, ssize_t went);

/* Adds the flight that returned `r` to the counts, unless a handler has done so: what the kernel
 * got, and as the application's what of that was the caller's own (not the call). */
void section_counted(struct stream *s, ssize_t r);
#endif
