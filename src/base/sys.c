/* base/sys: raw system calls; helper threads are in sys_thread.c. */
#include "base/sys.h"
#include "base/enter.h"
#include "base/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* struct stat and struct timespec are passed to the kernel as they are. */
_Static_assert(sizeof(long) == 8, "weir needs a 64-bit Linux");

/* Older headers lack them; the numbers are the same everywhere. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

#if defined(__x86_64__) || defined(__aarch64__)
long
sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	return enter6(nr, a, b, c, d, e, f);
}
#else
#include <dlfcn.h>

/* syscall() is a name this library exports, so libc's own has to be looked up. */
long
sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	static long (*libc_syscall)(long, ...);
	int saved = errno;
	long ret;

	if (libc_syscall == NULL)
		*(void **)&libc_syscall = dlsym(RTLD_NEXT, "syscall");
	if (libc_syscall == NULL)
		return -ENOSYS;
	ret = libc_syscall(nr, a, b, c, d, e, f);
	if (ret == -1)
		ret = -errno;
	errno = saved;
	return ret;
}
#endif

#define CALL0(nr) sys_call(nr, 0, 0, 0, 0, 0, 0)
#define CALL1(nr, a) sys_call(nr, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(nr, a, b) sys_call(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(nr, a, b, c) sys_call(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(nr, a, b, c, d) \
	sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL5(nr, a, b, c, d, e) \
	sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* ---- sockets and descriptors ---- */

ssize_t
sys_fly(int fd, struct flight *f, int flags)
{
	long ret = CALL4(SYS_sendmmsg, fd, &f->msg, 1,
			 flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	return ret < 0 ? ret : (ssize_t)f->msg.msg_len;
}

ssize_t
sys_swallow(int fd, struct flight *f, int flags)
{
	return CALL3(SYS_recvmsg, fd, &f->msg.msg_hdr, flags | MSG_DONTWAIT);
}

ssize_t
sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return CALL3(SYS_sendmsg, fd, msg, flags);
}

ssize_t
sys_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return CALL3(SYS_recvmsg, fd, msg, flags);
}

int
sys_poll(struct pollfd *fds, unsigned nr, int timeout_ms)
{
	struct timespec left = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000L,
	};

	return (int)CALL5(SYS_ppoll, fds, nr, timeout_ms < 0 ? NULL : &left, NULL, 8);
}

int
sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)CALL5(SYS_getsockopt, fd, level, name, value, len);
}

int
sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)CALL5(SYS_setsockopt, fd, level, name, value, len);
}

int
sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)CALL3(SYS_getsockname, fd, addr, len);
}

int
sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)CALL3(SYS_getpeername, fd, addr, len);
}

uint64_t
sys_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		return 0;
	return cookie;
}

bool
sys_no_socket(int fd)
{
	int type, ret;
	socklen_t len = sizeof(type);

	ret = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	return ret == -EBADF || ret == -ENOTSOCK;
}

int
sys_fcntl(int fd, int cmd, long arg)
{
	return (int)CALL3(SYS_fcntl, fd, cmd, arg);
}

int
sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	return (int)CALL4(SYS_epoll_ctl, ep, op, fd, event);
}

int
sys_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)CALL3(SYS_ioctl, fd, request, arg);
}

int
sys_fstat(int fd, struct stat *st)
{
	return (int)CALL4(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH);
}

/* ---- time: libc's own clock_gettime is the vDSO ---- */

