/* interpose/syscall: system calls made by number. Those that move, copy or end a descriptor
 * or the process are treated as the function of that name would be; data is ordered behind
 * what is held and counted, never held itself. */
#include "interpose/descriptor.h"
#include "interpose/entry.h"
#include "interpose/rights.h"
#include "interpose/sandbox.h"
#include "interpose/spawn.h"
#include "stream/reader.h"
#include "stream/writer.h"

#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

/* The same numbers on every architecture; older headers lack them. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* Where libc's function does the same, it is called instead. True: *r is what it returned. Not for
 * calls that may sleep for long: there libc's may be cancelled, the raw one may not. */
static bool
by_name(long nr, const long a[6], long *r)
{
	switch (nr) {
	case SYS_dup:
		*r = dup((int)a[0]);
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
		*r = dup2((int)a[0], (int)a[1]);
		return true;
#endif
	case SYS_dup3:
		*r = dup3((int)a[0], (int)a[1], (int)a[2]);
		return true;
	case SYS_close_range:
		*r = close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
		return true;
	case SYS_ioctl:
		*r = ioctl((int)a[0], (unsigned long)a[1], a[2]);
		return true;
	case SYS_setsockopt:
		*r = setsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3],
				(socklen_t)a[4]);
		return true;
	case SYS_getsockopt:
		*r = getsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3],
				(socklen_t *)a[4]);
		return true;
	case SYS_shutdown:
		*r = shutdown((int)a[0], (int)a[1]);
		return true;
	case SYS_socket:
		*r = socket((int)a[0], (int)a[1], (int)a[2]);
		return true;
	case SYS_socketpair:
		*r = socketpair((int)a[0], (int)a[1], (int)a[2], (int *)a[3]);
		return true;
	case SYS_listen:
		*r = listen((int)a[0], (int)a[1]);
		return true;
	case SYS_sendfile:
		*r = sendfile((int)a[0], (int)a[1], (off_t *)a[2], (size_t)a[3]);
		return true;
	case SYS_pidfd_getfd:
		*r = pidfd_getfd((int)a[0], (int)a[1], (unsigned)a[2]);
		return true;
	case SYS_epoll_ctl:
		*r = epoll_ctl((int)a[0], (int)a[1], (int)a[2], (void *)a[3]);
		return true;
	case SYS_prctl:
		*r = prctl((int)a[0], a[1], a[2], a[3], a[4]);
		return true;
	case SYS_unshare:
		*r = unshare((int)a[0]);
		return true;
	case SYS_setns:
		*r = setns((int)a[0], (int)a[1]);
		return true;
	case SYS_capset:
		*r = capset((void *)a[0], (void *)a[1]);
		return true;
	case SYS_kill:
		*r = kill((pid_t)a[0], (int)a[1]);
		return true;
	}
	return false;
}

static bool
fcntl_copies(const long a[6])
{
	return a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC;
}

/* fcntl itself may wait for a lock, and libc's may then be cancelled. */
static long
raw_fcntl(const long a[6])
{
	if (fcntl_copies(a) || a[1] == F_SETFD || a[1] == F_SETFL ||
	    metrics_owns((int)a[0]))
		return fcntl((int)a[0], (int)a[1], a[2]);
	return real.syscall(SYS_fcntl, a[0], a[1], a[2]);
}

/* libuv closes this way, just so as not to be cancelled. */
static long
raw_close(int fd)
{
	long r;

	if (!entry_live())
		return real.syscall(SYS_close, fd);
	if (metrics_owns(fd))
		return entry_fail(EBADF);
	stream_close_begin(fd);
	r = real.syscall(SYS_close, fd);
	stream_close_end(fd);
	return r;
}

static long
native(long nr, const long a[6])
{
	return real.syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static bool
futex_sleeps(long op)
{
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAIT_REQUEUE_PI:
	case FUTEX_LOCK_PI:
		return true;
	}
	return false;
}

