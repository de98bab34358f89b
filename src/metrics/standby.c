#include "metrics/standby.h"
#include "base/sys.h"
#include "count/member.h"
#include "metrics/path.h"
#include "metrics/place.h"
#include "metrics/server.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/syscall.h>

/* How long the standby leaves the first place to its parent, which may not have slept yet. */
enum { PATIENCE_MS = 300, STEP_MS = 20 };
enum { SHORT_LIFE_NS = 1000000000 };

static bool
has_parent(void)
{
	return region_has((uint32_t)sys_getppid());
}

/* When the last one began to stand by; 0: it has ended that as it should. */
static void
set_stood(int64_t now_ns)
{
	struct region *region = region_get();

	if (region)
		__atomic_store_n(&region->totals.stood_ns, (uint64_t)now_ns,
				 __ATOMIC_RELAXED);
}

static bool
stood_lately(void)
{
	struct region *region = region_get();
	uint64_t stood =
		region ? __atomic_load_n(&region->totals.stood_ns, __ATOMIC_RELAXED) : 0;

	return stood && (uint64_t)sys_now_ns() - stood < SHORT_LIFE_NS;
}

enum seat
standby_seat(int fd)
{
	if (!sys_lock_taken(fd, SERVER_BYTE) && !has_parent())
		return SEAT_SERVER;
	if (sys_lock_taken(fd, STANDBY_BYTE))
		return SEAT_NONE;
	if (stood_lately())
		return SEAT_LATER;
	set_stood(sys_now_ns()); /* now: it may be gone before its thread has run */
	return SEAT_STANDBY;
}

/* Somebody is to stand by. Members look at this word only where they look at watched_ns, so that
 * a sleep costs no second look: hence the mark there, as of a request long ago. */
static void
announce_vacancy(void)
{
	struct region *region = region_get();
	uint64_t never = 0;

	if (!region)
		return;
	__atomic_store_n(&region->totals.vacant_ns, (uint64_t)sys_now_ns(),
			 __ATOMIC_RELAXED);
	__atomic_compare_exchange_n(&region->totals.watched_ns, &never, 1, false,
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void
standby_check(int fd)
{
	if (!sys_lock_taken(fd, STANDBY_BYTE))
		announce_vacancy();
}

/* ---- a descriptor table of the thread's own, with the listening socket alone ---- */

static bool
has_own_table(int fd)
{
	char name[64];
	struct path path = { .to = name, .cap = sizeof name };
	/* Not the lowest free number, which is the application's next one as well. */
	int probe = sys_fcntl(fd, F_DUPFD_CLOEXEC, fd / 2);
	struct stat st;
	bool own;

	if (probe < 0)
		return false;
	/* Seen through the main thread; without /proc nobody can tell, and the kernel is trusted. */
	path_add(&path, "/proc/self/task/");
	path_number(&path, (unsigned)sys_getpid());
	path_add(&path, "/fd/");
	path_number(&path, (unsigned)probe);
	own = sys_lstat(name, &st) < 0;
	sys_close(probe);
	return own;
}

/* An emulator may take close_range() without its flag (valgrind 3.19 does), and then it is the
 * application's descriptors that are closed. So first a range of nothing, then a look. */
static bool
own_table(int fd)
{
	if ((sys_close_range(~0u, ~0u, CLOSE_RANGE_UNSHARE) < 0 || !has_own_table(fd)) &&
	    (sys_call(SYS_unshare, CLONE_FILES, 0, 0, 0, 0, 0) < 0 ||
	     !has_own_table(fd)))
		return false;
	/* With a copy of a stream that the application closes no end of it would leave. */
	if (sys_close_range((unsigned)fd + 1, ~0u, 0) < 0 ||
	    (fd > 0 && sys_close_range(0, (unsigned)fd - 1, 0) < 0))
		return false;
	/* The application may have put something else there before we looked. */
	return place_is(fd);
}

/* ---- waiting ---- */

static bool
stopped(const uint32_t *stop)
{
	return __atomic_load_n(stop, __ATOMIC_SEQ_CST) != 0;
}

static void
leave_it_to_the_parent(int fd, const uint32_t *stop)
{
	int64_t until = sys_now_ns() + PATIENCE_MS * INT64_C(1000000);

	while (!stopped(stop) && !sys_lock_taken(fd, SERVER_BYTE) && has_parent() &&
	       sys_now_ns() < until)
		sys_poll(NULL, 0, STEP_MS);
}

/* Until the server's process is gone, however it went. The wake-up is let in meanwhile, as
 * nothing else ends this call. */
static bool
wait_for_seat(int fd, const uint32_t *stop)
{
	int ret = -EINTR;

	sys_signal_let(SERVER_WAKE, true);
	leave_it_to_the_parent(fd, stop);
	while (ret == -EINTR && !stopped(stop))
		ret = sys_setlk(fd, F_WRLCK, SERVER_BYTE, 1);
	sys_signal_let(SERVER_WAKE, false);
	return ret >= 0;
}

bool
standby_run(int fd, enum seat seat, const uint32_t *stop, uint32_t *apart)
{
	bool serves, owns = own_table(fd);

	__atomic_store_n(apart, 1, __ATOMIC_RELEASE);
	if (!owns) {
		/* Looking for one closed a number of the file, in the application's. */
		region_lock_file(fd);
		count_internal(INTERNAL_THREAD);
		return false;
	}
	if (seat == SEAT_SERVER && sys_setlk(fd, F_WRLCK, SERVER_BYTE, 0) >= 0)
		return true;
	if (sys_setlk(fd, F_WRLCK, STANDBY_BYTE, 0) < 0)
		return false;
	set_stood(sys_now_ns());
	serves = wait_for_seat(fd, stop);
	set_stood(0);
	sys_setlk(fd, F_UNLCK, STANDBY_BYTE, 0);
	if (serves)
		announce_vacancy();
	return serves;
}
