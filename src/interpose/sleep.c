/* interpose/sleep: the calls that put a thread to sleep without naming a descriptor. Before each
 * of them what the thread holds leaves. */
#include "interpose/entry.h"

#define SLEEP(type, name, parameters, arguments) \
	type name parameters \
	{ \
		real_ready(); \
		entry_sleep(); \
		return real.name arguments; \
	}

/* clang-format off */
SLEEP(unsigned, sleep, (unsigned seconds), (seconds))
SLEEP(int, usleep, (useconds_t us), (us))
SLEEP(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left))
SLEEP(int, clock_nanosleep,
      (clockid_t clock, int flags, const struct timespec *time, struct timespec *left),
      (clock, flags, time, left))
SLEEP(int, thrd_sleep, (const struct timespec *time, struct timespec *left), (time, left))
SLEEP(int, sigsuspend, (const sigset_t *mask), (mask))
SLEEP(int, pause, (void), ())
SLEEP(int, sigwait, (const sigset_t *set, int *sig), (set, sig))
SLEEP(int, sigwaitinfo, (const sigset_t *set, siginfo_t *got), (set, got))
SLEEP(int, pthread_barrier_wait, (pthread_barrier_t *barrier), (barrier))
SLEEP(int, pthread_join, (pthread_t thread, void **result), (thread, result))
SLEEP(int, pthread_timedjoin_np,
      (pthread_t thread, void **result, const struct timespec *until),
      (thread, result, until))
SLEEP(int, pthread_clockjoin_np,
      (pthread_t thread, void **result, clockid_t clock, const struct timespec *until),
      (thread, result, clock, until))
SLEEP(int, thrd_join, (thrd_t thread, int *result), (thread, result))
SLEEP(int, msgsnd, (int queue, const void *message, size_t len, int flags),
      (queue, message, len, flags))
SLEEP(ssize_t, msgrcv, (int queue, void *message, size_t room, long type, int flags),
      (queue, message, room, type, flags))
SLEEP(int, semop, (int set, struct sembuf *changes, size_t nr), (set, changes, nr))
SLEEP(int, semtimedop,
      (int set, struct sembuf *changes, size_t nr, const struct timespec *timeout),
      (set, changes, nr, timeout))
SLEEP(int, mq_send, (mqd_t queue, const char *message, size_t len, unsigned priority),
      (queue, message, len, priority))
SLEEP(int, mq_timedsend,
      (mqd_t queue, const char *message, size_t len, unsigned priority,
       const struct timespec *until),
      (queue, message, len, priority, until))
SLEEP(ssize_t, mq_receive, (mqd_t queue, char *message, size_t room, unsigned *priority),
      (queue, message, room, priority))
SLEEP(ssize_t, mq_timedreceive,
      (mqd_t queue, char *message, size_t room, unsigned *priority,
       const struct timespec *until),
      (queue, message, room, priority, until))
/* clang-format on */

/* What a child was the peer of on AF_UNIX is certainly closed by now: the next write has to say so. */
static pid_t
ended(pid_t r)
{
	if (r > 0 && entry_live()) {
		turn_flush();
		__atomic_fetch_add(&process->nr_ended, 1, __ATOMIC_RELAXED);
	}
	return r;
}

pid_t
wait(int *status)
{
	real_ready();
	entry_sleep();
	return ended(real.wait(status));
}

pid_t
waitpid(pid_t pid, int *status, int options)
{
	real_ready();
	if (!(options & WNOHANG))
		entry_sleep();
	return ended(real.waitpid(pid, status, options));
}

pid_t
wait3(int *status, int options, struct rusage *usage)
{
	real_ready();
	if (!(options & WNOHANG))
		entry_sleep();
	return ended(real.wait3(status, options, usage));
}

pid_t
wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	real_ready();
	if (!(options & WNOHANG))
		entry_sleep();
	return ended(real.wait4(pid, status, options, usage));
}

