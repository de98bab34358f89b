#ifndef WEIR_INTERPOSE_REAL_H
#define WEIR_INTERPOSE_REAL_H
/* interpose/real: libc's own functions, the ones behind the names this library exports.
 *
 * real.read is the read that comes after ours in the search order: libc's, or a
 * sanitizer's that was preloaded as well. Everything is bound by one real_init().
 *
 * Allocators and sanitizers call some of these before our constructor, some of them from
 * inside the very dlsym() that binds. So the ones in real.c's list of early ones start as
 * raw system calls and need nothing; of all others an entry first says real_ready(),
 * which binds on first use.
 *
 * A name that this libc lacks answers ENOSYS.
 *
 * The quick ways need not call what is libc's own: where real_direct says so, and the call
 * cannot sleep for a thread that another might cancel, they enter the kernel themselves. It is the
 * same system call; what it saves is a return, and in a program of several threads the two locked
 * instructions by which libc lets its own call be cancelled. Where the kernel's own returns are made safe
 * (Linux, hw-vuln/srso.rst), the processor predicts those after a system call wrongly, and
 * each is some 10 ns: functions that only call libc's and return cost nginx 0.7 % of its CPU,
 * this whole library 0.8 to 0.9 % with those returns and 0.5 % without.
 * Threads: any. Signals: safe once bound. */
#include <aio.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <threads.h>
#include <pty.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

#include "interpose/musl.h"

/* What libc exports but declares only for some clients, or for none. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags,
		       struct sockaddr *addr, socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t nr, const struct timespec *timeout,
		const sigset_t *mask, size_t room);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __dprintf_chk(int fd, int flag, const char *format, ...);
int __vdprintf_chk(int fd, int flag, const char *format, va_list args);
void __longjmp_chk(struct __jmp_buf_tag *env, int value) __attribute__((noreturn));
void __assert_fail(const char *what, const char *file, unsigned line,
		   const char *function) __attribute__((noreturn));
void __assert_perror_fail(int err, const char *file, unsigned line,
			  const char *function) __attribute__((noreturn));
void backtrace_symbols_fd(void *const *addresses, int nr, int fd);
int capset(void *header, const void *sets);

/* Every name that is forwarded. Those that only differ in spelling (__read, open64: files have
 * 64-bit offsets here anyway) are not among them: they do what the plain name does. */
/* clang-format off */
#define REAL_NAMES(X) \
	X(read) X(readv) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(preadv2) \
	X(write) X(writev) X(send) X(sendto) X(sendmsg) X(sendmmsg) X(pwritev2) \
	X(sendfile) X(splice) X(tee) X(copy_file_range) \
	X(poll) X(ppoll) X(select) X(pselect) X(epoll_wait) X(epoll_pwait) \
	X(epoll_pwait2) X(epoll_ctl) \
	X(sleep) X(usleep) X(nanosleep) X(clock_nanosleep) X(wait) X(waitpid) X(wait3) \
	X(wait4) X(waitid) X(sigsuspend) X(pause) X(sigwait) X(sigwaitinfo) \
	X(sigtimedwait) X(thrd_sleep) X(pthread_barrier_wait) X(msgsnd) X(msgrcv) X(semop) X(semtimedop) \
	X(mq_send) X(mq_timedsend) X(mq_receive) X(mq_timedreceive) X(pclose) X(flock) X(cnd_wait) X(cnd_timedwait) \
	X(pthread_cond_wait) X(pthread_cond_timedwait) \
	X(pthread_cond_clockwait) X(sem_wait) X(sem_timedwait) X(sem_clockwait) \
	X(pthread_create) X(thrd_create) X(timer_create) X(mq_notify) X(pthread_join) X(pthread_timedjoin_np) \
	X(pthread_clockjoin_np) X(thrd_join) X(pthread_exit) \
	X(socket) X(socketpair) X(listen) X(bind) X(accept) X(accept4) X(connect) \
	X(pidfd_getfd) X(setsockopt) X(getsockopt) X(shutdown) \
	X(close) X(close_range) X(closefrom) X(dup) X(dup2) X(dup3) X(fcntl) \
	X(ioctl) X(open) X(openat) X(creat) X(pipe) X(pipe2) X(eventfd) \
	X(timerfd_create) X(signalfd) X(memfd_create) X(epoll_create) \
	X(epoll_create1) X(__open_2) X(__openat_2) \
	X(aio_read) X(aio_write) X(lio_listio) X(backtrace_symbols_fd) \
	X(fdopen) X(fclose) X(freopen) X(freopen64) X(fcloseall) X(vdprintf) \
	X(__vdprintf_chk) \
	X(fork) X(_Fork) X(vfork) X(clone) X(posix_spawn) X(posix_spawnp) \
	X(posix_spawn_file_actions_adddup2) X(system) \
	X(wordexp) X(popen) X(daemon) X(forkpty) \
	X(execve) X(execv) X(execvp) X(execvpe) X(fexecve) X(execveat) \
	X(exit) X(_exit) X(quick_exit) X(abort) X(__assert_fail) \
	X(__assert_perror_fail) X(pthread_sigqueue) X(pidfd_send_signal) \
	X(raise) X(kill) X(killpg) X(tgkill) X(pthread_kill) X(pthread_cancel) X(sigqueue) \
	X(longjmp) X(_longjmp) X(siglongjmp) X(__longjmp_chk) \
	X(prctl) X(unshare) X(setns) X(capset) X(syscall) \
	X(setgroups) X(initgroups) X(setuid) X(seteuid) X(setreuid) X(setresuid) \
	X(setgid) X(setegid) X(setregid) X(setresgid) \
	X(__read_chk) X(__recv_chk) X(__recvfrom_chk) X(__poll_chk) X(__ppoll_chk)
/* clang-format on */

struct real {
#define REAL_FIELD(name) __typeof__(name) *(name);
	REAL_NAMES(REAL_FIELD)
#undef REAL_FIELD
};

extern struct real real __attribute__((visibility("hidden")));
extern bool real_bound __attribute__((visibility("hidden")));
/* A: what the quick ways would call is libc's own, no other library's, there is no sandbox, and nobody
 * has called pthread_cancel(): a thread that is cancelled while it sleeps in the kernel has to sleep in libc. */
extern bool real_direct __attribute__((visibility("hidden")));
/* libc's vfork once more, for the assembler of vfork.S. */
extern void *real_vfork __attribute__((visibility("hidden")));

void real_init(void);
void real_find_direct(void); /* once, from the constructor, after libc_init() */

static inline void
real_ready(void)
{
	if (__builtin_expect(!real_bound, 0))
		real_init();
}
#endif