static bool
sleeps(long nr, const long a[6])
{
	switch (nr) {
	case SYS_futex:
		return futex_sleeps(a[1]);
	case SYS_futex_waitv:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_rt_sigtimedwait:
	case SYS_rt_sigsuspend:
	case SYS_msgsnd:
	case SYS_msgrcv:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_mq_timedsend:
	case SYS_mq_timedreceive:
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
#ifdef SYS_pause
	case SYS_pause:
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
#endif
		return true;
	}
	return false;
}

/* Descriptors may go to another process with it. */
static void
pass_rights(long nr, const long a[6])
{
	if (nr == SYS_sendmsg)
		rights_sent_unseen((const struct msghdr *)a[1]);
	else if (nr == SYS_sendmmsg)
		rights_sent_all((const struct mmsghdr *)a[1], (unsigned)a[2]);
}

static bool
sends(long nr)
{
	switch (nr) {
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
		return true;
	}
	return false;
}

static bool
receives(long nr)
{
	switch (nr) {
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
		return true;
	}
	return false;
}

/* Bytes that a call which sends or receives asked for, and was answered with `r`. Vectors and messages are
 * looked at where the kernel has found them in their place; else it was some. */
static size_t
asked(long nr, const long a[6], ssize_t r)
{
	const struct msghdr *msg = (const struct msghdr *)a[1];

	switch (nr) {
	case SYS_readv:
	case SYS_writev:
		return r < 0 && r != -EAGAIN
			       ? 1
			       : entry_total((const struct iovec *)a[1], (size_t)a[2]);
	case SYS_recvmsg:
	case SYS_sendmsg:
		return r < 0 && r != -EAGAIN
			       ? 1
			       : entry_total(msg->msg_iov, msg->msg_iovlen);
	}
	return (size_t)a[2];
}

static int
message_flags(long nr, const long a[6])
{
	return nr == SYS_recvfrom ? (int)a[3] : nr == SYS_recvmsg ? (int)a[2] : 0;
}

static long
data(long nr, const long a[6], struct stream *s)
{
	ssize_t r;

	if (sends(nr)) {
		entry_order((int)a[0]);
		r = entry_raw(native(nr, a));
		writer_sent(s, asked(nr, a, r), r);
		return entry_result(r);
	}
	wait_sleep();
	reader_enter(s);
	r = entry_raw(native(nr, a));
	return entry_result(reader_end(s, READ_NATIVE, asked(nr, a, r),
				       message_flags(nr, a) & MSG_PEEK, r));
}

/* The signal that a call sends; 0: none. */
static int
signals(long nr, const long a[6])
{
	switch (nr) {
	case SYS_tkill:
	case SYS_rt_sigqueueinfo:
	case SYS_pidfd_send_signal:
		return (int)a[1];
	case SYS_tgkill:
	case SYS_rt_tgsigqueueinfo:
		return (int)a[2];
	}
	return 0;
}

/* It is certainly for this process. */
static bool
to_us(long nr, const long a[6])
{
	switch (nr) {
	case SYS_tkill:
		return sys_tgkill(sys_getpid(), (int)a[0], 0) >= 0;
	case SYS_tgkill:
	case SYS_rt_sigqueueinfo:
	case SYS_rt_tgsigqueueinfo:
		return a[0] == sys_getpid();
	}
	return false;
}

static long
send_signal(long nr, const long a[6])
{
	int sig = signals(nr, a);
	bool shut = entry_signal_begin(sig);

	return entry_signal_end(sig, shut, to_us(nr, a), native(nr, a));
}

/* What is said of a process or thread that ends, or of the number that a call returned. */

static void
ends(long nr, const long a[6])
{
	switch (nr) {
	case SYS_exit:
		if (!entry_live())
			return;
		if (sys_gettid() == sys_getpid())
			sandbox_begin(); /* a helper thread would keep the process for ever */
		else
			turn_thread_end();
		return;
	case SYS_exit_group:
		entry_end();
		return;
	case SYS_seccomp:
		if (a[0] == SECCOMP_SET_MODE_STRICT ||
		    (a[0] == SECCOMP_SET_MODE_FILTER && a[2]))
			sandbox_begin();
		return;
	case SYS_io_uring_setup:
		life_quiesce_all(FLUSH_SHARE);
		stream_bypass_all(BYPASS_IO_URING);
		return;
	}
}

