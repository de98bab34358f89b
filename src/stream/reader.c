#include "stream/reader.h"
#include "base/config.h"
#include "stream/keeper.h"
#include "stream/pair.h"
#include "stream/share.h"
#include <errno.h>

/* What MSG_DONTWAIT would answer differently, had it to wait natively. */
enum { WAITING_FLAGS = MSG_WAITALL | MSG_OOB | MSG_ERRQUEUE };

/* Threads that take turns at reading a stream gain nothing: each has to revoke the other's borrow.
 * So many reads are native after that. */
enum { SHARED_BACKOFF = 256 };

struct request {
	const struct iovec *iov;
	int nr_iov;
	size_t n;
	int flags;
};

static bool
must_not_wait(struct stream *s, int flags)
{
	return flags & MSG_DONTWAIT || !stream_blocking(s);
}

static bool
borrowable(const struct stream *s)
{
	return relaxed(s->state) == STATE_OPEN && relaxed(s->mode) == MODE_MANAGED &&
	       !relaxed(s->unborrowable) && !(relaxed(s->options) & OPTION_RCVLOWAT);
}

/* A borrow may begin, as far as can be seen without the lock. */
static bool
may_borrow(struct stream *s, size_t n)
{
	return reader_wants(s, n) && borrowable(s) && share_ask(s) == PRIVATE &&
	       !__atomic_load_n(&process->gate, __ATOMIC_RELAXED);
}

enum decision { SERVED, ANSWERED, NATIVE, AGAIN };

/* The native call is to follow. */
static enum decision
settle(struct stream *s)
{
	bool others = stream_borrowed(s) && relaxed(s->reader) != self.tid;

	if (borrow_settle_locked(s) == SETTLED)
		return AGAIN;
	if (others) {
		relaxed_set(s->backoff, SHARED_BACKOFF);
		relaxed_set(s->skip, SHARED_BACKOFF);
	}
	return NATIVE;
}

void
reader_meets_borrow(struct stream *s)
{
	enum decision decision;

	section_reap();
	do {
		section_enter(s);
		decision = settle(s);
		section_leave(s);
	} while (decision == AGAIN);
}

static enum decision
begin_borrow(struct stream *s, const struct request *q, ssize_t *result)
{
	*result = borrow_begin(s, q->flags & MSG_PEEK ? 0 : q->n);
	if (*result > 0)
		return SERVED;
	if (*result == -EINTR)
		return AGAIN;
	return *result == -EAGAIN ? NATIVE : ANSWERED;
}

/* How many bytes of `q` the borrow can answer; 0: not all that it wants. `fresh`: just made. */
static size_t
answerable(struct stream *s, const struct request *q, bool fresh)
{
	size_t rest = borrow_rest(s);

	if (q->n <= rest)
		return q->n;
	/* A peek gets what is there. */
	if (!(q->flags & MSG_PEEK) || q->flags & MSG_WAITALL ||
	    (!(fresh && !s->more) && !borrow_again(s)))
		return 0;
	rest = borrow_rest(s);
	return q->n < rest ? q->n : rest;
}

/* What is left does not fill the request: it is forgotten. If it has paid, another borrow takes
 * the place of the native call. */
static enum decision
borrow_anew(struct stream *s, const struct request *q, ssize_t *result)
{
	if (stream_borrowed(s) && settle(s) == AGAIN)
		return AGAIN;
	return reader_wants(s, q->n) ? begin_borrow(s, q, result) : NATIVE;
}

