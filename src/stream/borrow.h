#ifndef WEIR_STREAM_BORROW_H
#define WEIR_STREAM_BORROW_H
/* stream/borrow: read-ahead that the kernel owns. Bytes are peeked into a chunk, and small reads
 * served from it; what was served is taken from the kernel later, in one call (settled).
 * Until then the kernel has all that is unread, so poll, select and epoll are right without
 * help, and nothing is lost by an exec, a crash, or by forgetting the borrow.
 *
 *   s->r = epoch | next | end, end != 0:  taken <= next < end <= size of the chunk,
 *     [taken, end) is the head of the kernel's queue,
 *     [taken, next) was given to the application: app bytes = kernel bytes + next - taken
 *   end == 0:  nothing is borrowed
 *
 * A borrow is listed with its thread (stream/turn) like held bytes, and ends as one: used up,
 * at its thread's sleep, at the delay, before any call that may see the difference. To
 * settle is to forget the rest too: it was only a copy.
 * While it is there the thread that borrowed, s->reader, takes from it without the lock
 * (borrow_take_hot). Others enter the section, and revoke as section.h says.
 *
 * Nothing is borrowed while a native read of the stream is under way (s->nr_readers), and such a
 * read begins with nothing borrowed: either side says so first, and looks at the other then.
 * Threads: any that passed self_enter(). Signals: safe, siglongjmp included. */
#include "stream/counts.h"
#include "stream/evidence.h"
#include "stream/flush.h"
#include "stream/hot.h"
#include <string.h>
#include <sys/uio.h>

/* Bytes that can be taken. */
static inline uint32_t
borrow_rest(const struct stream *s)
{
	uint64_t r = stream_read_word(s);

	return r_end(r) - r_next(r);
}

/* Since when the oldest byte waits that is held or borrowed; 0: nothing is. */
static inline int64_t
stream_oldest_ns(const struct stream *s)
{
	const struct stream_cold *cold = stream_cold(s);
	int64_t first = 0, borrow = 0;

	if (stream_held(s))
		first = __atomic_load_n(&cold->first_ns, __ATOMIC_RELAXED);
	if (stream_borrowed(s))
		borrow = __atomic_load_n(&cold->borrow_ns, __ATOMIC_RELAXED);
	return !borrow || (first && first < borrow) ? first : borrow;
}

/* The end of a take that has more to count, or to learn, than most. Returns `n`. */
ssize_t borrow_took(struct stream *s, struct thread *thread, size_t n);

/* The hot path of a read: `n`: so many bytes, at most HOT_SMALL, are in `buf`, and the call is done;
 * 0: nothing was done. The last bytes of a borrow are not taken like this, since it has to be
 * settled then. */
static inline __attribute__((always_inline)) ssize_t
borrow_take_marked(struct stream *s, void *buf, size_t n)
{
	struct thread *thread = self.thread;
	char *borrow;
	uint64_t r;

	hot_known(n > 0 && n <= HOT_SMALL);
	if (!hot_begin(thread, s))
		return 0;
	/* Before the reader: where a handler has forked meanwhile, both are gone. */
	borrow = __atomic_load_n(&s->borrow, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	r = stream_read_word(s);
	if (__atomic_load_n(&s->reader, __ATOMIC_RELAXED) != self.tid ||
	    w_holder(stream_word(s)) || n >= r_end(r) - r_next(r)) {
		hot_end(thread);
		return 0;
	}
	hot_copy(buf, borrow + r_next(r), n);
	if (thread->hot != s || !hot_commit(&s->r, r, r + (n << W_BITS))) {
		hot_end(thread);
		return 0;
	}
	if (__builtin_expect(quick(s->unquiet) || !count_answered_quick(s, RECEIVED, n),
			     0))
		return hot_all(borrow_took(s, thread, n));
	quick_count(&s->reads);
	hot_end(thread);
	return (ssize_t)n;
}

/* What read() and recv() try first; 0: nothing was done. A handler may come between any two looks at
 * self: the record itself tells whose it is. */
static inline __attribute__((always_inline)) ssize_t
borrow_take_hot(int fd, void *buf, size_t n)
{
	struct stream *s;

	if (fd != self.hot_read_fd || n - 1 >= HOT_SMALL)
		return 0;
	s = self.hot_read;
	if (!s || quick(s->fd) != fd || !quick(s->borrow) ||
	    (self.awaited && self.awaited != fd + 1))
		return 0;
	return borrow_take_marked(s, buf, n);
}

/* With the section entered, nothing borrowed, and the thread ready to hold: peeks. > 0: so much is
 * borrowed, more than `least`; -EAGAIN: no more than `least` is there, or it cannot be done
 * now; -EINTR: a handler settled the section; another -errno: the kernel's answer to a
 * read, which it will not give again. */
ssize_t borrow_begin(struct stream *s, size_t least);

/* With the section entered, and more wanted than is left: peeks again, from `taken`. True: the rest is
 * all that the kernel has. False: nothing changed. */
bool borrow_again(struct stream *s);

/* With the section entered: copies `n` bytes, no more than the rest, to the pieces; takes them,
 * unless `peek`. SETTLED: a handler came in between: begin again. */
enum outcome borrow_serve(struct stream *s, const struct iovec *iov, int nr_iov,
			  size_t n, bool peek);

/* With the section entered: the kernel gives up what was taken, and the rest is forgotten. DONE;
 * FAILED: somebody else has read from the socket, or it is none any more (closed unseen);
 * SETTLED: begin again. */
enum outcome borrow_settle_locked(struct stream *s);

/* The same, from outside a section. */
void borrow_settle(struct stream *s);

/* With the section entered: the number is another socket's by now: what was borrowed is forgotten. */
void borrow_drop(struct stream *s);

/* For stream/section: with the section entered, gives the chunk back if nothing is borrowed. */
void borrow_put(struct stream *s);

/* Settles all borrows of all threads, so that a write gets a chunk. */
void borrow_settle_all(void);
#endif
