/* interpose/exec: the process becomes another program. What is held leaves and the family is
 * left; an exec that fails takes both back.
 *
 * The metrics socket closes itself (close-on-exec). If this was the family's last process, its
 * name stays behind, dead: removing it first could not be undone where the exec fails, and the
 * next family of this user clears it away. */
#include "interpose/entry.h"

static int
failed(int r)
{
	life_exec_failed();
	return r;
}

int
execve(const char *path, char *const argv[], char *const envp[])
{
	real_ready();
	life_exec_begin();
	return failed(real.execve(path, argv, envp));
}

int
execv(const char *path, char *const argv[])
{
	real_ready();
	life_exec_begin();
	return failed(real.execv(path, argv));
}

int
execvp(const char *file, char *const argv[])
{
	real_ready();
	life_exec_begin();
	return failed(real.execvp(file, argv));
}

int
execvpe(const char *file, char *const argv[], char *const envp[])
{
	real_ready();
	life_exec_begin();
	return failed(real.execvpe(file, argv, envp));
}

int
fexecve(int fd, char *const argv[], char *const envp[])
{
	real_ready();
	life_exec_begin();
	return failed(real.fexecve(fd, argv, envp));
}

int
execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	real_ready();
	life_exec_begin();
	return failed(real.execveat(dir, path, argv, envp, flags));
}

/* The list forms: libc's own do not come back through the names above, so the arguments are
 * laid out here, on the stack: an exec may follow a vfork, where nothing can be
 * allocated. */

static size_t
count_args(const char *arg, va_list *ap)
{
	size_t n = 0;

	for (; arg; arg = va_arg(*ap, const char *))
		n++;
	return n;
}

static void
lay_out(char **argv, const char *arg, va_list *ap)
{
	for (; arg; arg = va_arg(*ap, const char *))
		*argv++ = (char *)arg;
	*argv = NULL;
}

int
execl(const char *path, const char *arg, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count_args(arg, &ap);
	va_end(ap);
	char *argv[n + 1];
	va_start(ap, arg);
	lay_out(argv, arg, &ap);
	va_end(ap);
	return execve(path, argv, environ);
}

int
execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count_args(arg, &ap);
	va_end(ap);
	char *argv[n + 1];
	va_start(ap, arg);
	lay_out(argv, arg, &ap);
	va_end(ap);
	return execvpe(file, argv, environ);
}

int
execle(const char *path, const char *arg, ...)
{
	char *const *envp;
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count_args(arg, &ap);
	va_end(ap);
	char *argv[n + 1];
	va_start(ap, arg);
	lay_out(argv, arg, &ap);
	envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}
