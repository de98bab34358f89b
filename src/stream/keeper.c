#include "stream/keeper.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/flush.h"
#include "stream/stall.h"
#include "stream/turn.h"
#include <errno.h>

/* When a stream is looked at again that another thread has and does not come to an end with. */
enum { STUCK_NS = 150000 };
enum { LOOK_NS = 100000000, LOOK_SHARE = 200, TRIM_NS = 1000000000 };
static const int64_t watch_ns = INT64_C(60000000000);

/* How often and how long a snapshot waits for a look. */
enum { LOOK_STEP_NS = 1000000, LOOK_STEPS = 20 };

/* ARMED: it sweeps, or an alarm is set by which it will. IDLE: nothing is held; the next hold sets
 * the alarm. */
enum { ARMED, IDLE, STOPS };

/* What the keeper sleeps on. It belongs to the process of this generation; in a child it is as
 * if there were none. */
static struct {
	uint32_t word; /* A: ARMED, IDLE, STOPS */
	struct sys_alarm alarm;
	int64_t due_ns; /* A: when the alarm goes off, while it sleeps and one is set; else 0 */
	uint64_t seen_ns;    /* A: asked_ns() at its last look */
	bool look_now;       /* A: a look at the episodes is asked for */
	uint32_t looks;      /* A: how many of those have been answered */
	uint32_t generation; /* A: of the process whose keeper runs; 0 none */
	bool never;          /* A: cannot be made, or was ended for good */
	struct sys_thread thread;
} keeper;

/* The delay is the longest that a byte may wait, and to wake takes time too: a tenth for that. */
static int64_t
due_after_ns(void)
{
	return (int64_t)config->delay_us * 900;
}

static bool
runs(void)
{
	return __atomic_load_n(&keeper.generation, __ATOMIC_ACQUIRE) ==
	       relaxed(process->generation);
}

/* The cookie tells whether the number is still that socket: it may have been closed unseen. */
static bool
still_there(struct stream *s)
{
	/* First: between the two the number may be closed and taken into use again. */
	uint64_t cookie = __atomic_load_n(&stream_cold(s)->cookie, __ATOMIC_ACQUIRE);
	uint64_t now = sys_cookie(stream_fd(s));

	if (now == cookie)
		return true;
	/* Not told although there is one: asked again later. */
	if (now || sys_no_socket(stream_fd(s)))
		stream_forget_socket(stream_fd(s), cookie);
	return false;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return !a || b < a ? b : a;
}

/* Flushes and settles what of one stream is due by `now`. Returns when the next is; 0: nothing. */
static int64_t
see_to(struct stream *s, int64_t now)
{
	const struct stream_cold *cold = stream_cold(s);
	int64_t due, next = 0;

	if (stream_held(s)) {
		due = __atomic_load_n(&cold->first_ns, __ATOMIC_RELAXED) +
		      due_after_ns();
		if (due > now)
			next = due;
		else if (section_stuck(s))
			next = now + STUCK_NS;
		else if (still_there(s))
			stream_flush(s, FLUSH_DELAY);
		/* The kernel refused, and its writer may sleep for long. */
		if (!next && stream_held(s))
			next = now + due_after_ns();
	}
	if (stream_borrowed(s)) {
		due = __atomic_load_n(&cold->borrow_ns, __ATOMIC_RELAXED) +
		      due_after_ns();
		if (due > now)
			next = earlier(next, due);
		else if (section_stuck(s))
			return earlier(next, now + STUCK_NS);
		else if (still_there(s))
			borrow_settle(s);
		if (due <= now && stream_borrowed(s))
			next = earlier(next, now + due_after_ns());
	}
	return next;
}

struct sweep {
	int64_t now,
		next; /* when the oldest byte left must go; 0: nothing is held or borrowed */
};

static void
see_to_listed(int fd, void *arg)
{
	struct sweep *sweep = arg;
	struct stream *s = stream_known(fd);
	int64_t next = s ? see_to(s, sweep->now) : 0;

	if (next)
		sweep->next = earlier(sweep->next, next);
}

/* Sees to what is older than the delay. */
static int64_t
sweep(int64_t now)
{
	struct sweep sweep = { now, 0 };

	turn_each(see_to_listed, &sweep);
	return sweep.next;
}

/* When somebody last asked for metrics; 0: never. */
static uint64_t
asked_ns(void)
{
	struct region *region = region_get();

	return region ? __atomic_load_n(&region->totals.watched_ns, __ATOMIC_RELAXED)
		      : 0;
}

