/* interpose/sleep: the calls that put a thread to sleep without naming a descriptor. Before each
 * of them what the thread holds leaves. */
#include "interpose/entry.h"

unsigned
sleep(unsigned seconds)
{
	real_ready();
	entry_sleep();
	return real.sleep(seconds);
}

int
usleep(useconds_t us)
{
	real_ready();
	entry_sleep();
	return real.usleep(us);
}

int
nanosleep(const struct timespec *time, struct timespec *left)
{
	real_ready();
	entry_sleep();
	return real.nanosleep(time, left);
}

int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
		struct timespec *left)
{
	real_ready();
	entry_sleep();
	return real.clock_nanosleep(clock, flags, time, left);
}

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
sigsuspend(const sigset_t *mask)
{
	real_ready();
	entry_sleep();
	return real.sigsuspend(mask);
}

int
pause(void)
{
	real_ready();
	entry_sleep();
	return real.pause();
}

int
sigwait(const sigset_t *set, int *sig)
{
	real_ready();
	entry_sleep();
	return real.sigwait(set, sig);
}

int
sigwaitinfo(const sigset_t *set, siginfo_t *got)
{
	real_ready();
	entry_sleep();
	return real.sigwaitinfo(set, got);
}

int
sigtimedwait(const sigset_t *set, siginfo_t *got, const struct timespec *timeout)
{
	real_ready();
	if (!timeout || timeout->tv_sec || timeout->tv_nsec)
		entry_sleep();
	return real.sigtimedwait(set, got, timeout);
}

/* Interpreters pass their global lock through condition variables and semaphores, between
 * the writes of one reply too: so these are not like the other sleeps (stream/turn.h). */
static __attribute__((noinline)) void
sleep_cond_owing(void)
{
	real_ready();
	entry_before_sleep();
	wait_cond();
}

static inline void
sleep_cond(void)
{
	if (!entry_wait_free(false))
		sleep_cond_owing();
}

int
pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	sleep_cond();
	return real.pthread_cond_wait(cond, mutex);
}

int
pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
		       const struct timespec *until)
{
	sleep_cond();
	return real.pthread_cond_timedwait(cond, mutex, until);
}

int
pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
		       const struct timespec *until)
{
	sleep_cond();
	return real.pthread_cond_clockwait(cond, mutex, clock, until);
}

int
sem_wait(sem_t *sem)
{
	sleep_cond();
	return real.sem_wait(sem);
}

int
sem_timedwait(sem_t *sem, const struct timespec *until)
{
	sleep_cond();
	return real.sem_timedwait(sem, until);
}

int
sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	sleep_cond();
	return real.sem_clockwait(sem, clock, until);
}

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

int
pthread_join(pthread_t thread, void **result)
{
	real_ready();
	entry_sleep();
	return real.pthread_join(thread, result);
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
