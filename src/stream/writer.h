#ifndef WEIR_STREAM_WRITER_H
#define WEIR_STREAM_WRITER_H
/* stream/writer: what happens to a write.
 *
 *   app bytes = kernel bytes + held + discarded, and bytes leave in the order of their calls.
 *
 * A write is one of three: appended to the chunk (writer_append, the hot path), decided under
 * the lock (writer_take: held, or sent together with what was held), or left to the caller,
 * who makes the native call unchanged and reports it (writer_sent).
 * Results are those of the native call: n, a short count, or -errno.
 * Threads: any. Signals: safe, siglongjmp included. */
#include "stream/counts.h"
#include "stream/section.h"
#include <string.h>
#include <sys/uio.h>

/* After the commit of an append failed. */
void writer_append_failed(struct stream *s, size_t n);

/* Right also where an interrupted section has left a cap below the tail. */
static inline bool
writer_fits(const struct stream *s, uint32_t tail, size_t n)
{
	return tail < s->cap && n - 1 < (uint64_t)s->cap - tail;
}

static inline bool
writer_append(struct stream *s, const void *buf, size_t n)
{
	uint64_t w = stream_word(s), locked = w | (uint64_t)self.tid << (2 * W_BITS);
	uint32_t tail = w_tail(w);
	bool done;

	/* Inside: we are a handler, and what we interrupted has to be settled first. */
	if (w_holder(w) || s->owner != self.tid || !writer_fits(s, tail, n) || self.inside ||
	    (self.awaited && self.awaited != s->fd + 1))
		return false;
	self.inside_sp = (uintptr_t)__builtin_frame_address(0);
	self.inside = s;
	if (!__atomic_compare_exchange_n(&s->w, &w, locked, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED)) {
		self.inside = NULL;
		return false;
	}
	self.inside = s;
	if (s->owner != self.tid || !writer_fits(s, tail, n)) {
		section_leave(s);
		return false;
	}
	memcpy(s->chunk + tail, buf, n);
	count_held(s, n);
	s->nr_writes = 2;
	/* A failing cmpxchg writes too, and after a settling the word is others' to write. */
	done = stream_word(s) == locked && word_commit(&s->w, locked, w + n);
	self.inside = NULL;
	if (!done)
		writer_append_failed(s, n);
	return done;
}

/* Decides on a write that was not appended. True: done, *result is what the call returns (n, a
 * short count or -errno). False: call natively, then writer_sent(). Not for calls with a
 * name or control data: those quiesce. */
bool writer_take(struct stream *s, const struct iovec *iov, int nr_iov, int flags,
		 ssize_t *result);

/* A native write of `len` bytes returned `r` (count or -errno). It might have been held, so it is
 * evidence that others of its turn may be. */
void writer_sent(struct stream *s, size_t len, ssize_t r);

/* The same of a call that is never held: sendfile, one with a name or control data. */
void writer_passed(struct stream *s, size_t len, ssize_t r);
#endif
