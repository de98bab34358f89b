#ifndef WEIR_BASE_SYS_H
#define WEIR_BASE_SYS_H
/* base/sys: the only door to the kernel for the floors below interpose.
 *
 * Every function returns >= 0 or -errno and leaves errno as it was. All of them are raw
 * system calls that never pass through a symbol this library exports, so they neither
 * come back to our own hooks nor are cancellation points: they may be called with a lock
 * held. Those that could block (sys_poll, sys_sendmsg, sys_futex_wait, sys_accept,
 * sys_read, sys_setlk) say so: never with a stream's lock held.
 *
 * Threads: any. Signals: safe. Unit tests link a scripted sys instead of sys.c. */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* A raw system call: result or -errno. The floor of all others; for the rare one that has
 * no function here. */
long sys_call(long nr, long a, long b, long c, long d, long e, long f);

enum { FLIGHT_IOV = 8 };

/* A send of which the count cannot be lost: sendmmsg(2) of one message, in memory that
 * outlives the call. The kernel has stored msg.msg_len before a handler can run, so after
 * an interruption at any instruction, siglongjmp included:
 *   went := msg.msg_len       and iov[*].iov_len = 0 cancels what has not begun
 * (send(2) returns the count in a register, which siglongjmp loses). */
struct flight {
	struct mmsghdr msg;
	struct iovec iov[FLIGHT_IOV];
};

/* Sends `f` with flags | MSG_DONTWAIT | MSG_NOSIGNAL. f->msg.msg_len must be 0 before;
 * returns the bytes that went (also in msg_len) or -errno. */
ssize_t sys_fly(int fd, struct flight *f, int flags);

/* Takes bytes that have been read off the queue, or with flags MSG_TRUNC drops them: recvmsg(2)
 * into f->iov[0], flags | MSG_DONTWAIT. Not recvmmsg(2), which looks for a pending error before
 * the bytes and so would take it from the application. Whether it was done cannot be lost
 * either: f->msg.msg_hdr.msg_flags, FLIGHT_UNDONE before, is stored by the kernel with a
 * success. Returns the bytes or -errno. */
enum { FLIGHT_UNDONE = -1 };
ssize_t sys_swallow(int fd, struct flight *f, int flags);

ssize_t sys_sendmsg(int fd, const struct msghdr *msg, int flags); /* may block */
ssize_t sys_recvmsg(int fd, struct msghdr *msg, int flags);       /* may block */
int sys_poll(struct pollfd *fds, unsigned nr, int timeout_ms);    /* may block */
int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
uint64_t sys_cookie(int fd); /* SO_COOKIE: one number for all duplicates; 0: not told */
bool sys_no_socket(int fd);  /* closed, or another file's number by now */
int sys_fcntl(int fd, int cmd, long arg);
int sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *event);
int sys_ioctl(int fd, unsigned long request, void *arg);
int sys_fstat(int fd, struct stat *st);

int64_t sys_now_ns(void);  /* CLOCK_MONOTONIC */
int64_t sys_cpu_ns(void);  /* the calling thread's CPU time */
int64_t sys_wall_ms(void); /* CLOCK_REALTIME, milliseconds since 1970 */

int sys_getpid(void); /* asks the kernel: also right in a child nobody announced */
int sys_getppid(void);
int sys_gettid(void);
int sys_getuid(void); /* effective */
int sys_tgkill(int pid, int tid, int sig);
void sys_yield(void);

/* Anonymous pages, private or (shared != 0) shared with later children. NULL: no memory. */
void *sys_map(size_t len, int shared);
void sys_unmap(void *p, size_t len);
int sys_wipe_on_fork(void *p, size_t len); /* MADV_WIPEONFORK; p page-aligned */

/* How many of the `n` bytes from `p` on may be read: all, or those before a page that may not. One system
 * call a page. */
size_t sys_readable(const void *p, size_t n);

/* membarrier(2), private and expedited: every running thread of the process passes a full barrier.
 * Registered once a process; a fork keeps that, an exec does not. */
int sys_membarrier_register(void);
int sys_membarrier(void);

/* The calls by which held bytes leave, what was read ahead is settled, and the keeper waits, are to be
 * had. A filter that was there before us may refuse them with an errno, and nothing else can
 * take their place. */
bool sys_able(void);

/* Sleeps while *word == value, until `deadline_ns` (CLOCK_MONOTONIC, 0: for ever); nobody wakes it
 * before. -EAGAIN, -ETIMEDOUT, -EINTR. */
int sys_futex_wait(uint32_t *word, uint32_t value, int64_t deadline_ns);

