#include "stream/borrow.h"
#include "base/config.h"
#include "base/libc.h"
#include "pool/pool.h"
#include <errno.h>

/* A borrow that served fewer reads was not worth its peek, its settle and the keeper's wake: the next 4, 8, ... 4096
 * reads that could have borrowed are native. One in vain costs as much as some 70 reads: every 256th cost slapd
 * 1.1 % of its searches. */
enum { PAYS = 4, LEAST_BACKOFF = 4, MOST_BACKOFF = 4096 };
enum { SWALLOW_TRIES = 10 };

static void
learn(struct stream *s, uint32_t served)
{
	struct totals *totals = &region_get()->totals;
	unsigned backoff = relaxed(s->backoff);

	count_add(&totals->borrows, 1);
	if (served < 2)
		count_add(&totals->poor_borrows, 1);
	if (served >= PAYS || config->test_eager) {
		relaxed_set(s->backoff, 0);
		return;
	}
	backoff = backoff ? 2 * backoff : LEAST_BACKOFF;
	if (backoff > MOST_BACKOFF)
		backoff = MOST_BACKOFF;
	relaxed_set(s->backoff, (uint16_t)backoff);
	relaxed_set(s->skip, (uint16_t)backoff);
	/* There is nothing to take for a while, so it is not even looked for. */
	if (self.hot_read == s)
		self.hot_read_fd = -1;
}

void
borrow_put(struct stream *s)
{
	char *chunk = relaxed(s->borrow);

	if (!chunk || stream_borrowed(s))
		return;
	__atomic_store_n(&s->borrow, NULL, __ATOMIC_RELEASE);
	pool_put(chunk, s->borrow_tier, turn_cache(), self.tid);
}

static void
put_unless_settled(struct stream *s)
{
	if (!section_settled(s))
		borrow_put(s);
}

static unsigned
largest_tier(const struct stream *s)
{
	return tier_for(stream_chunk_received(s));
}

static size_t
borrow_size(const struct stream *s)
{
	size_t chunk = stream_chunk_received(s), size = tier_size(s->borrow_tier);

	return size < chunk ? size : chunk;
}

