/* Who lives: see member.h. */
#include "base/sys.h"
#include "count/member.h"
#include "count/own.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* In ordinary memory: a child has the same descriptor. A thread with a descriptor table of its own
 * has it by the number that it had before it moved. */
static struct {
	int fd, fd_before;
	uint64_t inode;
} lock_file = { .fd = -1, .fd_before = -1 };

/* Without a lock nobody sees an exec that succeeds; one that failed is back much sooner. */
#define EXEC_NS UINT64_C(1000000000)

uint64_t
pid_namespace(void)
{
	struct stat st;

	return sys_stat("/proc/self/ns/pid", &st) < 0 ? 0 : st.st_ino;
}

bool
pid_ended(uint32_t pid)
{
	siginfo_t info = { 0 };

	return pid_gone(pid) || (sys_call(SYS_waitid, P_PID, (int)pid, (long)&info,
					  WEXITED | WNOHANG | WNOWAIT, 0, 0) == 0 &&
				 info.si_pid == (int)pid);
}

/* A number that was closed unseen may be another file's by now. */
static bool
is_lock_file(int fd)
{
	struct stat st;

	return fd >= 0 && sys_fstat(fd, &st) >= 0 && S_ISSOCK(st.st_mode) &&
	       st.st_ino == lock_file.inode;
}

int
lock_fd(void)
{
	int fd = __atomic_load_n(&lock_file.fd, __ATOMIC_ACQUIRE);

	if (!is_lock_file(fd))
		fd = __atomic_load_n(&lock_file.fd_before, __ATOMIC_RELAXED);
	return is_lock_file(fd) ? fd : -1;
}

static bool
exec_is_over(const struct member *m)
{
	return __atomic_load_n(&m->left, __ATOMIC_RELAXED) == 1 + ENDED_EXEC &&
	       (uint64_t)sys_now_ns() - __atomic_load_n(&m->left_ns, __ATOMIC_RELAXED) >
		       EXEC_NS;
}

bool
has_ended(const struct member *m, uint32_t slot, uint32_t pid, int fd)
{
	uint32_t locks = __atomic_load_n(&m->locks, __ATOMIC_ACQUIRE);
	uint64_t space = __atomic_load_n(&m->pid_ns, __ATOMIC_RELAXED);

	if (__atomic_load_n(&own->slot, __ATOMIC_RELAXED) == slot + 1)
		return false;
	if (locks & 1)
		/* The same after as before: it has not been moving its lock to another number. */
		return fd >= 0 && !sys_lock_taken(fd, LOCK_MEMBERS + slot) &&
		       __atomic_load_n(&m->locks, __ATOMIC_ACQUIRE) == locks;
	/* In another namespace the number is somebody else's, or nobody's. */
	return exec_is_over(m) || (space && space == own->pid_ns && pid_ended(pid));
}

void
lock_slot(struct region *region)
{
	struct member *m = slot_of_ours(region);
	int fd = __atomic_load_n(&lock_file.fd, __ATOMIC_ACQUIRE);

	if (!m || __atomic_load_n(&m->locks, __ATOMIC_RELAXED) & 1 || !is_lock_file(fd))
		return;
	if (sys_setlk(fd, F_WRLCK, LOCK_MEMBERS + (int64_t)(m - region->members), 0) >=
	    0)
		__atomic_fetch_add(&m->locks, 1, __ATOMIC_RELEASE);
}

void
region_lock_file(int fd)
{
	struct region *region = region_get();
	struct member *m = region ? slot_of_ours(region) : NULL;
	struct stat st;

	if (m && __atomic_load_n(&m->locks, __ATOMIC_RELAXED) & 1)
		__atomic_fetch_add(&m->locks, 1, __ATOMIC_RELEASE);
	if (fd >= 0 && sys_fstat(fd, &st) >= 0)
		lock_file.inode = st.st_ino;
	else
		__atomic_store_n(&lock_file.fd_before, lock_file.fd, __ATOMIC_RELAXED);
	__atomic_store_n(&lock_file.fd, fd, __ATOMIC_RELEASE);
	if (region)
		lock_slot(region);
}
