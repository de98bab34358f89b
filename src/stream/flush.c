#include "stream/flush.h"
#include "pool/pool.h"
#include "stream/borrow.h"
#include "stream/counts.h"
#include "stream/room.h"
#include "stream/turn.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { DRAIN_MS = 1000, SLACK = 4096 };

/* The number was closed unseen, and is something else by now. */
static bool
gone(int err)
{
	return err == ENOTSOCK || err == EBADF;
}

static void
count_flush(struct stream *s, enum flush_reason reason)
{
	struct totals *totals = &region_get()->totals;
	int64_t held_ns = sys_now_ns() - relaxed(stream_cold(s)->first_ns);

	count_add(&totals->hold[bucket_ns(hold_bounds_ns, NR_HOLD_BOUNDS,
					  (uint64_t)held_ns)],
		  1);
	count_add(&totals->hold_ns, (uint64_t)held_ns);
	count_add(&stream_record(s)->rare[SENT].flushes[reason], 1);
}

/* A reply of which a piece already left would wait for the peer's delayed ACK (Nagle). */
static bool
needs_push(struct stream *s, enum flush_reason reason)
{
	if (!relaxed(s->left) || !(relaxed(s->options) & OPTION_TCP) ||
	    (reason != FLUSH_TURN && reason != FLUSH_SLEEP && reason != FLUSH_DELAY))
		return false;
	stream_ask_push(s);
	return !(relaxed(s->options) & (OPTION_NODELAY | OPTION_CORK));
}

