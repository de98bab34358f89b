#include "stream/writer.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/evidence.h"
#include "stream/flush.h"
#include "stream/keeper.h"
#include "stream/pair.h"
#include "stream/room.h"
#include "stream/share.h"
#include "stream/stall.h"
#include "stream/turn.h"
#include <errno.h>
#include <limits.h>

/* A native call that took longer slept; one that took longer still met backpressure. */
enum { SLEPT_NS = 5000, WAITED_NS = 1000000 };
enum { REFUSED_MS = 1000 };
enum { HOLD_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE };

ssize_t (*writer_sendmsg)(int fd, const struct msghdr *msg, int flags) = sys_sendmsg;

struct request {
	const struct iovec *iov;
	int nr_iov;
	int flags;
	size_t len;
	bool starved; /* no chunk was to be had, */
	bool fed;     /* and what was read ahead has been given up for one */
};

static void
gather(char *to, const struct iovec *iov, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		libc_copy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

/* A chunk for an empty hold. */
static bool
take_chunk(struct stream *s, size_t len)
{
	unsigned tier = tier_for(len);
	char *chunk;

	if (s->chunk) /* left by a section that was settled */
		section_empty(s);
	if (tier < s->tier && s->tier <= tier_for(stream_chunk(s)))
		tier = s->tier;
	chunk = pool_get(tier, turn_cache(), self.tid);
	s->tier = (uint8_t)tier;
	__atomic_store_n(&s->chunk, chunk, __ATOMIC_RELEASE);
	return chunk != NULL;
}

/* The server may know that its peer has ended: by a read, or on AF_UNIX because a child has. May it still
 * be written to? */
static bool
is_writable(const struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	struct pollfd pfd = { .fd = stream_fd(s) };
	uint32_t ended = relaxed(process->nr_ended);

	if (!relaxed(cold->parted) &&
	    (relaxed(s->options) & OPTION_TCP || cold->ended == ended))
		return true;
	if (sys_poll(&pfd, 1, 0) < 0 || pfd.revents)
		return false;
	cold->ended = ended;
	return true;
}

/* Begins a hold. False: no room, no chunk, the gate is closed, or what may_hold() saw is true no
 * more: a native write. */
static bool
hold_begin(struct stream *s, size_t len, bool *starved)
{
	if (relaxed(s->state) != STATE_OPEN || relaxed(s->mode) != MODE_MANAGED ||
	    relaxed(s->options) & OPTION_NOTSENT || section_settled(s))
		return false;
	if (relaxed(s->room) < 2 * (uint64_t)stream_chunk(s))
		room_ask(s);
	if (len > relaxed(s->room) || !is_writable(s))
		return false;
	if (!take_chunk(s, len)) {
		*starved = true;
		return false;
	}
	if (!turn_list(s)) {
		section_empty(s);
		return false;
	}
	__atomic_store_n(&stream_cold(s)->first_ns, sys_now_ns(), __ATOMIC_RELAXED);
	stream_cold(s)->first_call = relaxed(stream_record(s)->flow[SENT].held_calls);
	relaxed_set(s->owner, self.tid);
	s->cap = room_cap(s, s->tier);
	return true;
}

/* Copies what is held into a larger chunk. A handler may come between any two stores; `grown`
 * tells which tier the chunk that it finds on the stream is of. */
static bool
grow(struct stream *s, uint32_t tail, unsigned tier)
{
	struct stream_cold *cold = stream_cold(s);
	char *old = __atomic_load_n(&s->chunk, __ATOMIC_RELAXED), *new;
	unsigned was = s->tier;

	if (!old) /* a fork out of a handler has wiped it */
		return false;
	new = pool_get(tier, turn_cache(), self.tid);
	if (!new)
		return false;
	cold->spare_tier = tier;
	__atomic_store_n(&cold->spare, new, __ATOMIC_RELEASE);
	libc_copy(new, old, tail);
	cold->grown_tier = tier;
	__atomic_store_n(&cold->grown, new, __ATOMIC_RELEASE);
	__atomic_store_n(&s->chunk, new, __ATOMIC_RELEASE);
	cold->spare_tier = was;
	__atomic_store_n(&cold->spare, old, __ATOMIC_RELEASE);
	s->tier = (uint8_t)tier;
	__atomic_store_n(&cold->grown, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&cold->spare, NULL, __ATOMIC_RELEASE);
	pool_put(old, was, turn_cache(), self.tid);
	return true;
}

/* `size` bytes in all do not fit, but the chunk may grow a tier or more. */
static bool
hold_grow(struct stream *s, uint32_t tail, size_t size, bool *starved)
{
	unsigned tier = tier_for(size);

	if (size > stream_chunk(s))
		return false;
	if (size > relaxed(s->room))
		room_ask(s);
	if (size > relaxed(s->room))
		return false;
	if (tier > s->tier && !grow(s, tail, tier)) {
		*starved = true;
		return false;
	}
	s->cap = room_cap(s, s->tier);
	return true;
}

/* A write that was counted as held, in `rec`, was not committed. */
static void
uncount(struct stream *s, struct record *rec, size_t n)
{
	section_enter(s);
	if (rec == stream_record(s)) { /* else a handler has forked: this is the child */
		count_add_own(&rec->flow[SENT].held_calls, (uint64_t)-1);
		count_add_own(&rec->flow[SENT].held_bytes, -(uint64_t)n);
	}
	section_leave(s);
}

ssize_t
writer_appended(struct stream *s, struct thread *thread, size_t n)
{
	count_answered(s, SENT, n);
	relaxed_set(s->nr_writes, 2);
	hot_end(thread);
	return (ssize_t)n;
}

bool
writer_append(struct stream *s, const struct iovec *iov, size_t nr, size_t n)
{
	struct thread *thread = self.thread;
	char *to;
	uint64_t w;

	if (quick(s->owner) != self.tid || !thread || self.nr_settled ||
	    (self.awaited && self.awaited != (int32_t)s->fd + 1))
		return false;
	to = writer_append_begin(s, thread, n, &w);
	if (!to)
		return false;
	gather(to, iov, nr);
	return writer_append_commit(s, thread, n, w) && writer_appended(s, thread, n);
}

/* With the section entered, and nothing of another thread held: appends. DONE; REFUSED: a native
 * write; FAILED; SETTLED: begin again. */
static enum outcome
hold(struct stream *s, struct request *q, bool *began)
{
	uint32_t tail = w_tail(stream_word(s));
	struct record *rec = stream_record(s);
	enum outcome outcome;
	char *chunk;

	if (tail && !writer_fits(s, tail, q->len) &&
	    !hold_grow(s, tail, tail + q->len, &q->starved)) {
		if (q->starved && !q->fed)
			return REFUSED;
		outcome = flush_locked(s, FLUSH_FULL);
		if (outcome != DONE)
			return outcome;
		tail = 0;
	}
	if (!tail && !hold_begin(s, q->len, &q->starved))
		return REFUSED;
	chunk = __atomic_load_n(&s->chunk, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!section_ours(s))
		return SETTLED; /* so the chunk may have been appended to, or be gone */
	gather(chunk + tail, q->iov, (size_t)q->nr_iov);
	count_answered(s, SENT, q->len);
	if (!section_commit(s, w_head(stream_word(s)), tail + (uint32_t)q->len)) {
		uncount(s, rec, q->len);
		return SETTLED;
	}
	*began = !tail;
	self.hot = self.tally && !turn_cooled() ? s : NULL;
	self.hot_fd = s->fd;
	hot_keep(&self.hot);
	if (relaxed(s->awaited))
		self.awaited = s->fd + 1;
	evidence_wrote(s);
	return DONE;
}

static bool
may_hold(struct stream *s, const struct request *q)
{
	if (q->len >= stream_chunk(s) || relaxed(s->mode) != MODE_MANAGED ||
	    !relaxed(s->proven) || !config->delay_us || !config->pool_max ||
	    relaxed(s->options) & OPTION_NOTSENT || q->flags & ~HOLD_FLAGS ||
	    __atomic_load_n(&process->gate, __ATOMIC_RELAXED) ||
	    pair_withholds(s, q->flags) || !evidence_of_more(s, q->flags))
		return false;
	switch (share_ask(s)) {
	case PRIVATE:
		break;
	case SHARED_FOR_GOOD:
		stream_bypass(stream_fd(s), BYPASS_SHARED);
		/* fall through */
	case SHARED:
		return false;
	}
	section_reap();
	if (stream_held(s) && relaxed(s->owner) == self.tid)
		return true;
	/* Here, not under the lock: both may allocate. */
	if (!self_enter() || !turn_thread())
		return false;
	if (turn_full())
		turn_make_room();
	if (!keeper_start()) {
		/* Not where we are a handler that interrupted its making. */
		if (keeper_ended())
			stream_bypass_all(BYPASS_THREAD);
		return false;
	}
	return true;
}

static bool
must_not_wait(struct stream *s, int flags)
{
	return flags & MSG_DONTWAIT || !stream_blocking(s);
}

/* What is left of the caller's pieces after `went` bytes, on a blocking socket. */
static ssize_t
send_rest(struct stream *s, const struct request *q, size_t went)
{
	struct iovec rest[FLIGHT_IOV];
	struct msghdr msg = { .msg_iov = rest, .msg_iovlen = (size_t)q->nr_iov };
	int64_t start = sys_now_ns();
	ssize_t r;

	for (int i = 0; i < q->nr_iov; i++) {
		size_t skip = went < q->iov[i].iov_len ? went : q->iov[i].iov_len;

		rest[i].iov_base = (char *)q->iov[i].iov_base + skip;
		rest[i].iov_len = q->iov[i].iov_len - skip;
		went -= skip;
	}
	turn_flush();
	stall_may_wait(s, start);
	r = writer_sendmsg(stream_fd(s), &msg, q->flags);
	count_kernel(s, SENT, r > 0 ? (uint64_t)r : 0);
	stall_returned(s, start, sys_now_ns(), true);
	turn_slept();
	return r;
}

/* What was held is gone, and `went` of the caller's own bytes with it. Returns the result. */
static ssize_t
sent_together(struct stream *s, const struct request *q, size_t went)
{
	struct flow *flow = &stream_record(s)->flow[SENT];
	ssize_t result = (ssize_t)went, r;

	if (went < q->len && !must_not_wait(s, q->flags)) {
		r = send_rest(s, q, went);
		if (r > 0 || !went)
			result = (ssize_t)went + r;
	} else if (went < q->len) {
		stall_begin(s);
		if (!went)
			result = -EAGAIN;
	} else if (relaxed(s->stalled)) {
		stall_end(s);
	}
	/* What went with the flight has been counted with it. */
	count_add(&flow->app_calls, 1);
	if (result > (ssize_t)went)
		count_add(&flow->app_bytes, (uint64_t)result - went);
	if (result > 0)
		count_size(SIZE_APP_WRITE, (uint64_t)result);
	evidence_wrote(s);
	return result;
}

/* The kernel refused although there was room. True: the call says EAGAIN; false: waited. */
static bool
wait_refused(struct stream *s, int flags)
{
	struct pollfd pfd = { .fd = stream_fd(s), .events = POLLOUT };

	stall_begin(s);
	if (must_not_wait(s, flags))
		return true;
	sys_poll(&pfd, 1, REFUSED_MS);
	return false;
}

enum decision { HELD, NATIVE, AGAIN, TOGETHER, ERROR, FULL, STARVED };

/* A call of a chunk or more goes behind what is held, in one flight. */
static enum decision
send_large(struct stream *s, const struct request *q, size_t *went, int *err)
{
	switch (flush_with(s, FLUSH_LARGE, q->iov, q->nr_iov, q->flags & MSG_MORE, went,
			   err)) {
	case DONE:
		return *went ? TOGETHER : NATIVE;
	case SETTLED:
		return *went ? TOGETHER : AGAIN;
	case REFUSED:
		return section_ours(s) ? FULL : AGAIN;
	case FAILED:
		break;
	}
	return *err == EPIPE ? NATIVE : ERROR; /* the native call brings the signal */
}

/* With the section entered. */
static enum decision
decide(struct stream *s, struct request *q, bool may, bool *began, size_t *went,
       int *err)
{
	enum outcome outcome = DONE;

	if (stream_held(s) &&
	    (relaxed(s->owner) != self.tid || (!may && q->len < stream_chunk(s)) ||
	     q->nr_iov >= FLIGHT_IOV))
		outcome = flush_locked(s, FLUSH_ORDER);
	if (outcome == DONE && may) {
		outcome = hold(s, q, began);
		if (outcome == DONE)
			return HELD;
		if (q->starved && !q->fed)
			return STARVED;
	} else if (outcome == DONE && stream_held(s)) {
		return send_large(s, q, went, err);
	}
	if (outcome == SETTLED || outcome == FAILED)
		return AGAIN; /* FAILED: the kept error answers */
	if (!section_ours(s))
		return AGAIN;
	return stream_held(s) ? FULL : NATIVE;
}

/* A blocking write that may have to wait is a sleep, and maybe an episode of backpressure. */
static void
before_native(struct stream *s, const struct request *q)
{
	/* Now, not when the call returns: by then another thread may have read the peer's answer. */
	evidence_wrote(s);
	relaxed_set(s->left, 1);
	if (q->len <= relaxed(s->room) || must_not_wait(s, q->flags))
		return;
	room_ask(s);
	if (q->len <= relaxed(s->room))
		return;
	turn_flush();
	keeper_watch();
	self.call_start_ns = sys_now_ns();
	stall_may_wait(s, self.call_start_ns);
}

/* False: the arguments are not ours to judge. */
static bool
measure(struct request *q)
{
	if (q->nr_iov <= 0 || q->nr_iov > IOV_MAX)
		return false;
	for (int i = 0; i < q->nr_iov; i++)
		if (__builtin_add_overflow(q->len, q->iov[i].iov_len, &q->len))
			return false;
	return q->len && q->len <= SSIZE_MAX;
}

static bool
give_error(struct stream *s, ssize_t *result)
{
	int err = relaxed(s->err) ? stream_error(s) : 0;

	if (!err)
		return false;
	*result = -err;
	count_app(s, SENT, 0);
	return true;
}

bool
writer_take(struct stream *s, const struct iovec *iov, int nr_iov, int flags,
	    ssize_t *result)
{
	struct request q = { .iov = iov, .nr_iov = nr_iov, .flags = flags };
	enum decision decision;
	bool may, began = false;
	size_t went = 0;
	int err = 0;

	self.call_start_ns = 0;
	if (!measure(&q))
		return false;
	turn_to(s->fd);
	do {
		if (give_error(s, result))
			return true;
		evidence_turn(s);
		may = may_hold(s, &q);
		decision = NATIVE;
		if (may || stream_held(s)) {
			section_enter(s);
			decision = decide(s, &q, may, &began, &went, &err);
			section_leave(s);
		}
		/* At the pool's cap, what was read ahead goes before a write is refused, and so
		 * does what this thread holds because more is to be read of it. */
		if (decision == STARVED) {
			borrow_settle_all();
			turn_make_room();
			q.fed = true;
			decision = AGAIN;
		}
		if (decision == FULL && wait_refused(s, flags)) {
			err = EAGAIN;
			decision = ERROR;
		}
	} while (decision == AGAIN || decision == FULL);
	switch (decision) {
	case HELD:
		if (began)
			keeper_notice(s);
		*result = (ssize_t)q.len;
		return true;
	case TOGETHER:
		*result = sent_together(s, &q, went);
		return true;
	case ERROR:
		*result = -err;
		count_app(s, SENT, 0);
		return true;
	default:
		before_native(s, &q);
		return false;
	}
}

static void
timed(struct stream *s)
{
	int64_t start = self.call_start_ns, now = sys_now_ns();

	self.call_start_ns = 0;
	stall_returned(s, start, now, now - start > WAITED_NS);
	if (now - start > SLEPT_NS)
		turn_slept();
}

static void
went_whole(struct stream *s, size_t len)
{
	count_native(s, SENT, len);
	relaxed_set(s->proven, 1);
	self.wrote = true;
	room_went(s, len);
	if (relaxed(s->stalled))
		stall_end(s);
	if (self.call_start_ns)
		timed(s);
}

void
writer_sent(struct stream *s, size_t len, ssize_t r)
{
	uint64_t went = r > 0 ? (uint64_t)r : 0;

	if (len && went == len) {
		went_whole(s, len);
		return;
	}
	if (went)
		count_native(s, SENT, went);
	else
		count_unmoved(s, SENT);
	if (len)
		relaxed_set(s->proven, 0);
	if (went) {
		self.wrote = true;
		room_use(s, went);
		if (relaxed(s->stalled))
			stall_end(s);
	} else if (r < 0 && r != -EAGAIN && r != -EINTR) {
		count_error(OP_WRITE, (int)-r);
		if (relaxed(s->stalled))
			stall_end(s);
	}
	if (self.call_start_ns)
		timed(s);
	else if (len && (r == -EAGAIN || went))
		stall_begin(s);
}
