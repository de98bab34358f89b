/* interpose/open: calls that make descriptors which are no streams. They pass through, and the
 * new number is known for what it is: one that was a stream before is forgotten. */
#include "interpose/entry.h"

/* Under a name of their own, because libc's headers declare open and openat with "...": the mode,
 * if the caller gave one, lies where a named argument does, and a va_list, which is built for each
 * call, costs as much as all the rest. */
int open_moded(const char *path, int flags, mode_t mode) __asm__("open");
int openat_moded(int dir, const char *path, int flags, mode_t mode) __asm__("openat");

int
open_moded(const char *path, int flags, mode_t mode)
{
	return entry_made_plain(real.open(path, flags, mode));
}

int
openat_moded(int dir, const char *path, int flags, mode_t mode)
{
	return entry_made_plain(real.openat(dir, path, flags, mode));
}

int
creat(const char *path, mode_t mode)
{
	real_ready();
	return entry_made_plain(real.creat(path, mode));
}

/* An offset has 64 bits either way. */
_Static_assert(sizeof(off_t) == 8, "no other open for large files");
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));
int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));
int __open(const char *path, int flags, mode_t mode)
	__attribute__((alias("open"), nonnull(1)));
int __open64(const char *path, int flags, mode_t mode)
	__attribute__((alias("open"), nonnull(1)));

/* The fortified ones end the program where a mode is missing: libc says how. */

int
__open_2(const char *path, int flags)
{
	real_ready();
	return entry_made_plain(real.__open_2(path, flags));
}

int
__open64_2(const char *path, int flags)
{
	return __open_2(path, flags);
}

int
__openat_2(int dir, const char *path, int flags)
{
	real_ready();
	return entry_made_plain(real.__openat_2(dir, path, flags));
}

int
__openat64_2(int dir, const char *path, int flags)
{
	return __openat_2(dir, path, flags);
}

static int
made_pipe(const int fds[2], int r)
{
	if (!r) {
		entry_made_plain(fds[0]);
		entry_made_plain(fds[1]);
	}
	return r;
}

int
pipe(int fds[2])
{
	real_ready();
	return made_pipe(fds, real.pipe(fds));
}

int
pipe2(int fds[2], int flags)
{
	real_ready();
	return made_pipe(fds, real.pipe2(fds, flags));
}

int
__pipe(int fds[2])
{
	return pipe(fds);
}

int
eventfd(unsigned count, int flags)
{
	real_ready();
	return entry_made_plain(real.eventfd(count, flags));
}

int
timerfd_create(clockid_t clock, int flags)
{
	real_ready();
	return entry_made_plain(real.timerfd_create(clock, flags));
}

int
signalfd(int fd, const sigset_t *mask, int flags)
{
	real_ready();
	return entry_made_plain(real.signalfd(fd, mask, flags));
}

int
memfd_create(const char *name, unsigned flags)
{
	real_ready();
	return entry_made_plain(real.memfd_create(name, flags));
}

static int
made_instance(int ep)
{
	interest_made(entry_made_plain(ep));
	return ep;
}

int
epoll_create(int size)
{
	real_ready();
	return made_instance(real.epoll_create(size));
}

int
epoll_create1(int flags)
{
	real_ready();
	return made_instance(real.epoll_create1(flags));
}
