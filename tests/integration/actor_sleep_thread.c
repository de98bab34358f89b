/* Condition variables, semaphores, joins, barriers, queues, locks, futexes, a thread's end. */
#include "actor_sleep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t helper;
static sem_t sem;
static int ready;
static atomic_int stage;

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
in_half_a_minute(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += 30;
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
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);
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
	struct timespec t = in_half_a_minute(CLOCK_MONOTONIC);
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
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);

	(void)fd;
	result("sem_timedwait", sem_timedwait(&sem, &t));
}

static void
sleep_sem_clockwait(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_MONOTONIC);

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
sleep_timedjoin(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);

	(void)fd;
	result("pthread_timedjoin_np", pthread_timedjoin_np(helper, NULL, &t));
}

static void
sleep_clockjoin(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_MONOTONIC);

	(void)fd;
	result("pthread_clockjoin_np",
	       pthread_clockjoin_np(helper, NULL, CLOCK_MONOTONIC, &t));
}

static void
sleep_futex(int fd)
{
	uint32_t word = 0;
	struct timespec t = { 30, 0 };

	(void)fd;
	result("futex", syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
}

/* ---- those of C11 ---- */

static cnd_t c11_cond;
static mtx_t c11_mutex;

static void *
help_c11(void *nothing)
{
	wait_for_harness();
	mtx_lock(&c11_mutex);
	ready = 1;
	cnd_signal(&c11_cond);
	mtx_unlock(&c11_mutex);
	return nothing;
}

static void
make_c11_helper(void)
{
	cnd_init(&c11_cond);
	mtx_init(&c11_mutex, mtx_plain);
	pthread_create(&helper, NULL, help_c11, NULL);
}

static void
sleep_cnd_wait(int fd)
{
	int rc = 0;

	(void)fd;
	mtx_lock(&c11_mutex);
	while (!ready && !rc)
		rc = cnd_wait(&c11_cond, &c11_mutex);
	mtx_unlock(&c11_mutex);
	result("cnd_wait", rc);
}

static void
sleep_cnd_timedwait(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);
	int rc = 0;

	(void)fd;
	mtx_lock(&c11_mutex);
	while (!ready && !rc)
		rc = cnd_timedwait(&c11_cond, &c11_mutex, &t);
	mtx_unlock(&c11_mutex);
	result("cnd_timedwait", rc);
}

static thrd_t c11_helper;

static int
help_by_end(void *nothing)
{
	(void)nothing;
	wait_for_harness();
	return 7;
}

static void
make_c11_thread(void)
{
	thrd_create(&c11_helper, help_by_end, NULL);
}

static void
sleep_thrd_join(int fd)
{
	int value = 0;

	(void)fd;
	result("thrd_join", thrd_join(c11_helper, &value));
	say("value %d", value);
}

static void
sleep_thrd_sleep(int fd)
{
	struct timespec t = { 30, 0 };

	(void)fd;
	result("thrd_sleep", thrd_sleep(&t, NULL));
}

/* ---- barriers, queues and semaphores of System V, queues of POSIX, locks of files ---- */

static pthread_barrier_t barrier;
static int queue = -1, set = -1, lock_file[2];
static mqd_t posix_queue;

static void *
help_others(void *nothing)
{
	struct {
		long type;
		char text[1];
	} message = { 1, "m" };
	struct sembuf up = { .sem_op = 1 };

	flock(lock_file[1], LOCK_EX);
	atomic_store(&stage, 1);
	wait_for_harness();
	msgsnd(queue, &message, 1, 0);
	semop(set, &up, 1);
	mq_send(posix_queue, "m", 1, 0);
	flock(lock_file[1], LOCK_UN);
	pthread_barrier_wait(&barrier);
	return nothing;
}

static void
make_others(void)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 1 };
	char name[32], path[] = "/tmp/weir-lock-XXXXXX";

	pthread_barrier_init(&barrier, NULL, 2);
	snprintf(name, sizeof name, "/weir-sleep-%d", getpid());
	posix_queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	mq_unlink(name);
	lock_file[0] = mkstemp(path);
	lock_file[1] = open(path, O_RDWR);
	unlink(path);
	pthread_create(&helper, NULL, help_others, NULL);
	while (!atomic_load(&stage))
		sched_yield();
}

/* Who sleeps on one of these removes it. */
static void
make_queue(void)
{
	queue = msgget(IPC_PRIVATE, 0600);
	make_others();
}

static void
make_set(void)
{
	set = semget(IPC_PRIVATE, 1, 0600);
	make_others();
}

/* Both queues are full until the harness says so. */
static void *
help_senders(void *nothing)
{
	struct {
		long type;
		char text[1];
	} message;
	char text[1];

	wait_for_harness();
	msgrcv(queue, &message, 1, 0, 0);
	mq_receive(posix_queue, text, sizeof text, NULL);
	return nothing;
}

