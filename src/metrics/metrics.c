#include "metrics/metrics.h"
#include "base/config.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"
#include "count/member.h"
#include "metrics/at_exit.h"
#include "metrics/place.h"
#include "metrics/server.h"
#include "metrics/sock.h"
#include "metrics/standby.h"
#include <errno.h>
#include <fcntl.h>

/* Ours stays out of where the application expects its standard descriptors. */
enum { LOWEST = 2 };

bool metrics_undecided;
static const uint64_t yes = 1, no = 0;
const uint64_t *metrics_asked = &yes;
int metrics_listener = -1;

static uint32_t begun;  /* A: metrics_bind() was called */
static uint32_t barred; /* A: no thread any more */

/* The one thread of this process, which serves or stands by. A child's copy is put right by
 * metrics_child(). */
enum { NO_THREAD, STARTING, RUNS, ENDING };
enum { START_MS = 1000 };
static uint32_t state;       /* A */
static uint32_t stop;        /* A */
static uint32_t ended;       /* A: set as the last thing the thread does */
static uint32_t apart;       /* A: it has let go of what the application has open */
static enum seat seat;       /* what it is started for; before it is */
static uint64_t seen_vacant; /* A: totals.vacant_ns when this process last looked */
static int64_t again_ns;     /* A: not to look before */
static struct sys_thread thread;

enum { RETRY_NS = 50000000, APART_NS = 100000000 };

/* Whoever leaves says so before the kernel takes the locks away. */
static const uint64_t leaving_ns = 100000000;

static const uint64_t *
watched(void)
{
	struct region *region = region_get();

	return region ? &region->totals.watched_ns : &no;
}

/* Returns what it was. Where two do it at once, the last is right. */
static bool
set_undecided(bool undecided)
{
	bool was = __atomic_exchange_n(&metrics_undecided, undecided, __ATOMIC_SEQ_CST);
	bool now;

	do {
		now = __atomic_load_n(&metrics_undecided, __ATOMIC_SEQ_CST);
		__atomic_store_n(&metrics_asked, now ? &yes : watched(),
				 __ATOMIC_SEQ_CST);
	} while (now != __atomic_load_n(&metrics_undecided, __ATOMIC_SEQ_CST));
	return was;
}

void
metrics_init(void)
{
	set_undecided(false);
}

void
metrics_bind(void)
{
	int fd;

	if (!region_get() || __atomic_exchange_n(&begun, 1, __ATOMIC_ACQ_REL))
		return;
	at_exit_check();
	if (!config->metrics)
		return;
	fd = place_bind();
	if (fd < 0)
		return;
	__atomic_store_n(&metrics_listener, fd, __ATOMIC_RELEASE);
	region_lock_file(fd);
	set_undecided(!__atomic_load_n(&barred, __ATOMIC_RELAXED));
}

static void
run(void)
{
	int fd = metrics_fd();

	if (standby_run(fd, seat, &stop, &apart))
		server_run(fd, &stop);
	__atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
}

static uint64_t
vacant_ns(void)
{
	struct region *region = region_get();

	return region ? __atomic_load_n(&region->totals.vacant_ns, __ATOMIC_RELAXED) : 0;
}

bool
metrics_vacant(void)
{
	return metrics_fd() >= 0 &&
	       vacant_ns() != __atomic_load_n(&seen_vacant, __ATOMIC_RELAXED);
}

