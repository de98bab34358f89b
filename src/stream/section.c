#include "stream/section.h"
#include "pool/pool.h"
#include "stream/borrow.h"
#include "stream/counts.h"
#include "stream/flush.h"
#include "stream/turn.h"

static void
forget_flight(void)
{
	for (int i = 0; i < FLIGHT_IOV; i++)
		__atomic_store_n(&self.flight.iov[i].iov_len, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&self.flying, NULL, __ATOMIC_RELAXED);
}

void
section_landed(void)
{
	forget_flight();
}

void
section_counted(struct stream *s, ssize_t r)
{
	if (__atomic_exchange_n(&self.flight_counted, true, __ATOMIC_RELAXED))
		return;
	count_kernel(s, SENT, r > 0 ? (uint64_t)r : 0);
	if (r > (ssize_t)self.flight_held)
		count_add(&stream_record(s)->flow[SENT].app_bytes,
			  (uint64_t)r - self.flight_held);
}

/* `went` more bytes are held no more. The lock stays. */
static bool
commit_went(struct stream *s, uint32_t went)
{
	uint64_t w = stream_word(s);
	uint32_t head = w_head(w) + went, tail = w_tail(w);

	return head == tail ? section_commit(s, 0, 0) : section_commit(s, head, tail);
}

/* What the interrupted flight of `s` achieved is committed; what it has not begun is cancelled. If the
 * commit after the flight has already been made, the head has moved (or nothing is held), and
 * nothing is left to account for. The flight is forgotten last: a handler that interrupts us
 * finds it, or the commit. */
static void
settle_flight(struct stream *s)
{
	uint64_t went = __atomic_load_n(&self.flight.msg.msg_len, __ATOMIC_RELAXED);
	uint32_t flown_head = self.flight_head, held;
	size_t *own = self.flight_own;

	/* All that before we look whether it is still there. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (self.flying != s || self.flight_settles)
		return;
	if (went)
		section_counted(s, (ssize_t)went);
	self.flight_counted = true;
	held = stream_held(s);
	if (went && held && w_head(stream_word(s)) == flown_head) {
		relaxed_set(s->left, 1);
		/* The interrupted frame is still there: we run above it. */
		if (went > held)
			*own = went - held;
		commit_went(s, went < held ? (uint32_t)went : held);
	}
	forget_flight();
}

/* The same of one that takes what was read: if it was done, that borrow has ended. */
static void
settle_swallow(struct stream *s)
{
	uint64_t r = self.flight_r;
	bool done = self.flight.msg.msg_hdr.msg_flags != FLIGHT_UNDONE;

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (self.flying != s || !self.flight_settles)
		return;
	if (done && stream_read_word(s) == r) {
		section_swallowed(s, r_next(r) - s->taken);
		word_commit(&s->r, r, r_anew(r, 0, 0));
	}
	forget_flight();
}

static struct settled *
find_settled(const struct stream *s)
{
	for (int i = 0; i < NR_SETTLED; i++)
		if (self.settled[i].stream == s)
			return &self.settled[i];
	return NULL;
}

static void
count_settled(void)
{
	uint32_t nr = 0;

	for (int i = 0; i < NR_SETTLED; i++)
		nr += self.settled[i].stream != NULL;
	self.nr_settled = nr;
}

/* Where there are more than can be remembered, the stream stays settled. */
enum { NOBODY = UINT32_MAX };