static void
make_full_queues(void)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 1 };
	struct {
		long type;
		char text[1];
	} message = { 1, "m" };
	struct msqid_ds limits;
	char name[32];

	snprintf(name, sizeof name, "/weir-sleep-%d", getpid());
	posix_queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	mq_unlink(name);
	mq_send(posix_queue, "m", 1, 0);
	queue = msgget(IPC_PRIVATE, 0600);
	msgctl(queue, IPC_STAT, &limits);
	limits.msg_qbytes = 1;
	msgctl(queue, IPC_SET, &limits);
	msgsnd(queue, &message, 1, 0);
	pthread_create(&helper, NULL, help_senders, NULL);
}

static void
send_to_full_queue(ssize_t (*send)(int id, const void *message))
{
	struct {
		long type;
		char text[1];
	} message = { 1, "n" };

	result("msgsnd", send(queue, &message));
	msgctl(queue, IPC_RMID, NULL);
}

static ssize_t
by_msgsnd(int id, const void *message)
{
	return msgsnd(id, message, 1, 0);
}

static ssize_t
by_syscall(int id, const void *message)
{
	return syscall(SYS_msgsnd, id, message, 1, 0);
}

static void
sleep_msgsnd(int fd)
{
	(void)fd;
	send_to_full_queue(by_msgsnd);
}

static void
sleep_syscall_msgsnd(int fd)
{
	(void)fd;
	send_to_full_queue(by_syscall);
}

static void
sleep_mq_send(int fd)
{
	(void)fd;
	result("mq_send", mq_send(posix_queue, "n", 1, 0));
	msgctl(queue, IPC_RMID, NULL);
}

static void
sleep_mq_timedsend(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);

	(void)fd;
	result("mq_timedsend", mq_timedsend(posix_queue, "n", 1, 0, &t));
	msgctl(queue, IPC_RMID, NULL);
}

static void
sleep_barrier(int fd)
{
	(void)fd;
	say("barrier %d", pthread_barrier_wait(&barrier) >= -1);
}

static void
sleep_msgrcv(int fd)
{
	struct {
		long type;
		char text[1];
	} message;

	(void)fd;
	result("msgrcv", msgrcv(queue, &message, 1, 0, 0));
	msgctl(queue, IPC_RMID, NULL);
}

static void
sleep_syscall_msgrcv(int fd)
{
	struct {
		long type;
		char text[1];
	} message;

	(void)fd;
	result("msgrcv", syscall(SYS_msgrcv, queue, &message, 1, 0, 0));
	msgctl(queue, IPC_RMID, NULL);
}

static void
sleep_semop(int fd)
{
	struct sembuf down = { .sem_op = -1 };

	(void)fd;
	result("semop", semop(set, &down, 1));
	semctl(set, 0, IPC_RMID);
}

static void
sleep_semtimedop(int fd)
{
	struct sembuf down = { .sem_op = -1 };
	struct timespec t = { 30, 0 };

	(void)fd;
	result("semtimedop", semtimedop(set, &down, 1, &t));
	semctl(set, 0, IPC_RMID);
}

static void
sleep_mq_receive(int fd)
{
	char text[1];

	(void)fd;
	result("mq_receive", mq_receive(posix_queue, text, sizeof text, NULL));
}

static void
sleep_mq_timedreceive(int fd)
{
	struct timespec t = in_half_a_minute(CLOCK_REALTIME);
	char text[1];

	(void)fd;
	result("mq_timedreceive",
	       mq_timedreceive(posix_queue, text, sizeof text, NULL, &t));
}

static void
sleep_flock(int fd)
{
	(void)fd;
	result("flock", flock(lock_file[0], LOCK_EX));
}

/* ---- ends ---- */

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
	{ "pthread_timedjoin_np", sleep_timedjoin, make_helper },
	{ "pthread_clockjoin_np", sleep_clockjoin, make_helper },
	{ "thrd_join", sleep_thrd_join, make_c11_thread },
	{ "cnd_wait", sleep_cnd_wait, make_c11_helper },
	{ "cnd_timedwait", sleep_cnd_timedwait, make_c11_helper },
	{ "thrd_sleep", sleep_thrd_sleep, NULL },
	{ "pthread_barrier_wait", sleep_barrier, make_others },
	{ "msgrcv", sleep_msgrcv, make_queue },
	{ "syscall-msgrcv", sleep_syscall_msgrcv, make_queue },
	{ "msgsnd", sleep_msgsnd, make_full_queues },
	{ "syscall-msgsnd", sleep_syscall_msgsnd, make_full_queues },
	{ "mq_send", sleep_mq_send, make_full_queues },
	{ "mq_timedsend", sleep_mq_timedsend, make_full_queues },
	{ "semop", sleep_semop, make_set },
	{ "semtimedop", sleep_semtimedop, make_set },
	{ "mq_receive", sleep_mq_receive, make_others },
	{ "mq_timedreceive", sleep_mq_timedreceive, make_others },
	{ "flock", sleep_flock, make_others },
	{ "futex", sleep_futex, NULL },
	{ "thread-end", sleep_thread_end, NULL },
	{ "thread-cancelled", sleep_thread_cancelled, NULL },
	{ "thread-exit", sleep_thread_exit, NULL },
	{ 0 },
};