/* True: the caller is the one to start the thread. */
static bool
may_start(void)
{
	uint32_t from = NO_THREAD;

	/* One that found its seat taken, or failed. */
	if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == RUNS &&
	    __atomic_load_n(&ended, __ATOMIC_ACQUIRE))
		from = RUNS;
	return __atomic_compare_exchange_n(&state, &from, STARTING, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Its table begins as a copy of the application's: what that closes meanwhile would stay open, a port
 * bound, a peer without its end. Soon, unless the machine has other things to do. */
static void
await_apart(void)
{
	int64_t until = sys_now_ns() + APART_NS;
	unsigned spins = 0;

	while (!__atomic_load_n(&apart, __ATOMIC_ACQUIRE) && sys_now_ns() < until)
		lock_wait(&spins);
}

/* No thread is made in vain. */
static void
start(int fd)
{
	/* A number whose socket is gone: closed by a call that was not seen. */
	if (!place_is(fd)) {
		__atomic_store_n(&metrics_listener, -1, __ATOMIC_RELAXED);
		region_lock_file(-1);
	}
	seat = metrics_fd() == fd ? standby_seat(fd) : SEAT_NONE;
	if (seat == SEAT_LATER) {
		__atomic_store_n(&again_ns, sys_now_ns() + RETRY_NS, __ATOMIC_RELAXED);
		set_undecided(true);
	}
	if (seat >= SEAT_NONE) {
		__atomic_store_n(&state, NO_THREAD, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ended, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&apart, 0, __ATOMIC_RELAXED);
	if (sys_thread_start(&thread, run, "weir-metrics", false) < 0) {
		__atomic_store_n(&state, NO_THREAD, __ATOMIC_RELEASE);
		count_internal(INTERNAL_THREAD);
		return;
	}
	await_apart();
	__atomic_store_n(&state, RUNS, __ATOMIC_RELEASE);
}

void
metrics_member_sleeps(void)
{
	uint64_t vacant = vacant_ns();
	int fd = metrics_fd();
	sigset_t before;

	if (sys_now_ns() < __atomic_load_n(&again_ns, __ATOMIC_RELAXED))
		return;
	if (!set_undecided(false) && !metrics_vacant())
		return;
	/* Soon after, the one that goes may still have its lock: then the next sleep asks again. */
	if ((uint64_t)sys_now_ns() - vacant > leaving_ns)
		__atomic_store_n(&seen_vacant, vacant, __ATOMIC_RELAXED);
	if (fd < 0 || __atomic_load_n(&barred, __ATOMIC_RELAXED))
		return;
	/* A handler that left this by a jump would leave it undone for ever. */
	sys_signals_block(&before);
	if (may_start())
		start(fd);
	sys_signals_restore(&before);
}

void
metrics_make_way(int fd)
{
	int high;

	if (!metrics_owns(fd))
		return;
	region_lock_file(-1);
	high = sock_high(fd, LOWEST);
	if (high < 0)
		count_internal(INTERNAL_DESCRIPTOR);
	__atomic_store_n(&metrics_listener, high < 0 ? -1 : high, __ATOMIC_RELEASE);
	sys_close(fd);
	region_lock_file(high < 0 ? -1 : high);
}

/* The thread is gone when this returns, for the kernel too. */
static void
end_thread(void)
{
	uint32_t runs = RUNS;
	sigset_t before;

	sys_signals_block(&before);
	for (int i = 0;
	     i < START_MS && __atomic_load_n(&state, __ATOMIC_ACQUIRE) == STARTING; i++)
		sys_poll(NULL, 0, 1); /* another thread is about it */
	if (__atomic_compare_exchange_n(&state, &runs, ENDING, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED)) {
		__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
		sys_thread_end(&thread, SERVER_WAKE);
		/* The kernel says that the thread is gone; this says that what it wrote is
		 * there. Pairs with the store in run(). */
		(void)__atomic_load_n(&ended, __ATOMIC_ACQUIRE);
		__atomic_store_n(&state, NO_THREAD, __ATOMIC_RELEASE);
	}
	sys_signals_restore(&before);
}

void
metrics_stop(bool for_good)
{
	if (for_good)
		__atomic_store_n(&barred, 1, __ATOMIC_RELAXED);
	set_undecided(false);
	end_thread();
	set_undecided(metrics_fd() >= 0 && !__atomic_load_n(&barred, __ATOMIC_RELAXED));
}

void
metrics_end(bool last)
{
	int fd;

	if (!last || !__atomic_load_n(&begun, __ATOMIC_ACQUIRE))
		return;
	set_undecided(false);
	end_thread();
	at_exit_write();
	place_unlink();
	fd = __atomic_exchange_n(&metrics_listener, -1, __ATOMIC_ACQ_REL);
	region_lock_file(-1);
	if (fd >= 0 && place_is(fd))
		sys_close(fd);
	/* An exec that fails comes back: the next stream binds anew. */
	__atomic_store_n(&begun, 0, __ATOMIC_RELEASE);
}

void
metrics_child(void)
{
	__atomic_store_n(&state, NO_THREAD, __ATOMIC_RELAXED);
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	again_ns = 0;
	set_undecided(metrics_fd() >= 0 && !__atomic_load_n(&barred, __ATOMIC_RELAXED));
}
