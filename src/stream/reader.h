#ifndef WEIR_STREAM_READER_H
#define WEIR_STREAM_READER_H
/* stream/reader: what happens to a read.
 *
 * Small reads may be served from a borrow (stream/borrow.h). That begins after a read that was
 * small and filled its buffer, for such a one is seldom the last; and only while it pays: a
 * borrow that served few reads makes the next ones native (s->skip). Two results are
 * never joined: what does not fill the request is forgotten, and one native call made.
 * A read that moved bytes begins a turn of the stream; one that may block is a sleep, before
 * which what this thread holds must leave.
 * Threads: any. Signals: safe, siglongjmp included. */
#include "stream/borrow.h"

/* With these flags a read may be served: none of them changes what the bytes mean. */
enum { SERVED_FLAGS = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL | MSG_PEEK };

/* A native read of `s`, of any kind, is about to be made, and has returned. Every enter has its leave,
 * save where the call is left by siglongjmp or cancellation: then `s` never borrows again. */
void reader_meets_borrow(struct stream *s);

/* Only threads of the program read, and begin to borrow. */
static inline __attribute__((always_inline)) void
reader_one_more(struct stream *s, bool alone)
{
	if (alone)
		plain_add32(&s->nr_readers, 1);
	else /* a full barrier: pairs with the borrower's */
		__atomic_fetch_add(&s->nr_readers, 1, __ATOMIC_SEQ_CST);
}

static inline __attribute__((always_inline)) void
reader_one_less(struct stream *s, bool alone)
{
	bool below;

	if (alone)
		below = plain_less32(&s->nr_readers);
	else
		below = __atomic_sub_fetch(&s->nr_readers, 1, __ATOMIC_RELEASE) < 0;
	/* A handler has forked, and this is the child. */
	if (__builtin_expect(below, 0))
		__atomic_fetch_add(&s->nr_readers, 1, __ATOMIC_RELAXED);
}

static inline void
reader_enter(struct stream *s)
{
	reader_one_more(s, self_is_alone());
	if (__builtin_expect(__atomic_load_n(&s->borrow, __ATOMIC_RELAXED) != NULL, 0))
		reader_meets_borrow(s);
}

static inline void
reader_leave(struct stream *s)
{
	reader_one_less(s, self_is_alone());
}

/* A read of `n` bytes would be served from a borrow, as far as the reads before tell. To be asked
 * once a read, for it counts those that are to stay native. */
static inline bool
reader_wants(struct stream *s, size_t n)
{
	uint16_t skip;

	if (!quick(s->filled) || n >= s->small)
		return false;
	skip = relaxed(s->skip);
	if (!skip)
		return true;
	quick_set(s->skip, skip - 1);
	return false;
}

/* As far as is known. */
static inline bool
reader_may_sleep(const struct stream *s, int flags)
{
	return !stream_never_blocks(s) && !(flags & MSG_DONTWAIT);
}

/* No more is to do for a read than to make it, between enter and leave: nothing is held that would have
 * to leave before a sleep, and it will not be served. Else reader_begin() is due; also where nobody has
 * asked yet whether the stream blocks. */
static inline bool
reader_plain(struct stream *s, size_t n, int flags)
{
	if (turn_owes() || (self.wrote && reader_may_sleep(s, flags) &&
			    !(quick(s->options) & OPTION_BLOCK_KNOWN)))
		return false;
	return !reader_wants(s, n);
}

/* What reader_begin() did. */
enum reading {
	READ_NATIVE, /* make the call; reader_end() is due */
	READ_SLEEPS, /* likewise; everything left before, because it may sleep */
	READ_MADE,   /* it was made, and answered: *result; reader_end() is due */
	READ_SERVED  /* answered and counted: *result is what the call returns */
};

/* Before a read of `n` > 0 bytes into `msg`. `servable`: it wants nothing but bytes.
 * *result: a count, 0 or -errno. */
enum reading reader_begin(struct stream *s, struct msghdr *msg, size_t n, int flags,
			  bool servable, ssize_t *result);

/* After it: the leave, and the counts. Returns what the application gets. */
ssize_t reader_end(struct stream *s, enum reading reading, size_t n, bool peek,
		   ssize_t r);

/* Counts a native read of `n` bytes that returned `r`. Returns what the application gets: `r`, or
 * the kept error where `r` is an end of file. `peek`: MSG_PEEK. */
ssize_t reader_count(struct stream *s, size_t n, bool peek, ssize_t r);

/* The same where bytes were moved. Returns how many. */
ssize_t reader_moved(struct stream *s, size_t n, size_t went);

/* Begins a plain read; one that may sleep begins a turn, too. False: something is borrowed, so
 * reader_begin() is due after all. `alone`, here and at its end: self_is_alone(), asked once. What a
 * handler can do meanwhile does not change it: to make a thread is not async-signal-safe (POSIX, signal
 * concepts). */
static inline __attribute__((always_inline)) bool
reader_plain_begin(struct stream *s, int flags, bool alone)
{
	reader_one_more(s, alone);
	if (__builtin_expect(quick(s->borrow) != NULL, 0)) {
		reader_one_less(s, alone);
		return false;
	}
	if (reader_may_sleep(s, flags))
		turn_slept();
	return true;
}

/* Ends it, where bytes were moved and self.tally is there. Returns how many. */
static inline __attribute__((always_inline)) ssize_t
reader_plain_end(struct stream *s, size_t n, size_t went, bool alone)
{
	reader_one_less(s, alone);
	if (!count_native_quick(s, RECEIVED, went, alone))
		return reader_moved(s, n, went);
	quick_set(s->filled, went == n && n < s->small);
	evidence_read(s);
	return (ssize_t)went;
}

/* The same where there was nothing to read: EAGAIN. */
static inline void
reader_plain_refused(struct stream *s)
{
	reader_leave(s);
	count_unmoved(s, RECEIVED);
}
#endif