static bool
watched(int64_t now)
{
	uint64_t asked = asked_ns();

	__atomic_store_n(&keeper.seen_ns, asked, __ATOMIC_RELAXED);
	/* Any number may stand there: no signed overflow. */
	return asked && (int64_t)((uint64_t)now - asked) < watch_ns;
}

struct looks {
	int64_t last_ns;     /* 0: none, or nobody has been watching since */
	int64_t next_ns;     /* 0: nobody watches */
	int64_t episodes_ns; /* when the next at the episodes alone may be */
};

/* How long to rest from a look that began at `began`, so that looks cost half a per cent of a core: by
 * its own time, as on a busy machine the thread may stand still in a look. */
static int64_t
rest_ns(int64_t began)
{
	return LOOK_SHARE * (sys_cpu_ns() - began);
}

/* Looks, if one is due. They come every LOOK_NS, or more seldom where they cost too much. */
static void
look(struct looks *looks, int64_t now)
{
	int64_t rest, began;

	if (!watched(now)) {
		looks->last_ns = looks->next_ns = 0;
		return;
	}
	if (now < looks->next_ns)
		return;
	began = sys_cpu_ns();
	stall_look(looks->last_ns ? now - looks->last_ns : 0);
	rest = rest_ns(began);
	looks->last_ns = now;
	looks->next_ns = now + (rest > LOOK_NS ? rest : LOOK_NS);
}

/* For a snapshot that waits: a look at the episodes, if the last one cost little enough. */
static void
look_for_snapshot(struct looks *looks, int64_t now)
{
	int64_t began;

	if (!__atomic_exchange_n(&keeper.look_now, false, __ATOMIC_ACQUIRE))
		return;
	if (now >= looks->episodes_ns) {
		began = sys_cpu_ns();
		stall_look_episodes();
		looks->episodes_ns = now + rest_ns(began);
	}
	/* Pairs with the acquire in keeper_look_now(). */
	__atomic_fetch_add(&keeper.looks, 1, __ATOMIC_RELEASE);
}

/* When the next look or trim is due, whatever is held meanwhile; 0: none is. */
static int64_t
until(const struct looks *looks, int64_t trimmed_ns)
{
	int64_t trim = pool_has_free() ? trimmed_ns + TRIM_NS : 0;

	return trim && looks->next_ns ? earlier(trim, looks->next_ns)
				      : trim + looks->next_ns;
}