int
waitid(idtype_t type, id_t id, siginfo_t *child, int options)
{
	int r;

	real_ready();
	if (!(options & WNOHANG))
		entry_sleep();
	r = real.waitid(type, id, child, options);
	ended(r == 0 ? 1 : 0);
	return r;
}

int
pclose(FILE *pipe)
{
	int status;

	real_ready();
	entry_sleep();
	status = real.pclose(pipe);
	ended(status >= 0 ? 1 : 0);
	return status;
}

int
sigtimedwait(const sigset_t *set, siginfo_t *got, const struct timespec *timeout)
{
	real_ready();
	if (!timeout || timeout->tv_sec || timeout->tv_nsec)
		entry_sleep();
	return real.sigtimedwait(set, got, timeout);
}

int
flock(int fd, int operation)
{
	real_ready();
	if (!(operation & (LOCK_NB | LOCK_UN)))
		entry_sleep();
	return real.flock(fd, operation);
}

/* Interpreters pass their global lock through condition variables and semaphores, between
 * the writes of one reply too: so these are not like the other sleeps (stream/turn.h). */
static void
sleep_cond_owing(void)
{
	real_ready();
	entry_before_sleep();
	wait_cond();
}

static inline bool
sleep_cond_free(void)
{
	return entry_wait_free(false) && !entry_interrupted();
}

#define SLEEP_COND(name, parameters, arguments) \
	static __attribute__((noinline)) int name##_owing parameters \
	{ \
		sleep_cond_owing(); \
		return real.name arguments; \
	} \
	int name parameters \
	{ \
		return sleep_cond_free() ? real.name arguments \
					 : name##_owing arguments; \
	}

/* clang-format off */
SLEEP_COND(pthread_cond_wait, (pthread_cond_t *cond, pthread_mutex_t *mutex), (cond, mutex))
SLEEP_COND(pthread_cond_timedwait,
	   (pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until),
	   (cond, mutex, until))
SLEEP_COND(pthread_cond_clockwait,
	   (pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
	    const struct timespec *until),
	   (cond, mutex, clock, until))
SLEEP_COND(cnd_wait, (cnd_t *cond, mtx_t *mutex), (cond, mutex))
SLEEP_COND(cnd_timedwait, (cnd_t *cond, mtx_t *mutex, const struct timespec *until),
	   (cond, mutex, until))
SLEEP_COND(sem_wait, (sem_t *sem), (sem))
SLEEP_COND(sem_timedwait, (sem_t *sem, const struct timespec *until), (sem, until))
SLEEP_COND(sem_clockwait, (sem_t *sem, clockid_t clock, const struct timespec *until),
	   (sem, clock, until))
/* clang-format on */

/* What is known of an epoll instance holds while nobody else can sleep on it. Two others have libc make threads. */
int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
	       void *(*run)(void *), void *arg)
{
	real_ready();
	interest_end();
	return real.pthread_create(thread, attributes, run, arg);
}

int
thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
	real_ready();
	interest_end();
	return real.thrd_create(thread, run, arg);
}

int
timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
	real_ready();
	if (!entry_nowhere(event) && event->sigev_notify == SIGEV_THREAD)
		interest_end();
	return real.timer_create(clock, event, timer);
}

int
mq_notify(mqd_t queue, const struct sigevent *event)
{
	real_ready();
	if (!entry_nowhere(event) && event->sigev_notify == SIGEV_THREAD)
		interest_end();
	return real.mq_notify(queue, event);
}

/* When the last thread ends, libc ends the process: a helper thread of ours would count, and the
 * process would stay for ever. So once main has ended, there are none any more. */
static void
main_ends(void)
{
	life_quiesce_all(FLUSH_EXIT);
	stream_bypass_all(BYPASS_THREAD);
	keeper_stop(true);
	metrics_stop(true);
}

void
pthread_exit(void *result)
{
	/* Clean-up handlers may write on, so the thread's record is kept until it is really gone. */
	real_ready();
	wait_sleep();
	if (entry_live() && sys_gettid() == sys_getpid())
		main_ends();
	real.pthread_exit(result);
	__builtin_unreachable();
}