/* Files and listening, for the metrics socket and the log. Same names, same arguments. */
int sys_open(const char *path, int flags, unsigned mode);
int sys_close(int fd);
ssize_t sys_read(int fd, void *buf, size_t len); /* may block */
int64_t
sys_position(int fd); /* lseek(2): where the next byte goes, unless O_APPEND is set */
/* How long a file may be made (RLIMIT_FSIZE, setrlimit(2)): who writes beyond it gets SIGXFSZ. */
uint64_t sys_file_limit(void);
ssize_t sys_write(int fd, const void *buf, size_t len); /* may block */
int sys_mkdir(const char *path, unsigned mode);
int sys_stat(const char *path, struct stat *st);
int sys_lstat(const char *path, struct stat *st);
int sys_unlink(const char *path);
int sys_rmdir(const char *path);
int sys_rename(const char *from, const char *to);
int sys_rename_new(const char *from, const char *to); /* RENAME_NOREPLACE; -EEXIST */
int sys_chmod(const char *path, unsigned mode);
ssize_t sys_getdents(int fd, void *buf, size_t len); /* struct linux_dirent64 */
int sys_socket(int domain, int type, int protocol);
int sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
int sys_listen(int fd, int backlog);
/* May block: sys_accept, and sys_setlk with wait (F_SETLKW, else F_SETLK). */
int sys_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_setlk(int fd, short type, int64_t byte, int wait);
/* Somebody else's descriptor table has the byte, or nobody can tell. */
bool sys_lock_taken(int fd, int64_t byte);
int sys_nofile_limit(void);       /* soft RLIMIT_NOFILE, capped at INT_MAX */
uint64_t sys_address_limit(void); /* soft RLIMIT_AS, bytes; UINT64_MAX: none */

/* A thread's alarm: a POSIX timer and a signal that its thread keeps blocked. Any thread may set
 * it, for one system call and without waking anybody before its time. Gone after fork and
 * exec. -errno where there is no timer to be had: then sys_alarm_wait() still works. */
struct sys_alarm {
	int tid;   /* C: whom it wakes */
	int timer; /* C: the kernel's number; -1 none */
};
int
sys_alarm_make(struct sys_alarm *alarm); /* by the thread itself, all signals blocked */
int sys_alarm_set(struct sys_alarm *alarm, int64_t deadline_ns); /* 0 or -errno */
void sys_alarm_ring(struct sys_alarm *alarm);                    /* now */
void sys_alarm_end(struct sys_alarm *alarm);

/* Sleeps while *word == value, until the alarm or until `until_ns` (0: for ever). */
void sys_alarm_wait(struct sys_alarm *alarm, const uint32_t *word, uint32_t value,
		    int64_t until_ns);

/* A helper thread, with all signals blocked, a small stack and a name of at most 15 bytes. The caller has
 * blocked them too, until it has noted that the thread is there. libc does not
 * know of it: a program that has one thread keeps libc's shortcuts for those that have one (malloc,
 * stdio, cancellation points; measured: 20 to 30 ns a system call). So in it
 * no function of libc may be called that uses thread-local data other than errno, and of ours only
 * `self` may be (the clone(2) and arch_prctl(2) manuals; Drepper, ELF Handling For Thread-Local Storage).
 * Nor does it get the identity that setuid() gives to all threads that libc knows: interpose/sandbox.
 * 0 or -errno. *t stays where it is until sys_thread_join(), which is called once `run` has been
 * told to return, and returns when the kernel no longer counts the thread (unshare and setns
 * refuse while it does), or after 5 seconds, or where a filter does not let it ask: the program
 * must not hang of us.
 * With `prompt` it runs promptly when it wakes, for a few microseconds: no timer slack, a short slice (Linux
 * 6.12; before that it is ignored), and under a real-time policy the next priority, so that it need not wait
 * until its maker sleeps. Not under a seccomp filter, which may end the process for asking. */
struct sys_thread {
	int tid;             /* A */
	uint32_t generation; /* of the process that made it */
	void (*run)(void);
	char name[16];
	bool prompt;
	void *area; /* its memory, `len` bytes; kept until the next start */
	size_t len;
};
int sys_thread_start(struct sys_thread *t, void (*run)(void), const char *name,
		     bool prompt);

/* True: this process has started one, which may have ended. */
bool sys_thread_any(void);
void sys_thread_join(struct sys_thread *t);

/* As sys_thread_join(), but sends the thread `sig` until it is gone, so that no sleep it is about
 * to enter outlasts us. Where it lets the signal in (sys_signal_let(), by the thread itself), the
 * call it sleeps in ends with -EINTR: for that time, and only then, the process has a handler
 * for it, which does nothing. One caller at a time. */
void sys_thread_end(struct sys_thread *t, int sig);
void sys_signal_let(int sig, bool in);

/* For what a handler must neither interrupt nor leave by a jump, and what is rare: `before` keeps
 * the caller's mask. */
void sys_signals_block(sigset_t *before);
void sys_signals_restore(const sigset_t *before);
#endif