/* Nothing is held: sleeps until a hold sets the alarm, or until `until_ns`. */
static void
idle(int64_t now, int64_t until_ns)
{
	uint32_t expected = ARMED;

	if (!__atomic_compare_exchange_n(&keeper.word, &expected, IDLE, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return;
	/* A hold lists itself, then looks at the word; we set the word, then look at the lists. */
	fence_full();
	if (!sweep(now))
		sys_alarm_wait(&keeper.alarm, &keeper.word, IDLE, until_ns);
	expected = IDLE;
	__atomic_compare_exchange_n(&keeper.word, &expected, ARMED, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static int
set_alarm(int64_t due_ns)
{
	__atomic_store_n(&keeper.due_ns, due_ns, __ATOMIC_RELEASE);
	return sys_alarm_set(&keeper.alarm, due_ns);
}

/* Sleeps until `due_ns`, or later if a thread puts it off, but not beyond `until_ns`. */
static void
wait_armed(int64_t due_ns, int64_t until_ns)
{
	if (set_alarm(due_ns) < 0)
		until_ns = earlier(until_ns, due_ns);
	sys_alarm_wait(&keeper.alarm, &keeper.word, ARMED, until_ns);
}

static void
run(void)
{
	int64_t now, next, trimmed = 0;
	struct looks looks = { 0 };
	bool alarm;

	self_enter();
	alarm = sys_alarm_make(&keeper.alarm) >= 0;
	while (__atomic_load_n(&keeper.word, __ATOMIC_ACQUIRE) != STOPS) {
		__atomic_store_n(&keeper.due_ns, 0, __ATOMIC_RELEASE);
		now = sys_now_ns();
		next = sweep(now);
		look(&looks, now);
		look_for_snapshot(&looks, now);
		if (now - trimmed >= TRIM_NS) {
			pool_trim(self.tid);
			trimmed = now;
		}
		if (!alarm)
			sys_alarm_wait(&keeper.alarm, &keeper.word, ARMED,
				       next ? next : now + due_after_ns());
		else if (next)
			wait_armed(next, until(&looks, trimmed));
		else
			idle(now, until(&looks, trimmed));
	}
	sys_alarm_end(&keeper.alarm);
	turn_thread_end();
}

static void
make_locked(void)
{
	if (runs() || relaxed(keeper.never))
		return;
	relaxed_set(keeper.word, ARMED);
	relaxed_set(keeper.due_ns, 0);
	/* Without the barrier it could not take a stream from its owner. */
	if (!sys_able() || sys_membarrier_register() < 0 ||
	    sys_thread_start(&keeper.thread, run, "weir-keeper", true) < 0) {
		relaxed_set(keeper.never, true);
		count_internal(INTERNAL_THREAD);
	} else {
		__atomic_store_n(&keeper.generation, process->generation,
				 __ATOMIC_RELEASE);
	}
}

static bool
make(void)
{
	sigset_t before;

	/* A handler that left this by a jump would leave a thread that nobody knows of. */
	sys_signals_block(&before);
	/* False: a handler; the code it interrupted is making it. */
	if (lock_take(&process->lock, self.tid)) {
		make_locked();
		lock_give(&process->lock);
	}
	sys_signals_restore(&before);
	return runs();
}

bool
keeper_start(void)
{
	return runs() || (!__atomic_load_n(&keeper.never, __ATOMIC_RELAXED) && make());
}

bool
keeper_ended(void)
{
	return __atomic_load_n(&keeper.never, __ATOMIC_RELAXED);
}

/* Whoever begins to owe after the caller has looked at nr_owing does so later than `oldest_ns`, so an
 * alarm for that comes in time for both, however late we set it. */
void
keeper_put_off(int64_t oldest_ns)
{
	int64_t due = __atomic_load_n(&keeper.due_ns, __ATOMIC_ACQUIRE);
	int64_t later = oldest_ns + due_after_ns();

	if (!due || later - due < due_after_ns() / 2 ||
	    __atomic_load_n(&process->nr_owing, __ATOMIC_SEQ_CST) > (self.nr_owed != 0))
		return;
	if (__atomic_compare_exchange_n(&keeper.due_ns, &due, later, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		sys_alarm_set(&keeper.alarm, later);
}

void
keeper_notice(struct stream *s)
{
	int64_t oldest_ns = stream_oldest_ns(s);
	uint32_t idle = IDLE, word;

	/* What was held must be seen before we look; pairs with the fence in idle(). */
	fence_full();
	word = __atomic_load_n(&keeper.word, __ATOMIC_RELAXED);
	if (word == STOPS)
		keeper_start(); /* it was stopped since we asked before the hold */
	else if (word == IDLE &&
		 __atomic_compare_exchange_n(&keeper.word, &idle, ARMED, false,
					     __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		if (set_alarm(oldest_ns + due_after_ns()) < 0)
			sys_alarm_ring(&keeper.alarm);
	} else if (self.nr_owed == 1)
		keeper_put_off(oldest_ns);
}

void
keeper_watch_asked(void)
{
	uint64_t asked = asked_ns();

	if (!relaxed(nr_numbers) || !self_enter() || !relaxed(process->joined))
		return;
	if (!runs()) {
		if (watched(sys_now_ns()))
			keeper_start();
	} else if (__atomic_load_n(&keeper.seen_ns, __ATOMIC_RELAXED) != asked) {
		__atomic_store_n(&keeper.seen_ns, asked, __ATOMIC_RELAXED);
		sys_alarm_ring(&keeper.alarm); /* it may sleep for long */
	}
}

void
keeper_look_now(void)
{
	uint32_t looks = __atomic_load_n(&keeper.looks, __ATOMIC_RELAXED);

	if (!runs() || !stall_any())
		return;
	__atomic_store_n(&keeper.look_now, true, __ATOMIC_RELEASE);
	sys_alarm_ring(&keeper.alarm);
	for (int i = 0; i < LOOK_STEPS; i++)
		if (__atomic_load_n(&keeper.looks, __ATOMIC_ACQUIRE) != looks ||
		    sys_futex_wait(&keeper.looks, looks, sys_now_ns() + LOOK_STEP_NS) ==
			    -EAGAIN)
			return;
}

void
keeper_stop(bool for_good)
{
	if (!lock_take(&process->lock, self.tid))
		return;
	if (for_good)
		__atomic_store_n(&keeper.never, true, __ATOMIC_RELAXED);
	if (runs()) {
		__atomic_store_n(&keeper.word, STOPS, __ATOMIC_SEQ_CST);
		sys_alarm_ring(&keeper.alarm);
		sys_thread_join(&keeper.thread);
		__atomic_store_n(&keeper.generation, 0, __ATOMIC_RELEASE);
	}
	lock_give(&process->lock);
}