static ssize_t
peek(struct stream *s)
{
	struct iovec iov = { relaxed(s->borrow), borrow_size(s) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = sys_recvmsg(stream_fd(s), &msg, MSG_PEEK | MSG_DONTWAIT);

	count_kernel(s, RECEIVED, 0);
	return n;
}

/* No error of the connection, which a peek consumes, but of this call alone: the native one finds out
 * by itself. */
static bool
only_of_call(int err)
{
	return err == EINTR || err == ENOMEM || err == ENOBUFS || err == EPERM ||
	       err == ENOSYS;
}

/* A chunk, which also tells native readers that a borrow may begin; unless one of them is under
 * way. */
static bool
take_chunk(struct stream *s)
{
	char *chunk;

	borrow_put(s); /* left by a section that was settled */
	chunk = pool_get(s->borrow_tier, turn_cache(), self.tid);
	if (!chunk)
		return false;
	__atomic_store_n(&s->borrow, chunk, __ATOMIC_SEQ_CST);
	/* Pairs with reader_enter(). */
	fence_full();
	return !__atomic_load_n(&s->nr_readers, __ATOMIC_RELAXED) && turn_list(s);
}

/* The chunk has been given back; `end` bytes of it were used. The next one is as large, or larger
 * where it was too small. */
static void
adapt(struct stream *s, uint32_t end)
{
	if (relaxed(s->borrow))
		return;
	if (s->more && s->borrow_tier < largest_tier(s))
		s->borrow_tier++;
	else if (s->borrow_tier && end <= borrow_size(s) / 4)
		s->borrow_tier--;
}

ssize_t
borrow_begin(struct stream *s, size_t least)
{
	uint64_t r = stream_read_word(s);
	ssize_t n;

	while (tier_size(s->borrow_tier) < 2 * least && s->borrow_tier < largest_tier(s))
		s->borrow_tier++;
	if (!take_chunk(s)) {
		put_unless_settled(s);
		return -EAGAIN;
	}
	n = peek(s);
	if (!section_ours(s))
		return -EINTR;
	if (n <= (ssize_t)least) {
		if (n > 0)
			learn(s, 0);
		put_unless_settled(s);
		/* The end of input as well: a read that finds nothing takes an urgent byte off the
		 * head of the queue, which a peek leaves there. */
		return n >= 0 || only_of_call((int)-n) ? -EAGAIN : n;
	}
	s->more = (size_t)n == borrow_size(s);
	s->taken = 0;
	s->borrowed_at = relaxed(s->reads);
	relaxed_set(stream_cold(s)->borrow_ns, sys_now_ns());
	__atomic_store_n(&s->reader, self.tid, __ATOMIC_RELAXED);
	if (!word_commit(&s->r, r, r_anew(r, 0, (uint32_t)n)))
		return -EINTR;
	relaxed_set(s->awaited, 0);
	self.wrote = true;
	return n;
}

bool
borrow_again(struct stream *s)
{
	uint64_t r = stream_read_word(s);
	uint32_t unsettled = r_next(r) - s->taken;
	ssize_t n;

	/* On AF_UNIX a peek ends behind a message with descriptors, which the kernel drops when the
	 * first byte of it is taken: until then it shows less than a native peek would. */
	if (unsettled && !(relaxed(s->options) & OPTION_TCP))
		return false;
	/* What was taken is peeked again, and lies at the head of the chunk then; the bytes that are
	 * not yet taken lie the same way behind it. */
	n = peek(s);
	if (!section_ours(s) || n <= (ssize_t)unsettled)
		return false;
	s->more = (size_t)n == borrow_size(s);
	s->taken = 0;
	return word_commit(&s->r, r, r_anew(r, unsettled, (uint32_t)n)) && !s->more;
}

static void
scatter(const struct iovec *iov, int nr_iov, const char *from, size_t n)
{
	for (int i = 0; i < nr_iov && n; i++) {
		size_t len = iov[i].iov_len < n ? iov[i].iov_len : n;

		libc_copy(iov[i].iov_base, from, len);
		from += len;
		n -= len;
	}
}

/* What an answered read means to the writer: as evidence_read(), but the peer cannot be waiting for
 * an answer yet, for it has said more. */
static void
answered(struct stream *s)
{
	quick_count(&s->reads);
	if (relaxed(s->unquiet)) {
		evidence_learn(s);
		relaxed_set(s->left, 0);
	}
}

ssize_t
borrow_took(struct stream *s, struct thread *thread, size_t n)
{
	count_answered(s, RECEIVED, n);
	answered(s);
	hot_end(thread);
	return (ssize_t)n;
}

enum outcome
borrow_serve(struct stream *s, const struct iovec *iov, int nr_iov, size_t n, bool peek)
{
	char *borrow = __atomic_load_n(&s->borrow, __ATOMIC_ACQUIRE);
	uint64_t r = stream_read_word(s);
	struct record *rec = stream_record(s);

	if (r_end(r) - r_next(r) < n)
		return SETTLED; /* a handler has forked, and this is the child */
	scatter(iov, nr_iov, borrow + r_next(r), n);
	if (peek) {
		if (!section_ours(s))
			return SETTLED;
		count_app(s, RECEIVED, 0);
		return DONE;
	}
	/* From the commit on it counts as read, so the counts come first. */
	count_answered(s, RECEIVED, n);
	if (!word_commit(&s->r, r, r + ((uint64_t)n << W_BITS))) {
		if (rec == stream_record(s)) { /* else this is the child, too */
			count_add_own(&rec->flow[RECEIVED].held_calls, (uint64_t)-1);
			count_add_own(&rec->flow[RECEIVED].held_bytes, -(uint64_t)n);
		}
		return SETTLED;
	}
	answered(s);
	return DONE;
}

static void
foreign_reader(struct stream *s)
{
	if (__atomic_exchange_n(&s->unborrowable, 1, __ATOMIC_RELAXED))
		return;
	count_add(&region_get()->totals.bypassed[BYPASS_FOREIGN_READER], 1);
}

static bool
may_pass(ssize_t went)
{
	return went == -EAGAIN || went == -EINTR || went == -ENOMEM || went == -ENOBUFS;
}

/* Takes from the kernel what the application was given of `r`. A peek has found these bytes, so a
 * refusal is asked again: what stayed in the queue would be read twice. */
static enum outcome
swallow(struct stream *s, uint64_t r)
{
	uint32_t n = r_next(r) - s->taken;
	char *to =
		relaxed(s->options) & OPTION_TCP ? NULL : relaxed(s->borrow) + s->taken;
	ssize_t went;
	int tries = 0;

	do {
		went = section_swallow(s, r, to, n);
		if (!section_ours(s))
			return SETTLED;
		section_swallowed(s, went);
	} while (may_pass(went) && ++tries < SWALLOW_TRIES);
	if (went != (ssize_t)n)
		foreign_reader(s);
	s->taken = r_next(r);
	section_landed();
	return went == (ssize_t)n ? DONE : FAILED;
}

enum outcome
borrow_settle_locked(struct stream *s)
{
	enum outcome outcome = DONE;
	uint32_t served;
	uint64_t r;

	if (!stream_borrowed(s)) {
		put_unless_settled(s);
		return DONE;
	}
	if (relaxed(s->reader) != self.tid && !section_revoke(s, relaxed(s->reader)))
		return SETTLED;
	r = stream_read_word(s);
	served = relaxed(s->reads) - s->borrowed_at;
	if (r_next(r) > s->taken)
		outcome = swallow(s, r);
	if (outcome == SETTLED || !word_commit(&s->r, r, r_anew(r, 0, 0)))
		return SETTLED;
	learn(s, served);
	put_unless_settled(s);
	adapt(s, r_end(r));
	return outcome;
}

void
borrow_settle(struct stream *s)
{
	uint64_t cookie = relaxed(stream_cold(s)->cookie);
	enum outcome outcome;

	do {
		if (!relaxed(s->borrow))
			return;
		section_enter(s);
		outcome = borrow_settle_locked(s);
		section_leave(s);
	} while (outcome == SETTLED);
	if (outcome == FAILED && sys_no_socket(stream_fd(s)))
		stream_forget_socket(stream_fd(s), cookie);
}

void
borrow_drop(struct stream *s)
{
	uint64_t r;

	if (stream_borrowed(s) && relaxed(s->reader) != self.tid)
		section_revoke(s, relaxed(s->reader));
	r = stream_read_word(s);
	if (r_end(r))
		word_commit(&s->r, r, r_anew(r, 0, 0));
	put_unless_settled(s);
}

static void
settle_listed(int fd, void *unused)
{
	struct stream *s = stream_known(fd);

	(void)unused;
	if (s)
		borrow_settle(s);
}

void
borrow_settle_all(void)
{
	turn_each(settle_listed, NULL);
}
