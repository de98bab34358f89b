/* base/lock with real threads and a real signal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/lock.h"
#include "base/sys.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct lock lock;
static unsigned long counted; /* L */

static void *
count(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (!lock_take(&lock, (uint32_t)sys_gettid()))
			return "the lock is said to be ours";
		counted++;
		lock_give(&lock);
	}
	return NULL;
}

static void
one_thread_at_a_time(void **state)
{
	pthread_t thread[THREADS];
	void *failed;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(counted, THREADS * ROUNDS);
	assert_int_equal(lock.word, 0);
}

static int taken_in_handler = -1;

static void
handler(int sig)
{
	(void)sig;
	taken_in_handler = lock_take(&lock, (uint32_t)sys_gettid());
}

static void
a_handler_of_the_holder_is_told_and_does_not_wait(void **state)
{
	struct sigaction action = { .sa_handler = handler }, before;
	uint32_t tid = (uint32_t)sys_gettid();

	(void)state;
	sigaction(SIGUSR1, &action, &before);
	assert_true(lock_take(&lock, tid));
	raise(SIGUSR1);
	assert_int_equal(taken_in_handler, 0);
	assert_int_equal(lock.word, tid); /* and it left the lock to the holder */
	lock_give(&lock);
	raise(SIGUSR1);
	assert_int_equal(taken_in_handler, 1);
	lock_give(&lock);
	sigaction(SIGUSR1, &before, NULL);
}

static void *
want_it_soon(void *arg)
{
	(void)arg;
	if (lock_take_soon(&lock, (uint32_t)sys_gettid()))
		return "a lock of another thread was had";
	return NULL;
}

static void
who_wants_it_soon_does_not_wait_for_long(void **state)
{
	pthread_t thread;
	void *failed;

	(void)state;
	assert_true(lock_take_soon(&lock, (uint32_t)sys_gettid()));
	pthread_create(&thread, NULL, want_it_soon, NULL);
	pthread_join(thread, &failed); /* it ends, though we keep the lock */
	assert_null(failed);
	lock_give(&lock);
}

static uint32_t waiting; /* A */

static void *
wait_for_it(void *arg)
{
	(void)arg;
	__atomic_store_n(&waiting, 1, __ATOMIC_RELEASE);
	if (!lock_take(&lock, (uint32_t)sys_gettid()))
		return "false from a lock of another thread";
	counted = 1;
	lock_give(&lock);
	return NULL;
}

/* Long enough for the waiter to reach its sleeps: nobody wakes it, it has to look again. */
static void
a_waiter_gets_a_lock_held_for_long(void **state)
{
	int64_t until;
	pthread_t thread;
	void *failed;

	(void)state;
	counted = 0;
	assert_true(lock_take(&lock, (uint32_t)sys_gettid()));
	pthread_create(&thread, NULL, wait_for_it, NULL);
	while (__atomic_load_n(&waiting, __ATOMIC_ACQUIRE) == 0)
		sys_yield();
	for (until = sys_now_ns() + 5000000; sys_now_ns() < until;)
		sys_yield();
	assert_int_equal(counted, 0);
	lock_give(&lock);
	pthread_join(thread, &failed);
	assert_null(failed);
	assert_int_equal(counted, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_thread_at_a_time),
		cmocka_unit_test(a_handler_of_the_holder_is_told_and_does_not_wait),
		cmocka_unit_test(who_wants_it_soon_does_not_wait_for_long),
		cmocka_unit_test(a_waiter_gets_a_lock_held_for_long),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
