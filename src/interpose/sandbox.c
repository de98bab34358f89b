/* interpose/sandbox: calls after which the process may do less than before. */
#include "interpose/entry.h"
#include "interpose/sandbox.h"

#include <linux/seccomp.h>

void
sandbox_begin(void)
{
	__atomic_store_n(&real_direct, false, __ATOMIC_RELAXED);
	life_seccomp();
	if (self_ready())
		metrics_stop(true);
}

void
sandbox_single_thread(void)
{
	life_single_thread();
	if (entry_live())
		metrics_stop(false);
}

void
sandbox_own_table(void)
{
	sandbox_single_thread();
	if (!self_is_alone())
		life_off();
}

struct identity
sandbox_identity_begin(void)
{
	struct identity was = { 0 };

	if (entry_live()) {
		life_quiesce_all(FLUSH_ORDER);
		was = (struct identity){ getuid(), getgid() };
	}
	return was;
}

/* No matter what the helper threads have as long as the process may have that back. */
static bool
has_dropped_the_old_one(void)
{
	uid_t real_id, effective, saved;

	return getresuid(&real_id, &effective, &saved) == 0 && real_id == effective &&
	       effective == saved && effective != 0;
}

int
sandbox_identity_end(struct identity was, int result)
{
	if (result == 0 && sys_thread_any() && entry_live() &&
	    (was.user != getuid() || was.group != getgid() || has_dropped_the_old_one()))
		sandbox_single_thread();
	return result;
}

#define IDENTITY(name, parameters, arguments) \
	int name parameters \
	{ \
		struct identity was; \
		real_ready(); \
		was = sandbox_identity_begin(); \
		return sandbox_identity_end(was, real.name arguments); \
	}

IDENTITY(setuid, (uid_t u), (u))
IDENTITY(seteuid, (uid_t u), (u))
IDENTITY(setreuid, (uid_t r, uid_t e), (r, e))
IDENTITY(setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))
IDENTITY(setgid, (gid_t g), (g))
IDENTITY(setegid, (gid_t g), (g))
IDENTITY(setregid, (gid_t r, gid_t e), (r, e))
IDENTITY(setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))

/* libc tells its own threads alone: the helpers end, and those that come have the new ones. */
static int
groups_set(int result)
{
	if (result == 0 && sys_thread_any() && entry_live())
		sandbox_single_thread();
	return result;
}

int
setgroups(size_t nr, const gid_t *groups)
{
	real_ready();
	return groups_set(real.setgroups(nr, groups));
}

int
initgroups(const char *user, gid_t group)
{
	real_ready();
	return groups_set(real.initgroups(user, group));
}

int
prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	real_ready();
	/* A filter that is no filter is a question whether this kernel has them. */
	if (option == PR_SET_SECCOMP && (a[0] == SECCOMP_MODE_STRICT || a[1]))
		sandbox_begin();
	return real.prctl(option, a[0], a[1], a[2], a[3]);
}

/* The kernel refuses these to a process with threads, and it must not have them because of us. */

int
unshare(int flags)
{
	real_ready();
	if (flags & CLONE_FILES)
		sandbox_own_table();
	else
		sandbox_single_thread();
	return real.unshare(flags);
}

int
setns(int fd, int type)
{
	real_ready();
	sandbox_single_thread();
	return real.setns(fd, type);
}

/* Capabilities belong to a thread: a helper would keep what the application drops. */
int
capset(void *header, const void *sets)
{
	real_ready();
	sandbox_single_thread();
	return real.capset(header, sets);
}
