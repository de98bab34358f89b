#include "stream/turn.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/evidence.h"
#include "stream/flush.h"
#include "stream/interest.h"
#include "stream/keeper.h"
#include "stream/share.h"
#include <pthread.h>

enum { SLAB_THREADS = 16, NR_SLABS = 256 };

/* Records lie in slabs on pages that a fork wipes; the slabs themselves are used again by a
 * child. process->nr_threads counts the records in use so far, and is wiped too. */
static struct thread *slab[NR_SLABS];

/* Its destructor is how the library learns that a thread ends. */
static pthread_key_t end_key;
static bool has_end_key; /* C */

static bool cool;

void
turn_cool(void)
{
	__atomic_store_n(&cool, true, __ATOMIC_RELAXED);
}

bool
turn_cooled(void)
{
	return __atomic_load_n(&cool, __ATOMIC_RELAXED);
}

static void
thread_ends(void *unused)
{
	(void)unused;
	if (self_ready())
		turn_thread_end();
}

void
turn_init(void)
{
	has_end_key = pthread_key_create(&end_key, thread_ends) == 0;
}

struct thread *
turn_thread_at(unsigned i)
{
	if (i >= __atomic_load_n(&process->nr_threads, __ATOMIC_ACQUIRE))
		return NULL;
	return &slab[i / SLAB_THREADS][i % SLAB_THREADS];
}

struct thread *
turn_thread_of(uint32_t tid)
{
	struct thread *t;

	for (unsigned i = 0; (t = turn_thread_at(i)); i++)
		if (__atomic_load_n(&t->tid, __ATOMIC_ACQUIRE) == tid)
			return t;
	return NULL;
}

static struct thread *
free_record(void)
{
	unsigned nr = process->nr_threads, i;
	size_t len = SLAB_THREADS * sizeof(struct thread);

	for (i = 0; i < nr; i++)
		if (!turn_thread_at(i)->tid)
			return turn_thread_at(i);
	i = nr / SLAB_THREADS;
	if (i >= NR_SLABS)
		return NULL;
	if (!slab[i]) {
		struct thread *fresh = sys_map(len, 0);

		if (!fresh)
			return NULL;
		if (sys_wipe_on_fork(fresh, len) < 0) {
			sys_unmap(fresh, len);
			return NULL;
		}
		slab[i] = fresh;
	}
	__atomic_store_n(&process->nr_threads, nr + 1, __ATOMIC_RELEASE);
	return &slab[i][nr % SLAB_THREADS];
}

struct thread *
turn_thread(void)
{
	struct thread *thread = self.thread;

	if (thread)
		return thread;
	if (!lock_take(&process->lock, self.tid))
		return NULL;
	thread = has_end_key ? free_record() : NULL;
	/* Without that its end would not be seen. */
	if (thread && pthread_setspecific(end_key, thread) != 0)
		thread = NULL;
	if (thread)
		__atomic_store_n(&thread->tid, self.tid, __ATOMIC_RELEASE);
	lock_give(&process->lock);
	if (!thread) {
		count_internal(INTERNAL_MEMORY);
		return NULL;
	}
	self.thread = thread;
	return thread;
}

/* Our list has `nr` entries from now on. */
static void
list_set(struct thread *thread, uint32_t nr)
{
	__atomic_store_n(&thread->nr_held, nr, __ATOMIC_RELEASE);
	self.nr_owed = nr;
}

static void
list_empty(struct thread *thread)
{
	list_set(thread, 0);
	self.streak = false;
	__atomic_fetch_sub(&process->nr_owing, 1, __ATOMIC_RELEASE);
}

void
turn_thread_end(void)
{
	struct thread *thread = self.thread;

	section_thread_end();
	turn_flush();
	if (self.tally)
		region_tally_put(self.tally);
	self.tally = NULL;
	self.last[0] = self.last[1] = NULL;
	if (!thread)
		return;
	self.hot = self.hot_read = NULL;
	self.thread = NULL;
	self.nr_owed = 0;
	pool_drain(&thread->cache, self.tid);
	if (thread->nr_held)
		list_empty(thread);
	__atomic_store_n(&thread->tid, 0, __ATOMIC_RELEASE);
}