/* Both of these may be begun by code that a handler jumps out of, and be done again. */
static void
settled_by(struct stream *s, uint32_t who)
{
	uint32_t *by = stream_cold(s)->settled_by;
	uint32_t none = 0;

	for (int i = 0; i < NR_SETTLED_BY; i++)
		if (by[i] == who)
			return;
	for (int i = 0; i < NR_SETTLED_BY; i++, none = 0)
		if (__atomic_compare_exchange_n(&by[i], &none, who, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return;
	__atomic_store_n(&by[0], (uint32_t)NOBODY, __ATOMIC_RELAXED);
}

static void
settled_no_more(struct stream *s)
{
	uint32_t *by = stream_cold(s)->settled_by, me = self.tid;

	for (int i = 0; i < NR_SETTLED_BY; i++, me = self.tid)
		__atomic_compare_exchange_n(&by[i], &me, 0, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED);
}

static bool
settled_by_us(const struct stream *s)
{
	const uint32_t *by = stream_cold(s)->settled_by;
	bool us = false;

	for (int i = 0; i < NR_SETTLED_BY; i++)
		us |= __atomic_load_n(&by[i], __ATOMIC_RELAXED) == self.tid;
	return us;
}

static bool
settled_by_others(const struct stream *s)
{
	const uint32_t *by = stream_cold(s)->settled_by;
	bool others = false;

	for (int i = 0; i < NR_SETTLED_BY; i++) {
		uint32_t who = __atomic_load_n(&by[i], __ATOMIC_RELAXED);

		others |= who && who != self.tid;
	}
	return others;
}

/* Where handlers nest, the lowest section of the stream counts. Remembered first: what is remembered
 * will be put right, whether it is said of the stream or not. */
static void
mark_settled(struct stream *s)
{
	struct settled *entry = find_settled(s);

	if (!entry && (entry = find_settled(NULL))) {
		self.nr_settled = NR_SETTLED;
		entry->sp = self.inside_sp;
		__atomic_store_n(&entry->stream, s, __ATOMIC_RELEASE);
	}
	settled_by(s, entry ? self.tid : (uint32_t)NOBODY);
	count_settled();
	/* The interrupted section may yet store what an append would look at. */
	self.hot = self.hot_read = NULL;
}

/* What earlier calls left held is sent. Committed before the flight is forgotten, as above. */
static void
settle_held(struct stream *s)
{
	uint32_t held = stream_held(s);
	size_t own_went;
	ssize_t r;
	bool lost;

	if (!held)
		return;
	r = section_fly(s, NULL, 0, 0, &own_went);
	if (!section_ours(s))
		return; /* a handler of this handler was here */
	section_counted(s, r);
	lost = r < 0 && flush_lost(s, held, (int)-r);
	if (lost)
		commit_went(s, held);
	else if (r > 0 && commit_went(s, (uint32_t)r))
		relaxed_set(s->left, 1);
	section_landed();
}

enum { BARRIER_TRIES = 200 };

bool
section_revoke(struct stream *s, uint32_t tid)
{
	struct thread *thread = turn_thread_of(tid);
	unsigned spins = 0;

	/* It wants memory, and may be refused. So many waits end in naps of some milliseconds
	 * together, after which no processor has a store of before to show. */
	for (int i = 0; sys_membarrier() < 0 && i < BARRIER_TRIES; i++)
		lock_wait(&spins);
	while (thread && section_ours(s) &&
	       __atomic_load_n(&thread->hot, __ATOMIC_ACQUIRE) == s)
		lock_wait(&spins);
	return section_ours(s);
}

/* With the lock taken: if another thread owns what is held, waits until it is not appending. An
 * append that began before we had the lock may yet commit, over the lock: then it is ours no
 * more. One that fails writes at worst what it read, our lock, while we hold it. Also false
 * where a handler of ours was here. */
static bool
disown(struct stream *s)
{
	uint32_t owner = relaxed(s->owner);

	if (!owner || owner == self.tid)
		return true;
	if (!section_revoke(s, owner))
		return false;
	relaxed_set(s->owner, 0);
	return true;
}

/* A borrow of this thread ends. One that the interrupted section was about to make is foiled by a new
 * epoch: bytes of it may be read before that section goes on. */
static void
settle_borrow(struct stream *s)
{
	uint64_t r = stream_read_word(s);

	if (!stream_borrowed(s))
		word_commit(&s->r, r, r_anew(r, 0, 0));
	else if (relaxed(s->reader) == self.tid)
		borrow_settle_locked(s);
}

static void
settle(struct stream *s)
{
	uint64_t w;

	mark_settled(s);
	if (!disown(s)) {
		self.inside = NULL;
		return; /* an append was faster than the lock that we interrupted */
	}
	if (self.pushing)
		flush_pushed(s);
	settle_swallow(s);
	settle_flight(s);
	if (section_ours(s))
		settle_held(s);
	if (section_ours(s))
		settle_borrow(s);
	w = stream_word(s);
	/* Else a handler of this handler has done it all. */
	if (w_holder(w) == self.tid) {
		/* Refused: it stays, and nothing is added behind it. */
		s->cap = w_tail(w);
		relaxed_set(s->owner, 0);
		word_commit(&s->w, w, w_make(0, w_head(w), w_tail(w)));
	}
	self.inside = NULL;
}

/* We are a handler above an append. The quarantine comes before the mark goes: whoever waits for
 * the mark may then flush, but not give away the chunk that the append may yet copy into. */
static void
settle_append(struct stream *s)
{
	mark_settled(s);
	__atomic_store_n(&self.thread->hot, NULL, __ATOMIC_RELEASE);
	section_enter(s);
	settle(s);
}

void
section_settle(void)
{
	struct stream *s = self.inside;

	if (s && section_ours(s))
		settle(s);
	self.inside = NULL;
	if (self.thread && self.thread->hot)
		settle_append(self.thread->hot);
}

/* True: locked. False: look again. */
static bool
try_lock(struct stream *s, bool drop, uintptr_t sp)
{
	uint64_t w = stream_word(s), locked;
	uint32_t tid = self.tid;

	if (w_holder(w))
		return false;
	/* Of a section that was settled before it took off, and then left by a jump. */
	if (self.flying == s)
		forget_flight();
	locked = drop ? w_make(tid, 0, 0) : w_make(tid, w_head(w), w_tail(w));
	self.inside_sp = sp;
	self.inside = s;
	if (!__atomic_compare_exchange_n(&s->w, &w, locked, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	if (self.tid != tid) { /* it forked, and this is the child: locked by nobody */
		word_commit(&s->w, locked, 0);
		return false;
	}
	/* A handler that came in between had sections of its own. */
	self.inside_sp = sp;
	self.inside = s;
	return disown(s);
}

static void
enter(struct stream *s, bool drop, uintptr_t sp)
{
	unsigned spins = 0;

	/* A handler has forked in the middle of this call. */
	if (__builtin_expect(self.generation != process->generation, 0))
		self_enter();
	if ((self.inside && self.inside != s) || (self.thread && self.thread->hot))
		section_settle();
	do {
		while (w_holder(stream_word(s)) == self.tid)
			settle(s);
		if (w_holder(stream_word(s)))
			lock_wait(&spins);
	} while (!try_lock(s, drop, sp));
}

void
section_enter(struct stream *s)
{
	enter(s, false, (uintptr_t)__builtin_frame_address(0));
}

void
section_enter_dropping(struct stream *s)
{
	enter(s, true, (uintptr_t)__builtin_frame_address(0));
}

static bool
on_hot_path(const struct stream *s, uint32_t tid)
{
	const struct thread *thread = tid ? turn_thread_of(tid) : NULL;

	return thread && __atomic_load_n(&thread->hot, __ATOMIC_ACQUIRE) == s;
}

/* A few pauses: whoever asks has others to see to, and comes back. */
enum { STUCK_TRIES = 8 };

bool
section_stuck(const struct stream *s)
{
	unsigned spins = 0;

	for (int i = 0; i < STUCK_TRIES; i++) {
		if (!w_holder(stream_word(s)) && !on_hot_path(s, relaxed(s->owner)) &&
		    !(stream_borrowed(s) && on_hot_path(s, relaxed(s->reader))))
			return false;
		lock_wait(&spins);
	}
	return true;
}

bool
section_commit(struct stream *s, uint32_t head, uint32_t tail)
{
	uint64_t w = stream_word(s);

	return w_holder(w) == self.tid &&
	       word_commit(&s->w, w, w_make(self.tid, head, tail));
}

static bool
unlock(struct stream *s)
{
	uint64_t w = stream_word(s);
	bool ours = w_holder(w) == self.tid &&
		    word_commit(&s->w, w, w_make(0, w_head(w), w_tail(w)));

	self.inside = NULL;
	return ours;
}

static void
take_off(struct stream *s)
{
	char *chunk = relaxed(s->chunk);
	unsigned tier = s->tier;

	relaxed_set(s->chunk, NULL);
	s->cap = 0;
	relaxed_set(s->owner, 0);
	if (chunk)
		pool_put(chunk, tier, turn_cache(), self.tid);
}

/* What the section stored is made whole: the chunks go back. */
static void
put_right(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	char *spare = cold->spare;

	if (s->chunk && s->chunk == cold->grown)
		s->tier = (uint8_t)cold->grown_tier;
	cold->grown = cold->spare = NULL;
	/* In hand where a handler jumped out of a section in which the chunk grew. */
	if (spare && spare != s->chunk)
		pool_put(spare, cold->spare_tier, turn_cache(), self.tid);
	if (!stream_held(s))
		take_off(s);
	borrow_put(s);
}

/* All that the settled section may have stored it has stored by now. Whatever a handler does to
 * this section in turn, the stream stays settled until after its last store. Where we are
 * ourselves a handler, whose section of the same stream was settled by another one, the
 * section below us is still to come: it will do this. */
static void
resumed(struct stream *s)
{
	struct settled *settled = find_settled(s);

	if (!settled || !self_left(settled->sp))
		return;
	do {
		section_enter(s);
		/* Not if a section of another thread is still to come, and may store into it. */
		if (!settled_by_others(s))
			put_right(s);
		settled_no_more(s);
		settled = find_settled(s);
		if (settled)
			settled->stream = NULL;
		count_settled();
	} while (!unlock(s) && settled_by_us(s));
}

bool
section_leave(struct stream *s)
{
	bool ours = unlock(s);

	if (!ours)
		resumed(s);
	return ours;
}

void
section_empty(struct stream *s)
{
	if (!section_settled(s))
		take_off(s);
}

void
section_reap(void)
{
	for (int i = 0; i < NR_SETTLED; i++)
		if (self.settled[i].stream)
			resumed(self.settled[i].stream);
}

void
section_thread_end(void)
{
	section_settle();
	for (int i = 0; i < NR_SETTLED; i++)
		self.settled[i].sp = 0;
	section_reap();
}

/* From here on a handler accounts for the flight, or cancels it. False: one has settled the
 * section before, and could not cancel what was not there yet. */
static bool
lift_off(struct stream *s)
{
	__atomic_store_n(&self.flying, s, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (section_ours(s))
		return true;
	forget_flight();
	return false;
}

ssize_t
section_fly(struct stream *s, const struct iovec *own, int nr_own, int flags,
	    size_t *own_went)
{
	struct flight *f = &self.flight;
	uint64_t w = stream_word(s);
	int nr = 0;

	if (self.flying && self.flying != s && section_ours(self.flying))
		settle(self.flying);
	*own_went = 0;
	self.flight_own = own_went;
	self.flight_head = w_head(w);
	self.flight_held = w_tail(w) - w_head(w);
	self.flight_counted = false;
	self.flight_settles = false;
	f->msg = (struct mmsghdr){ .msg_hdr = { .msg_iov = f->iov } };
	if (w_tail(w) > w_head(w))
		f->iov[nr++] =
			(struct iovec){ s->chunk + w_head(w), w_tail(w) - w_head(w) };
	for (int i = 0; i < nr_own; i++)
		f->iov[nr++] = own[i];
	f->msg.msg_hdr.msg_iovlen = (size_t)nr;
	return lift_off(s) ? sys_fly(stream_fd(s), f, flags) : 0;
}

ssize_t
section_swallow(struct stream *s, uint64_t r, char *to, size_t n)
{
	struct flight *f = &self.flight;

	if (self.flying && self.flying != s && section_ours(self.flying))
		settle(self.flying);
	self.flight_counted = false;
	self.flight_settles = true;
	self.flight_r = r;
	f->msg = (struct mmsghdr){ .msg_hdr = { .msg_iov = f->iov,
						.msg_iovlen = 1,
						.msg_flags = FLIGHT_UNDONE } };
	f->iov[0] = (struct iovec){ to, n };
	if (!lift_off(s))
		return 0;
	return sys_swallow(stream_fd(s), f, to ? 0 : MSG_TRUNC);
}

void
section_swallowed(struct stream *s, ssize_t went)
{
	if (!__atomic_exchange_n(&self.flight_counted, true, __ATOMIC_RELAXED))
		count_kernel(s, RECEIVED, went > 0 ? (uint64_t)went : 0);
}