int64_t
sys_now_ns(void)
{
	struct timespec now;

	libc_clock(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t
sys_cpu_ns(void)
{
	struct timespec used;

	libc_clock(CLOCK_THREAD_CPUTIME_ID, &used);
	return used.tv_sec * INT64_C(1000000000) + used.tv_nsec;
}

int64_t
sys_wall_ms(void)
{
	struct timespec now;

	libc_clock(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- processes ---- */

int
sys_getpid(void)
{
	return (int)CALL0(SYS_getpid);
}

int
sys_getppid(void)
{
	return (int)sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

int
sys_gettid(void)
{
	return (int)CALL0(SYS_gettid);
}

int
sys_getuid(void)
{
	return (int)CALL0(SYS_geteuid);
}

int
sys_tgkill(int pid, int tid, int sig)
{
	return (int)CALL3(SYS_tgkill, pid, tid, sig);
}

void
sys_yield(void)
{
	CALL0(SYS_sched_yield);
}

size_t
sys_readable(const void *p, size_t n)
{
	enum { WORD = sizeof(uint64_t), PAGE = 4096 };
	uintptr_t from = (uintptr_t)p, end = from + n;
	uintptr_t at = from & ~(uintptr_t)(WORD - 1);

	if (end < from)
		return 0;
	/* A set of signals is copied before the kernel finds that -1 is nothing to do with it. */
	for (; at < end; at = (at | (PAGE - 1)) + 1)
		if (!at || CALL4(SYS_rt_sigprocmask, -1, at, NULL, WORD) == -EFAULT)
			return at < from ? 0 : at - from;
	return n;
}

int
sys_membarrier_register(void)
{
	return (int)CALL2(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
}

int
sys_membarrier(void)
{
	return (int)CALL2(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
}

/* Nothing but their descriptor is wrong with the first two, and the last has nothing to wait for. */
bool
sys_able(void)
{
	const struct timespec at_once = { 0, 0 };
	const uint64_t no_signal = 0;

	return CALL4(SYS_sendmmsg, -1, NULL, 0, 0) == -EBADF &&
	       CALL3(SYS_recvmsg, -1, NULL, 0) == -EBADF &&
	       CALL4(SYS_rt_sigtimedwait, &no_signal, NULL, &at_once,
		     sizeof(no_signal)) == -EAGAIN;
}

int
sys_futex_wait(uint32_t *word, uint32_t value, int64_t deadline_ns)
{
	struct timespec until = {
		.tv_sec = deadline_ns / 1000000000,
		.tv_nsec = deadline_ns % 1000000000,
	};

	/* Of the waiting forms only the bitset one takes a point in time. */
	return (int)sys_call(
		SYS_futex, (long)word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
		deadline_ns != 0 ? (long)&until : 0, 0, (long)FUTEX_BITSET_MATCH_ANY);
}

/* ---- memory ---- */

void *
sys_map(size_t len, int shared)
{
	long ret = sys_call(SYS_mmap, 0, (long)len, PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

void
sys_unmap(void *p, size_t len)
{
	CALL2(SYS_munmap, p, len);
}

int
sys_wipe_on_fork(void *p, size_t len)
{
	return (int)CALL3(SYS_madvise, p, len, MADV_WIPEONFORK);
}

/* ---- files and listening: the *at forms, which every architecture has ---- */

int
sys_open(const char *path, int flags, unsigned mode)
{
	return (int)CALL4(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
sys_close(int fd)
{
	return (int)CALL1(SYS_close, fd);
}

ssize_t
sys_read(int fd, void *buf, size_t len)
{
	return CALL3(SYS_read, fd, buf, len);
}

int64_t
sys_position(int fd)
{
	return CALL3(SYS_lseek, fd, 0, SEEK_CUR);
}

uint64_t
sys_file_limit(void)
{
	struct rlimit limit = { 0 };

	if (CALL4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) < 0)
		return UINT64_MAX;
	return limit.rlim_cur;
}

ssize_t
sys_write(int fd, const void *buf, size_t len)
{
	return CALL3(SYS_write, fd, buf, len);
}

int
sys_mkdir(const char *path, unsigned mode)
{
	return (int)CALL3(SYS_mkdirat, AT_FDCWD, path, mode);
}

int
sys_stat(const char *path, struct stat *st)
{
	return (int)CALL4(SYS_newfstatat, AT_FDCWD, path, st, 0);
}

int
sys_lstat(const char *path, struct stat *st)
{
	return (int)CALL4(SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int
sys_unlink(const char *path)
{
	return (int)CALL3(SYS_unlinkat, AT_FDCWD, path, 0);
}

int
sys_rmdir(const char *path)
{
	return (int)CALL3(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int
sys_rename(const char *from, const char *to)
{
	return (int)CALL5(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
sys_rename_new(const char *from, const char *to)
{
	return (int)CALL5(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to,
			  1 /* RENAME_NOREPLACE */);
}

int
sys_chmod(const char *path, unsigned mode)
{
	return (int)CALL3(SYS_fchmodat, AT_FDCWD, path, mode);
}

ssize_t
sys_getdents(int fd, void *buf, size_t len)
{
	return CALL3(SYS_getdents64, fd, buf, len);
}

int
sys_socket(int domain, int type, int protocol)
{
	return (int)CALL3(SYS_socket, domain, type, protocol);
}

int
sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)CALL3(SYS_bind, fd, addr, len);
}

int
sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)CALL3(SYS_connect, fd, addr, len);
}

int
sys_listen(int fd, int backlog)
{
	return (int)CALL2(SYS_listen, fd, backlog);
}

int
sys_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return (int)CALL4(SYS_accept4, fd, addr, len, flags);
}

int
sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)CALL3(SYS_close_range, first, last, flags);
}

int
sys_setlk(int fd, short type, int64_t byte, int wait)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	return sys_fcntl(fd, wait ? F_SETLKW : F_SETLK, (long)&lock);
}

bool
sys_lock_taken(int fd, int64_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	return sys_fcntl(fd, F_GETLK, (long)&lock) < 0 || lock.l_type != F_UNLCK;
}

int
sys_nofile_limit(void)
{
	struct rlimit limit = { 0 };

	if (CALL4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) < 0)
		return 1024; /* the kernel's own default */
	return limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur;
}

uint64_t
sys_address_limit(void)
{
	struct rlimit limit = { 0 };

	if (CALL4(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) < 0)
		return UINT64_MAX;
	return limit.rlim_cur; /* RLIM_INFINITY is all ones */
}