/* With the section entered. */
static enum decision
decide(struct stream *s, const struct request *q, ssize_t *result)
{
	enum decision decision;
	size_t n;

	if ((stream_borrowed(s) && relaxed(s->reader) != self.tid) ||
	    section_settled(s) || !borrowable(s))
		return settle(s);
	n = stream_borrowed(s) ? answerable(s, q, false) : 0;
	if (!n) {
		decision = borrow_anew(s, q, result);
		if (decision != SERVED)
			return decision;
		n = answerable(s, q, true);
		if (!n)
			return settle(s);
	}
	if (borrow_serve(s, q->iov, q->nr_iov, n, q->flags & MSG_PEEK) == SETTLED)
		return AGAIN;
	*result = (ssize_t)n;
	if (!borrow_rest(s)) {
		relaxed_set(s->awaited, !s->more);
		borrow_settle_locked(s);
	}
	return SERVED;
}

static void
make_hot(struct stream *s)
{
	self.hot_read = self.tally && !turn_cooled() ? s : NULL;
	self.hot_read_fd = s->fd;
	hot_keep(&self.hot_read);
}

/* True: *result is what the call returns. */
static bool
serve(struct stream *s, const struct request *q, ssize_t *result)
{
	enum decision decision;

	if (!self_enter() || !turn_thread() || !keeper_start())
		return false;
	if (turn_full())
		turn_make_room();
	do {
		section_enter(s);
		decision = decide(s, q, result);
		section_leave(s);
	} while (decision == AGAIN);
	if (decision == SERVED && stream_borrowed(s)) {
		make_hot(s);
		keeper_notice(s);
	}
	return decision != NATIVE;
}

/* The end of a call that moved nothing. Returns what the application gets. */
static ssize_t
unmoved(struct stream *s, size_t n, ssize_t r)
{
	int err;

	if (r > 0 || r == -EAGAIN || r == -EINTR || !n)
		return r;
	relaxed_set(stream_cold(s)->parted, true);
	if (r < 0)
		count_error(OP_READ, (int)-r);
	if (r == 0 && relaxed(s->err)) {
		err = stream_error(s);
		if (err)
			return -err;
	}
	return r;
}

/* Served, or answered by the peek. */
static bool
served(struct stream *s, const struct request *q, ssize_t *result)
{
	if (q->flags & ~SERVED_FLAGS || !(stream_borrowed(s) || may_borrow(s, q->n)) ||
	    !serve(s, q, result))
		return false;
	if (*result <= 0) {
		count_app(s, RECEIVED, 0);
		*result = unmoved(s, q->n, *result);
	}
	return true;
}

enum reading
reader_begin(struct stream *s, struct msghdr *msg, size_t n, int flags, bool servable,
	     ssize_t *result)
{
	struct request q = { msg->msg_iov, (int)msg->msg_iovlen, n, flags };

	if (self.nr_settled)
		section_reap();
	turn_to(s->fd);
	pair_turn(s);
	if (servable && served(s, &q, result))
		return READ_SERVED;
	reader_enter(s);
	if (!self.wrote || must_not_wait(s, flags))
		return READ_NATIVE;
	if (turn_owes() && turn_still_owes()) {
		if (!(flags & WAITING_FLAGS) &&
		    !(relaxed(s->options) & OPTION_RCVLOWAT)) {
			*result = sys_recvmsg(stream_fd(s), msg, flags | MSG_DONTWAIT);
			if (*result != -EAGAIN)
				return READ_MADE;
			count_kernel(s, RECEIVED, 0);
		}
		turn_flush();
	}
	return READ_SLEEPS;
}

ssize_t
reader_moved(struct stream *s, size_t n, size_t went)
{
	relaxed_set(s->filled, went == n && n < s->small);
	count_native(s, RECEIVED, went);
	evidence_read(s);
	return (ssize_t)went;
}

ssize_t
reader_count(struct stream *s, size_t n, bool peek, ssize_t r)
{
	if (r > 0 && !peek)
		return reader_moved(s, n, (size_t)r);
	count_unmoved(s, RECEIVED);
	return unmoved(s, n, r);
}

ssize_t
reader_end(struct stream *s, enum reading reading, size_t n, bool peek, ssize_t r)
{
	reader_leave(s);
	if (reading == READ_SLEEPS)
		turn_slept();
	return reader_count(s, n, peek, r);
}
