#include "metrics/metrics.h"
#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "count/region.h"
#include "metrics/at_exit.h"
#include "metrics/place.h"
#include "metrics/server.h"
#include "metrics/sock.h"
#include <errno.h>
#include <fcntl.h>

/* Ours stays out of where the application expects its standard descriptors. */
enum { LOWEST = 2 };

bool metrics_undecided;
int metrics_listener = -1;

static uint32_t begun;  /* A: metrics_bind() was called */
static uint32_t barred; /* A: no thread any more */

/* The serving thread of this process. A child's copy is put right by metrics_child(). */
enum { NO_THREAD, STARTING, SERVING };
static uint32_t serving; /* A */
static uint32_t stop;    /* A */
static uint32_t ended;   /* A: set as the last thing the thread does */
static struct sys_thread thread;

/* When this process has tried first, and tries next; 0: it has not tried yet. */
enum { RETRY_NS = 50000000 };
static const int64_t last_retry_ns = INT64_C(1000000000);
static int64_t first_try_ns, next_try_ns; /* A */

static void
set_undecided(bool undecided)
{
	__atomic_store_n(&metrics_undecided, undecided, __ATOMIC_RELEASE);
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
	set_undecided(!__atomic_load_n(&barred, __ATOMIC_RELAXED));
}

static void
run(void)
{
	server_run(metrics_fd(), &stop);
	__atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
}

/* A thread costs the process its single-thread shortcuts: none is made in vain. The one
 * that serves has its lock in a descriptor table of its own, so it shows here even if it is
 * ours. */
static bool
served(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	return sys_fcntl(fd, F_GETLK, (long)&lock) < 0 || lock.l_type != F_UNLCK;
}

/* Another member serves, or ought to, and may yet change that: a master that executes itself again
 * does; and a parent that has not slept yet is nearer to the family's root, and so the one that
 * stays. We ask again for a while, and no longer: the parent may never make a call that we see. */
static void
try_again(int64_t now)
{
	__atomic_store_n(&next_try_ns, now + RETRY_NS, __ATOMIC_RELAXED);
	set_undecided(true);
}

void
metrics_member_sleeps(void)
{
	uint32_t none = NO_THREAD;
	int64_t now = sys_now_ns(), first = 0;
	int fd = metrics_fd();
	bool early;

	if (now < __atomic_load_n(&next_try_ns, __ATOMIC_RELAXED))
		return;
	if (!__atomic_exchange_n(&metrics_undecided, false, __ATOMIC_ACQ_REL) || fd < 0)
		return;
	/* A number whose socket is gone: closed by a call that was not seen. */
	if (!place_is(fd)) {
		__atomic_store_n(&metrics_listener, -1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_compare_exchange_n(&first_try_ns, &first, now, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	early = !first || now < first + last_retry_ns;
	if (early && (served(fd) || region_has((uint32_t)sys_getppid()))) {
		try_again(now);
		return;
	}
	if (served(fd) ||
	    !__atomic_compare_exchange_n(&serving, &none, STARTING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	if (sys_thread_start(&thread, run, "weir-metrics") < 0) {
		__atomic_store_n(&serving, NO_THREAD, __ATOMIC_RELEASE);
		count_internal(INTERNAL_THREAD);
		return;
	}
	__atomic_store_n(&serving, SERVING, __ATOMIC_RELEASE);
}

void
metrics_make_way(int fd)
{
	int high;

	if (!metrics_owns(fd))
		return;
	high = sock_high(fd, LOWEST);
	if (high < 0)
		count_internal(INTERNAL_DESCRIPTOR);
	__atomic_store_n(&metrics_listener, high < 0 ? -1 : high, __ATOMIC_RELEASE);
	sys_close(fd);
}

/* The thread is gone when this returns, for the kernel too. */
static void
end_thread(void)
{
	unsigned spins = 0;
	int tid;

	while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) == STARTING &&
	       spins++ < 100000)
		sys_yield();
	if (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != SERVING)
		return;
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	while (!(tid = __atomic_load_n(&thread.tid, __ATOMIC_SEQ_CST)) &&
	       spins++ < 100000)
		sys_yield();
	if (tid)
		sys_tgkill(sys_getpid(), tid, SERVER_WAKE);
	sys_thread_join(&thread);
	/* The kernel says that the thread is gone; this says that what it wrote is there. Pairs
	 * with the store in run(). */
	(void)__atomic_load_n(&ended, __ATOMIC_ACQUIRE);
	__atomic_store_n(&serving, NO_THREAD, __ATOMIC_RELEASE);
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
	if (fd >= 0 && place_is(fd))
		sys_close(fd);
	/* An exec that fails comes back: the next stream binds anew. */
	__atomic_store_n(&begun, 0, __ATOMIC_RELEASE);
}

void
metrics_child(void)
{
	__atomic_store_n(&serving, NO_THREAD, __ATOMIC_RELAXED);
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	first_try_ns = next_try_ns = 0;
	set_undecided(metrics_fd() >= 0 && !__atomic_load_n(&barred, __ATOMIC_RELAXED));
}
