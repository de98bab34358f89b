/* interpose/real: the table of libc's own functions, and the raw ones that stand in early. */
#include "interpose/real.h"
#include "base/enter.h"
#include "base/libc.h"
#include "interpose/entry.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <sys/syscall.h>

static ssize_t
raw_read(int fd, void *buf, size_t n)
{
	return entry_result(sys_call(SYS_read, fd, (long)buf, (long)n, 0, 0, 0));
}

static ssize_t
raw_write(int fd, const void *buf, size_t n)
{
	return entry_result(sys_call(SYS_write, fd, (long)buf, (long)n, 0, 0, 0));
}

static ssize_t
raw_readv(int fd, const struct iovec *iov, int nr)
{
	return entry_result(sys_call(SYS_readv, fd, (long)iov, nr, 0, 0, 0));
}

static ssize_t
raw_writev(int fd, const struct iovec *iov, int nr)
{
	return entry_result(sys_call(SYS_writev, fd, (long)iov, nr, 0, 0, 0));
}

static int
raw_openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	long mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	return (int)entry_result(
		sys_call(SYS_openat, dir, (long)path, flags, mode, 0, 0));
}

static int
raw_open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	return raw_openat(AT_FDCWD, path, flags, mode);
}

static int
raw_close(int fd)
{
	return (int)entry_result(sys_call(SYS_close, fd, 0, 0, 0, 0, 0));
}

static int
raw_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return (int)entry_result(sys_call(SYS_fcntl, fd, cmd, arg, 0, 0, 0));
}

static int
raw_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)entry_result(
		sys_call(SYS_setsockopt, fd, level, name, (long)value, (long)len, 0));
}

static int
raw_ioctl(int fd, ioctl_request request, ...)
{
	va_list ap;
	long arg;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	return (int)entry_result(sys_call(SYS_ioctl, fd, (long)request, arg, 0, 0, 0));
}

static int
raw_ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout,
	  const sigset_t *mask)
{
	struct timespec left = { 0, 0 };

	/* The kernel writes the time left back; libc's callers never see that. */
	if (timeout)
		left = *timeout;
	return (int)entry_result(sys_call(SYS_ppoll, (long)fds, (long)nr,
					  timeout ? (long)&left : 0, (long)mask,
					  _NSIG / 8, 0));
}

static int
raw_poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000L };

	return raw_ppoll(fds, nr, timeout < 0 ? NULL : &ts, NULL);
}

static long
raw_syscall(long nr, ...)
{
	va_list ap;
	long a[6];

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return entry_result(sys_call(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}

static void
raw_exit(int status)
{
	for (;;)
		sys_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

struct real real = {
	.read = raw_read,
	.write = raw_write,
	.readv = raw_readv,
	.writev = raw_writev,
	.open = raw_open,
	.openat = raw_openat,
	.close = raw_close,
	.fcntl = raw_fcntl,
	.setsockopt = raw_setsockopt,
	.ioctl = raw_ioctl,
	.poll = raw_poll,
	.ppoll = raw_ppoll,
	.syscall = raw_syscall,
	._exit = (__typeof__(_exit) *)raw_exit,
};
bool real_bound;
bool real_direct;
void *real_vfork;

static const struct {
	const char *name;
	size_t offset;
} names[] = {
#define REAL_NAME(name) { #name, offsetof(struct real, name) },
	REAL_NAMES(REAL_NAME)
#undef REAL_NAME
};

/* In place of a function that this libc does not have. */
static long
absent(void)
{
	return entry_fail(ENOSYS);
}

void
real_init(void)
{
	static __thread bool binding;

	/* dlsym may allocate, and an allocator may come back here through one of our names:
	 * what is bound so far, and the raw calls, have to do. */
	if (binding)
		return;
	binding = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *p = dlsym(RTLD_NEXT, names[i].name);
		void **slot = (void **)((char *)&real + names[i].offset);

		*slot = p ? p : (void *)absent;
	}
	real_vfork = (void *)real.vfork;
	__atomic_store_n(&real_bound, true, __ATOMIC_RELEASE);
	binding = false;
}

static bool
lies_in(const struct dl_phdr_info *info, const ElfW(Phdr) * part, const void *p)
{
	uintptr_t begin = info->dlpi_addr + part->p_vaddr;

	return part->p_type == PT_LOAD && (uintptr_t)p - begin < part->p_memsz;
}

/* Of the part of libc that has its clock: does it have all that the quick ways would call? */
static int
look_for_libc(struct dl_phdr_info *info, size_t size, void *unused)
{
	const void *quick[] = { (void *)real.read,       (void *)real.recv,
				(void *)real.write,      (void *)real.send,
				(void *)real.writev,     (void *)real.sendfile,
				(void *)real.setsockopt, (void *)real.sendmsg };
	const ElfW(Phdr) *part = info->dlpi_phdr, *end = part + info->dlpi_phnum;
	bool all = ENTER_INLINE && !entry_cancels;

	(void)size;
	(void)unused;
	while (part < end && !lies_in(info, part, (void *)libc_clock))
		part++;
	if (part == end)
		return 0;
	for (size_t i = 0; i < sizeof(quick) / sizeof(quick[0]); i++)
		all = all && lies_in(info, part, quick[i]);
	real_direct = all;
	return 1;
}

void
real_find_direct(void)
{
	libc_objects(look_for_libc, NULL);
}