/* The stream behind an entry of this thread's list, if the entry is still true. */
static struct stream *
held_by_us(int fd)
{
	struct stream *s = stream_known(fd);

	/* Whoever settled what was borrowed of it has taken the held bytes from their owner, and
	 * may not have flushed them: they are still to be seen to by who lists them. */
	return s && (relaxed(s->owner) == self.tid || !relaxed(s->owner)) &&
			       stream_held(s)
		       ? s
		       : NULL;
}

static struct stream *
borrowed_by_us(int fd)
{
	struct stream *s = stream_known(fd);

	return s && stream_borrowed(s) && relaxed(s->reader) == self.tid ? s : NULL;
}

/* The list is changed by one at a time: a handler that interrupted a change does without. */
static bool
list_enter(void)
{
	if (self.listing_sp && !self_left(self.listing_sp))
		return false;
	self.listing_sp = (uintptr_t)__builtin_frame_address(0);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

static void
list_leave(void)
{
	__atomic_store_n(&self.listing_sp, 0, __ATOMIC_RELEASE);
}

/* Also where we are a handler, and the interrupted section is about to hold or borrow. */
static bool
ours(int fd)
{
	const struct stream *s = stream_known(fd);

	return held_by_us(fd) || borrowed_by_us(fd) || (s && section_ours(s));
}

/* Keeps one entry of each stream that is still ours; `lister` tells which have one. */
static void
compact(struct thread *thread)
{
	uint32_t nr = thread->nr_held, kept = 0;
	struct stream *s;

	for (uint32_t i = 0; i < nr; i++) {
		s = stream_known(thread->fd[i]);
		if (s && relaxed(stream_cold(s)->lister) == self.tid)
			relaxed_set(stream_cold(s)->lister, 0);
	}
	for (uint32_t i = 0; i < nr; i++) {
		if (!ours(thread->fd[i]))
			continue;
		s = stream_known(thread->fd[i]);
		if (!s || relaxed(stream_cold(s)->lister) == self.tid)
			continue;
		relaxed_set(stream_cold(s)->lister, self.tid);
		/* Release: pairs with turn_each(). */
		__atomic_store_n(&thread->fd[kept++], s->fd, __ATOMIC_RELEASE);
	}
	if (nr && !kept)
		list_empty(thread);
	else
		list_set(thread, kept);
}

/* Drops the entries that others have flushed, or that are listed twice. */
static void
drop_stale(struct thread *thread)
{
	if (!thread || !turn_owes() || !list_enter())
		return;
	compact(thread);
	list_leave();
}

bool
turn_still_owes(void)
{
	struct thread *thread = self.thread;
	uint32_t nr = thread ? thread->nr_held : 0;

	if (nr && !ours(thread->fd[nr - 1]))
		drop_stale(thread);
	return turn_owes();
}

static bool
list(struct thread *thread, const struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	uint32_t nr = thread->nr_held;

	if (nr && relaxed(cold->lister) == self.tid)
		return true;
	if (nr == NR_HELD) {
		compact(thread);
		nr = thread->nr_held;
	}
	if (nr == NR_HELD)
		return false;
	if (!nr)
		__atomic_fetch_add(&process->nr_owing, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->fd[nr], s->fd, __ATOMIC_RELAXED);
	list_set(thread, nr + 1);
	relaxed_set(cold->lister, self.tid);
	return true;
}

/* From the end: entries only ever move towards the beginning (compact), so one that has left a place
 * that we come to is met further on. */
void
turn_each(void (*see)(int fd, void *arg), void *arg)
{
	struct thread *t;

	for (unsigned i = 0; (t = turn_thread_at(i)); i++)
		for (uint32_t j = __atomic_load_n(&t->nr_held, __ATOMIC_ACQUIRE);
		     j-- > 0;)
			see(__atomic_load_n(&t->fd[j], __ATOMIC_ACQUIRE), arg);
}

bool
turn_list(struct stream *s)
{
	struct thread *thread;
	bool listed;

	if (!list_enter())
		return false;
	thread = self.thread; /* NULL: a handler has forked, and this is the child */
	listed = thread && list(thread, s);
	list_leave();
	/* Pairs with life_shut(). */
	fence_full();
	return listed && !__atomic_load_n(&process->gate, __ATOMIC_ACQUIRE) &&
	       stream_private(s); /* a whole fork may have been since that was asked */
}

void
turn_release(void)
{
	int fd = self.awaited - 1;
	struct stream *s;

	self.awaited = 0;
	if (!self_ready() || !self.thread)
		return;
	s = held_by_us(fd);
	if (s)
		stream_flush(s, FLUSH_TURN);
	else if (self.cond_kept && self.cond_fd == fd + 1)
		turn_kept_in_vain();
	self.cond_kept = false;
	drop_stale(self.thread);
}

static void
flush_ours(int fd, enum flush_reason reason)
{
	struct stream *s = held_by_us(fd);

	if (s)
		stream_flush(s, reason);
}

static void
settle_ours(int fd)
{
	struct stream *s = borrowed_by_us(fd);

	if (s)
		borrow_settle(s);
}

static void
quiesce_others(void)
{
	struct thread *thread = self.thread;

	for (uint32_t i = 0; thread && i < thread->nr_held; i++) {
		if (self.awaited != thread->fd[i] + 1)
			flush_ours(thread->fd[i], FLUSH_SLEEP);
		settle_ours(thread->fd[i]);
	}
	drop_stale(thread);
}

void
turn_make_room(void)
{
	struct thread *thread = self.thread;

	drop_stale(thread);
	for (uint32_t i = 0; thread && i < (thread->nr_held + 1) / 2; i++) {
		flush_ours(thread->fd[i], FLUSH_FULL);
		settle_ours(thread->fd[i]);
	}
	drop_stale(thread);
}

void
turn_flush(void)
{
	if (!self_ready())
		return;
	if (self.interests)
		interest_apply();
	if (self.awaited)
		turn_release();
	if (turn_owes())
		quiesce_others();
}

static uint32_t
stream_reads(int fd)
{
	const struct stream *s = stream_known(fd);

	return s ? relaxed(s->reads) : 0;
}

void
turn_kept_in_vain(void)
{
	int skip = self.cond_skip > -COND_WORTH ? 2 * self.cond_backoff : 0;

	if (skip < COND_SKIP)
		skip = COND_SKIP;
	else if (skip > COND_MOST_SKIPPED)
		skip = COND_MOST_SKIPPED;
	self.cond_skip = self.cond_backoff = (int16_t)skip;
	self.cond_kept = false;
}

/* May the awaited stream be kept back? Counts this sleep. */
static bool
cond_keeps(void)
{
	if (self.cond_skip > 0) {
		self.cond_skip--;
		return false;
	}
	if (self.cond_streak < TURN_PREDICTED)
		return false;
	if (self.cond_skip > -COND_WORTH)
		self.cond_skip--;
	return true;
}

static void
cond_releases(void)
{
	struct stream *s = held_by_us(self.awaited - 1);

	/* Then this is no sleep after which it is to write on, either. */
	if (s && evidence_released(s)) {
		self.cond_fd = 0;
		self.cond_streak = 0;
	}
	turn_release();
}

void
turn_cond(void)
{
	bool keep = false;

	if (!self_ready())
		return;
	if (self.interests)
		interest_apply();
	if (self.awaited) {
		uint32_t reads = stream_reads(self.awaited - 1);

		/* What was appended since needed no decision, so turn_write() has not seen it. */
		if (self.cond_fd == self.awaited && self.cond_reads != reads)
			self.cond_streak = 0;
		keep = cond_keeps();
		self.cond_fd = self.awaited;
		self.cond_reads = reads;
		self.cond_kept = keep;
	}
	if (self.awaited && !keep)
		cond_releases();
	if (turn_owes())
		quiesce_others();
	if (!keep)
		turn_slept();
}

void
turn_overdue(void)
{
	struct thread *thread = self.thread;
	int64_t now = sys_now_ns(), half = (int64_t)config->delay_us * 500;
	int64_t before = now - half, oldest = now, since;
	struct stream *s;

	if (now < self.overdue_ns)
		return;
	for (uint32_t i = 0; thread && i < thread->nr_held; i++) {
		s = held_by_us(thread->fd[i]);
		if (s && relaxed(stream_cold(s)->first_ns) < before)
			stream_flush(s, FLUSH_DELAY);
		s = borrowed_by_us(thread->fd[i]);
		if (s && relaxed(stream_cold(s)->borrow_ns) < before)
			borrow_settle(s);
		s = stream_known(thread->fd[i]);
		since = s ? stream_oldest_ns(s) : 0;
		if (since && since < oldest)
			oldest = since;
	}
	drop_stale(thread);
	keeper_put_off(oldest);
	self.overdue_ns = oldest + half;
}