static long
made(long nr, const long a[6], long r)
{
	switch (nr) {
	case SYS_accept:
	case SYS_accept4:
		if (r >= 0)
			stream_accepted((int)r, (int)a[0],
					nr == SYS_accept4 ? (int)a[3] : 0);
		break;
	case SYS_connect:
		if (!r || errno == EINPROGRESS || errno == EINTR)
			stream_connected((int)a[0]);
		break;
	case SYS_openat:
#ifdef SYS_open
	case SYS_open:
#endif
	case SYS_epoll_create1:
	case SYS_eventfd2:
	case SYS_memfd_create:
	case SYS_timerfd_create:
	case SYS_signalfd4:
	case SYS_pidfd_open:
		entry_made_plain((int)r);
		break;
	}
	return r;
}

/* Forks that libc's fork is not told of. Only those that go on with memory of their own can come
 * back through this function at all. */
static bool
forks(long nr, const long a[6])
{
	const struct clone_args *args = (const struct clone_args *)a[0];

	switch (nr) {
#ifdef SYS_fork
	case SYS_fork:
		life_fork_begin();
		return true;
#endif
	case SYS_clone:
		return spawn_clone_begin((unsigned long)a[0]);
	case SYS_clone3:
		return sys_readable(args, sizeof(args->flags)) &&
		       spawn_clone_begin(args->flags);
	}
	return false;
}

static bool
changes_identity(long nr)
{
	switch (nr) {
	case SYS_setuid:
	case SYS_setreuid:
	case SYS_setresuid:
	case SYS_setgid:
	case SYS_setregid:
	case SYS_setresgid:
		return true;
	}
	return false;
}

static long
change_identity(long nr, const long a[6])
{
	struct identity was = sandbox_identity_begin();

	return sandbox_identity_end(was, (int)native(nr, a));
}

static long
become(long nr, const long a[6])
{
	long r;

	life_exec_begin();
	r = native(nr, a);
	life_exec_failed();
	return r;
}

/* Calls that send or receive in a way of their own: in order, not counted. */
static void
order_rest(long nr, const long a[6])
{
	switch (nr) {
	case SYS_splice:
		entry_order((int)a[2]);
		/* fall through */
	case SYS_sendmmsg:
	case SYS_recvmmsg:
	case SYS_preadv2:
	case SYS_pwritev2:
		entry_order((int)a[0]);
		return;
	case SYS_io_submit:
		/* Of any descriptors; its pointers are the kernel's to judge. */
		life_quiesce_all(FLUSH_ORDER);
	}
}

static long
call(long nr, const long a[6])
{
	struct stream *s;
	long r;

	if (by_name(nr, a, &r))
		return r;
	pass_rights(nr, a);
	if ((sends(nr) || receives(nr)) && (s = stream_at((int)a[0])))
		return data(nr, a, s);
	if (forks(nr, a))
		return spawn_forked((pid_t)native(nr, a));
	if (signals(nr, a))
		return send_signal(nr, a);
	if (changes_identity(nr))
		return change_identity(nr, a);
	if (sleeps(nr, a))
		entry_sleep();
	order_rest(nr, a);
	ends(nr, a);
	return made(nr, a, native(nr, a));
}

/* Only `nr` tells how many arguments there are: all six are taken, the last from the stack, where
 * the caller may have something else. AddressSanitizer is told to look elsewhere. */
__attribute__((no_sanitize("address"))) long
syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	/* Allocators come here before anything is set up, and a sandbox allows nothing more. */
	if (!__atomic_load_n(&nr_numbers, __ATOMIC_RELAXED))
		return native(nr, a);
	switch (nr) {
	case SYS_close:
		return raw_close((int)a[0]);
	case SYS_fcntl:
		return raw_fcntl(a);
	case SYS_execve:
	case SYS_execveat:
		return become(nr, a);
	}
	return call(nr, a);
}
