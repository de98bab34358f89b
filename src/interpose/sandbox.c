/* interpose/sandbox: calls after which the process may do less than before. */
#include "interpose/entry.h"
#include "interpose/sandbox.h"

#include <linux/seccomp.h>

void
sandbox_begin(void)
{
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
