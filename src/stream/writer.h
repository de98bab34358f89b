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
#include "base/libc.h"
#include "stream/counts.h"
#include "stream/evidence.h"
#include "stream/hot.h"
#include "stream/room.h"
#include <sys/uio.h>

/* Right also where an interrupted section has left a cap below the tail. */
static inline bool
writer_fits(const struct stream *s, uint32_t tail, size_t n)
{
	return tail < s->cap && n - 1 < (uint64_t)s->cap - tail;
}

/* The end of an append that has more to count than most. Returns `n`. */
ssize_t writer_appended(struct stream *s, struct thread *thread, size_t n);

/* Sets the mark. Returns where `n` more bytes of `s` go, *w being its word; NULL: not here, and no mark. */
static inline __attribute__((always_inline)) char *
writer_append_begin(struct stream *s, struct thread *thread, size_t n, uint64_t *w)
{
	char *chunk;

	if (!hot_begin(thread, s))
		return NULL;
	/* Before the owner: where a handler has forked meanwhile, both are gone. */
	chunk = __atomic_load_n(&s->chunk, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*w = stream_word(s);
	if (__atomic_load_n(&s->owner, __ATOMIC_RELAXED) == self.tid && !w_holder(*w) &&
	    writer_fits(s, w_tail(*w), n))
		return chunk + w_tail(*w);
	hot_end(thread);
	return NULL;
}

/* The bytes are in their place. True: they are held, and yet to be counted; false: they are not, and the
 * mark is gone. */
static inline __attribute__((always_inline)) bool
writer_append_commit(struct stream *s, struct thread *thread, size_t n, uint64_t w)
{
	if (thread->hot == s && hot_commit(&s->w, w, w + n))
		return true;
	hot_end(thread);
	return false;
}

/* The hot path: `n`: the bytes are held and the call is done; 0: nothing was done. No atomic
 * instruction, no lock: stream/section.h. The counts are added under the mark, so they have one
 * writer. Where a handler settled the append, the quarantine ends at this thread's next write that
 * is none (section_reap). At most HOT_SMALL bytes, which need no call to be copied. */
static inline __attribute__((always_inline)) ssize_t
writer_append_small(struct stream *s, const void *buf, size_t n)
{
	struct thread *thread = self.thread;
	char *to;
	uint64_t w;

	hot_known(n > 0 && n <= HOT_SMALL);
	to = writer_append_begin(s, thread, n, &w);
	if (!to)
		return 0;
	hot_copy(to, buf, n);
	if (!writer_append_commit(s, thread, n, w))
		return 0;
	if (__builtin_expect(!count_answered_quick(s, SENT, n), 0))
		return hot_all(writer_appended(s, thread, n));
	quick_set(s->nr_writes, 2);
	hot_end(thread);
	return (ssize_t)n;
}

/* What write() and send() try first; 0: nothing was done. A handler may come between any two looks at
 * self: the record itself tells whose it is. */
static inline __attribute__((always_inline)) ssize_t
writer_append_hot(int fd, const void *buf, size_t n)
{
	struct stream *s;

	if (fd != self.hot_fd || n - 1 >= HOT_SMALL)
		return 0;
	s = self.hot;
	if (!s || quick(s->fd) != fd || !stream_word(s))
		return 0;
	return writer_append_small(s, buf, n);
}

/* Appends the `n` > 0 bytes of all pieces to what this thread holds on `s`. */
bool writer_append(struct stream *s, const struct iovec *iov, size_t nr, size_t n);

/* The other quick answer, for a write that stands alone: nothing is held, it is the first since
 * bytes were read, nothing says that more follows (nor MSG_MORE), and it will not sleep. True: call natively,
 * then writer_went_quick() or writer_sent(). False: writer_take() decides. */
static inline __attribute__((always_inline)) bool
writer_alone(struct stream *s, size_t len)
{
	/* One branch for all. */
	if (stream_word(s) | quick(s->lively) | (uintptr_t)quick(s->borrow) | self.owing)
		return false;
	if (!stream_never_blocks(s) && len > quick(s->room))
		return false;
	quick_set(s->writing, self.turning);
	evidence_alone(s);
	return true;
}

/* As writer_alone(), for the second write of a turn where that is no evidence (stream/evidence.h). */
static inline __attribute__((always_inline)) bool
writer_second(struct stream *s, size_t len)
{
	return !(stream_word(s) | (uintptr_t)quick(s->borrow) | self.owing) &&
	       (stream_never_blocks(s) || len <= quick(s->room)) && evidence_second(s);
}

/* Either: nothing is to decide. */
static inline __attribute__((always_inline)) bool
writer_goes(struct stream *s, size_t len)
{
	return writer_alone(s, len) || writer_second(s, len);
}

/* All of it went, and self.tally is there. False: writer_sent() is due. `alone`: self_is_alone(). */
static inline __attribute__((always_inline)) bool
writer_went_quick(struct stream *s, size_t len, bool alone)
{
	if (!(__builtin_expect(alone, 1) ? count_native_quick(s, SENT, len, true)
					 : count_native_quick(s, SENT, len, false)))
		return false;
	quick_set(s->proven, 1);
	room_went(s, len);
	return true;
}

/* Decides on a write that was not appended. True: done, *result is what the call returns (n, a
 * short count or -errno). False: call natively, then writer_sent(). Not for calls with a
 * name or control data: those quiesce. */
bool writer_take(struct stream *s, const struct iovec *iov, int nr_iov, int flags,
		 ssize_t *result);

/* How the rest of a large write waits on a blocking socket: the raw call, until interpose puts
 * libc's own in its place, which is a cancellation point as the native write is. -errno out. */
extern ssize_t (*writer_sendmsg)(int fd, const struct msghdr *msg, int flags);

/* A native write of `len` bytes returned `r` (count or -errno); also one of those that are never
 * held (sendfile, a name, control data) and so never came to writer_take(). */
void writer_sent(struct stream *s, size_t len, ssize_t r);
#endif