static void
set_nodelay(const struct stream *s, int on)
{
	sys_setsockopt(stream_fd(s), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void
flush_pushed(struct stream *s)
{
	self.pushing = false;
	set_nodelay(s, 0);
}

static bool
releases(enum flush_reason reason)
{
	return reason == FLUSH_TURN || reason == FLUSH_SLEEP || reason == FLUSH_CLOSE ||
	       reason == FLUSH_SHUTDOWN;
}

/* Commits first: from then on nothing of it is sent again, whoever comes in between. */
static enum outcome
empty_chunk(struct stream *s)
{
	bool ours = section_commit(s, 0, 0);

	section_landed();
	if (!ours)
		return SETTLED;
	section_empty(s);
	return DONE;
}

/* An error that a flush took is given once, to the call that comes next. EPIPE the kernel repeats
 * by itself, signal included. */
static void
keep_error(struct stream *s, int err)
{
	if (err == EPIPE)
		return;
	relaxed_set(s->err, (uint8_t)err);
	if (!gone(err))
		count_add(&region_get()->totals.deferred, 1);
}

static bool
refusal(int err)
{
	return err == EAGAIN || err == EINTR || err == ENOBUFS || err == ENOMEM;
}

static void
count_lost(struct stream *s, uint32_t held, int err)
{
	count_add(&stream_record(s)->flow[SENT].discarded, held);
	count_add(&region_get()->totals.discarded[DISCARD_RESET], held);
	if (!gone(err))
		count_error(OP_WRITE, err);
	relaxed_set(s->proven,
		    0); /* so the next write is native, and finds out by itself */
}

bool
flush_lost(struct stream *s, uint32_t held, int err)
{
	if (refusal(err))
		return false;
	count_lost(s, held, err);
	keep_error(s, err);
	return true;
}

/* A flight failed for good: the held bytes will never arrive. */
static enum outcome
discard(struct stream *s, uint32_t held, int err)
{
	if (empty_chunk(s) == SETTLED)
		return SETTLED;
	count_lost(s, held, err);
	return FAILED;
}

/* Memory pressure: nothing more is held, nor added behind what is, until the kernel has taken it. */
static enum outcome
refused(struct stream *s, uint64_t w, uint32_t went)
{
	if (relaxed(s->proven))
		count_internal(INTERNAL_REFUSED);
	relaxed_set(s->proven, 0);
	s->cap = w_tail(w);
	if (went && !section_commit(s, w_head(w) + went, w_tail(w)))
		return SETTLED;
	section_landed();
	return REFUSED;
}

static enum outcome
all_went(struct stream *s, enum flush_reason reason)
{
	enum outcome outcome;

	relaxed_set(s->proven, 1);
	outcome = empty_chunk(s);
	if (outcome == DONE)
		count_flush(s, reason);
	return outcome;
}

static ssize_t
fly(struct stream *s, bool push, const struct iovec *own, int nr_own, int flags,
    size_t *own_went)
{
	ssize_t r;

	if (push) {
		self.pushing = true;
		set_nodelay(s, 1);
	}
	r = section_fly(s, own, nr_own, flags, own_went);
	if (push)
		flush_pushed(s);
	return r;
}

enum outcome
flush_with(struct stream *s, enum flush_reason reason, const struct iovec *own,
	   int nr_own, int flags, size_t *own_went, int *err)
{
	uint64_t w = stream_word(s);
	uint32_t held = w_tail(w) - w_head(w);
	bool push = needs_push(s, reason);
	enum outcome outcome;
	ssize_t r;

	/* Now: when the call returns another thread may have read the peer's answer already. */
	relaxed_set(s->left, 1);
	if (releases(reason))
		relaxed_set(s->awaited, 0);
	r = fly(s, push, own, nr_own, flags, own_went);
	/* The caller's pointer is bad: what is held must not suffer; the native call will say so. */
	if (r == -EFAULT && nr_own && section_ours(s))
		r = fly(s, push, NULL, 0, flags, own_went);
	*err = r < 0 ? (int)-r : 0;
	if (!section_ours(s)) {
		if (r < 0 && !refusal(*err))
			keep_error(s, *err); /* asking again would not bring it back */
		return SETTLED;
	}
	section_counted(s, r);
	if (r > 0)
		room_use(s, (uint64_t)r);
	if (r < 0 && !refusal(*err))
		return discard(s, held, *err);
	if (r < (ssize_t)held)
		return refused(s, w, r > 0 ? (uint32_t)r : 0);
	outcome = all_went(s, reason);
	/* Where it was settled just now, the handler has told. */
	if (outcome == DONE)
		*own_went = (size_t)r - held;
	return outcome;
}

enum outcome
flush_locked(struct stream *s, enum flush_reason reason)
{
	size_t own_went;
	int err;
	enum outcome outcome = flush_with(s, reason, NULL, 0, 0, &own_went, &err);

	if (outcome == FAILED)
		keep_error(s, err);
	return outcome;
}

int
stream_flush(struct stream *s, enum flush_reason reason)
{
	uint64_t cookie = relaxed(stream_cold(s)->cookie);
	enum outcome outcome;

	do {
		if (!stream_held(s))
			return 0;
		section_enter(s);
		outcome = stream_held(s) ? flush_locked(s, reason) : DONE;
		section_leave(s);
	} while (outcome == SETTLED);
	if (outcome == FAILED && gone(relaxed(s->err)))
		stream_forget_socket(stream_fd(s), cookie);
	return outcome == REFUSED ? -EAGAIN : 0;
}

/* SO_SNDBUF may be raised by what is held, up to wmem_max, and the kernel then drains it after
 * our death as it would natively. It is never lowered: an autotuned buffer may be above. */
static void
raise_buffer(struct stream *s)
{
	int old = 0, new;
	socklen_t len = sizeof(old);

	if (sys_getsockopt(stream_fd(s), SOL_SOCKET, SO_SNDBUF, &old, &len) < 0)
		return;
	new = old / 2 + (int)stream_held(s) + SLACK;
	sys_setsockopt(stream_fd(s), SOL_SOCKET, SO_SNDBUF, &new, sizeof(new));
	len = sizeof(new);
	if (sys_getsockopt(stream_fd(s), SOL_SOCKET, SO_SNDBUF, &new, &len) == 0 &&
	    new < old) {
		old /= 2;
		sys_setsockopt(stream_fd(s), SOL_SOCKET, SO_SNDBUF, &old, sizeof(old));
	}
}

void
stream_drain(struct stream *s, enum flush_reason reason)
{
	struct pollfd pfd = { .fd = stream_fd(s), .events = POLLOUT };
	int64_t until = 0, now;

	borrow_settle(s);
	while (stream_flush(s, reason) == -EAGAIN) {
		now = sys_now_ns();
		if (!until)
			raise_buffer(s);
		else if (now >= until)
			break;
		else
			sys_poll(&pfd, 1, (int)((until - now) / 1000000) + 1);
		if (!until)
			until = now + DRAIN_MS * INT64_C(1000000);
	}
	while (stream_held(s)) {
		uint32_t held;

		section_enter(s);
		held = stream_held(s);
		if (empty_chunk(s) == DONE) {
			count_add(&stream_record(s)->flow[SENT].discarded, held);
			count_add(&region_get()->totals.discarded[DISCARD_EXIT], held);
		}
		section_leave(s);
	}
}

int
stream_error(struct stream *s)
{
	int err = __atomic_exchange_n(&s->err, 0, __ATOMIC_RELAXED);

	if (!gone(err))
		return err;
	stream_forget(stream_fd(s));
	return 0;
}
