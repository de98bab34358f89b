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
#include "stream/evidence.h"
#include <string.h>
#include <sys/uio.h>

/* Right also where an interrupted section has left a cap below the tail. */
static inline bool
writer_fits(const struct stream *s, uint32_t tail, size_t n)
{
	return tail < s->cap && n - 1 < (uint64_t)s->cap - tail;
}

/* Sixteen bytes at once, wherever they lie. */
typedef char writer_piece __attribute__((vector_size(16), aligned(1), may_alias));

/* memcpy() without the call, up to 64 bytes: overlapping pieces from both ends. */
static inline __attribute__((always_inline)) void
writer_copy(char *to, const char *from, size_t n)
{
	if (n >= 16) {
		writer_piece head = *(const writer_piece *)from;
		writer_piece tail = *(const writer_piece *)(from + n - 16);

		if (n > 32) {
			writer_piece second = *(const writer_piece *)(from + 16);
			writer_piece third = *(const writer_piece *)(from + n - 32);

			*(writer_piece *)(to + 16) = second;
			*(writer_piece *)(to + n - 32) = third;
		}
		*(writer_piece *)to = head;
		*(writer_piece *)(to + n - 16) = tail;
	} else {
		for (size_t i = 0; i < n; i++)
			to[i] = from[i];
	}
}

/* Where on the stack we are, for a handler that finds our mark; so far down as the calls lie in
 * which the thread later asks whether that code has been left (self_left()). */
enum { WRITER_DEPTH = 640 };

static inline __attribute__((always_inline)) void
writer_note_stack(void)
{
	uintptr_t sp;

#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %0" : "=r"(sp));
#else
	sp = (uintptr_t)__builtin_frame_address(0);
#endif
	self.inside_sp = sp - WRITER_DEPTH;
}

/* The hot path: true if the bytes are held and the call is done. No atomic instruction, no lock:
 * stream/section.h. The counts are added under the mark, so they have one writer. Where a handler
 * settled the append, the quarantine ends at this thread's next write that is none
 * (section_reap). `small`: at most 64 bytes, which need no call to be copied. */
static inline __attribute__((always_inline)) bool
writer_append_marked(struct stream *s, const void *buf, size_t n, bool small)
{
	struct thread *thread = self.thread;
	bool done = false;
	uint64_t w;

	/* Inside, appending: we are a handler, and what we interrupted has to be settled first. */
	if (self.inside || thread->appending)
		return false;
	writer_note_stack();
	__atomic_store_n(&thread->appending, s, __ATOMIC_RELAXED);
	__atomic_signal_fence(
		__ATOMIC_SEQ_CST); /* the mark before the look at the owner: the
						  * other side's membarrier does the rest */
	w = stream_word(s);
	if (__atomic_load_n(&s->owner, __ATOMIC_RELAXED) == self.tid && !w_holder(w) &&
	    writer_fits(s, w_tail(w), n)) {
		if (small)
			writer_copy(s->chunk + w_tail(w), buf, n);
		else
			memcpy(s->chunk + w_tail(w), buf, n);
		done = thread->appending == s && word_commit_own(&s->w, w, w + n);
		if (done) {
			count_held(s, n, small);
			s->nr_writes = 2;
		}
	}
	__atomic_store_n(&thread->appending, NULL, __ATOMIC_RELEASE);
	return done;
}

/* What write() and send() try first. It calls nothing and looks nothing up, so the entries keep
 * nothing on the stack; what it cannot do, the other half does. */
static inline __attribute__((always_inline)) bool
writer_append_hot(int fd, const void *buf, size_t n)
{
	struct stream *s = self.hot;

	return s && fd == self.hot_fd && n - 1 < 64 &&
	       writer_append_marked(s, buf, n, true);
}

/* From now on threads may be cancelled, and every call has to look: nothing is hot any more. */
void writer_cool(void);

/* Appends any size to what this thread holds on `s`. */
bool writer_append(struct stream *s, const void *buf, size_t n);

/* The other quick answer, for a write that stands alone: the first since bytes were read, and
 * nothing says that more follows. True: call natively, then writer_sent(). False:
 * writer_take() decides. */
static inline __attribute__((always_inline)) bool
writer_alone(struct stream *s, size_t len, int flags)
{
	if (stream_held(s) || s->unquiet || s->chatty >= 2 || flags & MSG_MORE ||
	    self.cond_fd)
		return false;
	if ((self.awaited && self.awaited != (int32_t)s->fd + 1) ||
	    (len > s->room && stream_blocking(s)))
		return false;
	s->writer = self.tid;
	s->turn = self.turn;
	self.call_start_ns = 0;
	evidence_alone(s);
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

/* The same where all of it went. */
void writer_went(struct stream *s, size_t len);
#endif
