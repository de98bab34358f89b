/* Condition variables, semaphores, joins, futexes, a thread's end. */
#include "actor_sleep.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t helper;
static sem_t sem;
static int ready;

/* Ends every kind of sleep below once the harness says so. */
static void *
help(void *nothing)
{
	(void)nothing;
	wait_for_harness();
	pthread_mutex_lock(&mutex);
	ready = 1;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	sem_post(&sem);
	return &ready;
}

static void
make_helper(void)
{
	sem_init(&sem, 0, 0);
	pthread_create(&helper, NULL, help, NULL);
}

static struct timespec
in_five_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += 5;
	return t;
}

static void
sleep_cond_wait(int fd)
{
	int rc = 0;

	(void)fd;
	pthread_mutex_lock(&mutex);
	while (!ready && !rc)
		rc = pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	result("pthread_cond_wait", rc);
}

static void
sleep_cond_timedwait(int fd)
{
	struct timespec t = in_five_seconds(CLOCK_REALTIME);
	int rc = 0;

	(void)fd;
	pthread_mutex_lock(&mutex);
	while (!ready && !rc)
		rc = pthread_cond_timedwait(&cond, &mutex, &t);
	pthread_mutex_unlock(&mutex);
	result("pthread_cond_timedwait", rc);
}

static void
sleep_cond_clockwait(int fd)
{
	struct timespec t = in_five_seconds(CLOCK_MONOTONIC);
	int rc = 0;

	(void)fd;
	pthread_mutex_lock(&mutex);
	while (!ready && !rc)
		rc = pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &t);
	pthread_mutex_unlock(&mutex);
	result("pthread_cond_clockwait", rc);
}

static void
sleep_sem_wait(int fd)
{
	(void)fd;
	result("sem_wait", sem_wait(&sem));
}

static void
sleep_sem_timedwait(int fd)
{
	struct timespec t = in_five_seconds(CLOCK_REALTIME);

	(void)fd;
	result("sem_timedwait", sem_timedwait(&sem, &t));
}

static void
sleep_sem_clockwait(int fd)
{
	struct timespec t = in_five_seconds(CLOCK_MONOTONIC);

	(void)fd;
	result("sem_clockwait", sem_clockwait(&sem, CLOCK_MONOTONIC, &t));
}

static void
sleep_join(int fd)
{
	void *value = NULL;

	(void)fd;
	result("pthread_join", pthread_join(helper, &value));
	say("value %d", value == &ready);
}

static void
sleep_futex(int fd)
{
	uint32_t word = 0;
	struct timespec t = { 5, 0 };

	(void)fd;
	result("futex", syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
}

static atomic_int stage;

static void *
write_and_end(void *fd)
{
	put(*(int *)fd, "4;");
	put(*(int *)fd, "5;");
	note_time("sleep");
	return NULL;
}

static void *
write_and_be_cancelled(void *fd)
{
	put(*(int *)fd, "4;");
	put(*(int *)fd, "5;");
	atomic_store(&stage, 1);
	for (;;)
		pthread_testcancel();
	return NULL;
}

/* The thread that wrote is gone; main computes. */
static void
sleep_thread_end(int fd)
{
	pthread_t thread;

	pthread_create(&thread, NULL, write_and_end, &fd);
	spin_ms(500);
	pthread_join(thread, NULL);
}

static void
sleep_thread_cancelled(int fd)
{
	pthread_t thread;
	void *value;

	pthread_create(&thread, NULL, write_and_be_cancelled, &fd);
	while (!atomic_load(&stage))
		;
	note_time("sleep");
	pthread_cancel(thread);
	spin_ms(500);
	pthread_join(thread, &value);
	say("cancelled %d", value == PTHREAD_CANCELED);
}

static void *
write_and_exit_thread(void *fd)
{
	put(*(int *)fd, "4;");
	put(*(int *)fd, "5;");
	note_time("sleep");
	pthread_exit(NULL);
}

static void
sleep_thread_exit(int fd)
{
	pthread_t thread;

	pthread_create(&thread, NULL, write_and_exit_thread, &fd);
	spin_ms(500);
	pthread_join(thread, NULL);
}

const struct sleeping thread_sleeps[] = {
	{ "pthread_cond_wait", sleep_cond_wait, make_helper },
	{ "pthread_cond_timedwait", sleep_cond_timedwait, make_helper },
	{ "pthread_cond_clockwait", sleep_cond_clockwait, make_helper },
	{ "sem_wait", sleep_sem_wait, make_helper },
	{ "sem_timedwait", sleep_sem_timedwait, make_helper },
	{ "sem_clockwait", sleep_sem_clockwait, make_helper },
	{ "pthread_join", sleep_join, make_helper },
	{ "futex", sleep_futex, NULL },
	{ "thread-end", sleep_thread_end, NULL },
	{ "thread-cancelled", sleep_thread_cancelled, NULL },
	{ "thread-exit", sleep_thread_exit, NULL },
	{ 0 },
};
