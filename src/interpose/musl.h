#ifndef WEIR_INTERPOSE_MUSL_H
#define WEIR_INTERPOSE_MUSL_H
/* interpose/musl: the differences between the headers of glibc and those of musl, which declares
 * fewer functions, some with other types, and defines the names for 64-bit offsets as macros.
 * What musl does not have answers ENOSYS there (interpose/real). To be included behind all of
 * libc's headers. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __GLIBC__
#include <sys/pidfd.h>

typedef int mmsg_flags;
typedef unsigned long ioctl_request;
typedef struct aiocb *aio_request;
#else
#undef aio_read64
#undef aio_write64
#undef creat64
#undef freopen64
#undef lio_listio64
#undef open64
#undef openat64
#undef sendfile64

typedef unsigned mmsg_flags;
typedef int ioctl_request;
typedef struct aiocb *restrict aio_request;

FILE *freopen64(const char *path, const char *mode, FILE *file);
int fcloseall(void);
int pidfd_getfd(int pidfd, int target, unsigned flags);
int close_range(unsigned first, unsigned last, int flags);
void closefrom(int first);
int execveat(int dir, const char *path, char *const argv[], char *const envp[],
	     int flags);
int pthread_sigqueue(pthread_t thread, int sig, const union sigval value);
int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);
int tgkill(pid_t pid, pid_t tid, int sig);
int epoll_pwait2(int epfd, struct epoll_event *events, int nr,
		 const struct timespec *timeout, const sigset_t *mask);
ssize_t preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags);
ssize_t pwritev2(int fd, const struct iovec *iov, int nr, off_t offset, int flags);
int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock,
			 const struct timespec *until);
int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until);
int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
			   clockid_t clock, const struct timespec *until);
#endif
#endif
