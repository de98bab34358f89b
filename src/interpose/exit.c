/* interpose/exit: the ways a process ends by itself. */
#include "interpose/entry.h"

/* atexit handlers may write and still find the family there; init.c's destructor, which runs
 * after them, does the rest. */
void
exit(int status)
{
	real_ready();
	life_quiesce_all(FLUSH_EXIT);
	real.exit(status);
	__builtin_unreachable();
}

/* The rest of these run no destructors. */

void
_exit(int status)
{
	entry_end();
	real._exit(status);
	__builtin_unreachable();
}

void
_Exit(int status)
{
	_exit(status);
}

void
quick_exit(int status)
{
	real_ready();
	entry_end();
	real.quick_exit(status);
	__builtin_unreachable();
}

/* What a handler of SIGABRT writes leaves, too: nothing is held from here on. If it leaves by siglongjmp the
 * program goes on natively. */
void
abort(void)
{
	real_ready();
	life_shut(FLUSH_EXIT);
	real.abort();
	__builtin_unreachable();
}

void
__assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
	real_ready();
	life_shut(FLUSH_EXIT);
	real.__assert_fail(what, file, line, function);
	__builtin_unreachable();
}

void
__assert(const char *what, const char *file, int line)
{
	__assert_fail(what, file, (unsigned)line, NULL);
}

void
__assert_perror_fail(int err, const char *file, unsigned line, const char *function)
{
	real_ready();
	life_shut(FLUSH_EXIT);
	real.__assert_perror_fail(err, file, line, function);
	__builtin_unreachable();
}
