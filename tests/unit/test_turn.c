/* stream/turn: turns, what is awaited, and what a thread has learned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"
#include <pthread.h>
#include <sched.h>

static void
held_bytes_leave_before_a_sleep(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	hold(a, "a");
	hold(b, "b");
	turn_flush();
	assert_sent(A, "1a");
	assert_sent(B, "1b");
	assert_false(turn_owes());
}

static void
released_by_turning_to_another_stream(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	request(a);
	hold(a, "a");
	request(b);
	assert_sent(A, "1a");
	assert_int_equal(flushes(a, FLUSH_TURN), 1);
	hold(b, "b");
	request(a);
	assert_sent(B, "1b");
}

static void
what_nobody_asked_for_is_not_awaited(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	hold(a, "a"); /* nothing was read */
	request(b);
	assert_held(a, 1);
}

static void
a_released_stream_is_awaited_again_only_after_a_read(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	request(a);
	hold(a, "a");
	request(b);
	app_write(a, "more");
	assert_held(a, 4);
	request(b);
	assert_held(a, 4);
}

static void
a_flush_for_delay_is_no_release(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	request(a);
	hold(a, "a");
	stream_flush(a, FLUSH_DELAY);
	hold(a, "b");
	request(b);
	assert_held(a, 0);
}

static void
a_turn_that_wrote_twice_is_remembered(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	assert_int_equal(s->chatty, 1);
	request(s);
	hold(s, "a");
	turn_flush();
	turn_slept();
	request(s);
	assert_int_equal(s->chatty, 2);
	app_write(s, "1"); /* now the first is held as well */
	assert_held(s, 1);
	turn_flush();
	turn_slept();
	request(s);
	assert_int_equal(s->chatty, 1);
	app_write(s, "1");
	assert_held(s, 0);
}

static void
an_accepted_stream_inherits_from_the_last_that_closed(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	hold(s, "a");
	stream_close_begin(A);
	stream_close_end(A);
	s = accepted(B, AF_INET);
	assert_int_equal(s->chatty, 2);
	request(s);
	app_write(s, "first");
	assert_held(s, 5);
}

static void
a_sleep_of_the_writer_ends_a_turn(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	app_write(s, "1");
	turn_slept();
	s->left = 0; /* not what this is about */
	app_write(s, "2");
	assert_held(s, 0);
	assert_sent(A, "12");
}

/* One write, a sleep on a condition variable, the next write: how an interpreter's threads
 * hand on their lock. */
static void
cond_sleeps_keep_a_reply_together_once_predicted(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	for (int i = 0; i < 3; i++) {
		request(s);
		hold(s, "a");
		assert_int_equal(self.cond_streak, i < 2 ? i : 2);
		turn_cond();
		if (i < 2) {
			assert_held(s, 0);
			app_write(s, "b");
			turn_flush();
			turn_slept();
		} else {
			assert_held(s, 1);
		}
	}
	app_write(s, "b");
	assert_held(s, 2);
}

static void
a_read_before_the_next_write_ends_the_exception(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	self.cond_streak = 2;
	request(s);
	hold(s, "a");
	turn_cond();
	assert_held(s, 1);
	request(s);
	hold(s, "b");
	turn_cond();
	assert_int_equal(self.cond_streak, 0);
	assert_held(s, 0);
}

static int
sends(const struct stream *s)
{
	const struct flow *flow = &s->rec->flow[SENT];

	return (int)(flow->native_calls + flow->kernel_calls);
}

/* A worker of a pool: handed its work through a condition variable, it answers with so many writes. Returns how
 * many sends that were. */
static int
reply_of_worker(struct stream *s, int writes)
{
	int sent = sends(s);

	request(s);
	for (int i = 0; i < writes; i++)
		app_write(s, "a");
	turn_cond();
	assert_held(s, 0);
	return sends(s) - sent;
}

static struct stream *
accepted_with_nodelay(void)
{
	struct stream *s = accepted(A, AF_INET);

	fake_option(&fake.fd[A], IPPROTO_TCP, TCP_NODELAY, 1);
	stream_push_options_set();
	return s;
}

static void
two_writes_of_a_worker_are_left_alone_once_known(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	s->chatty = 2;
	assert_int_equal(reply_of_worker(s, 2), 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(reply_of_worker(s, 2), 2);
	assert_int_equal(s->chatty, 0);
	/* Nor are they decided on. */
	request(s);
	assert_true(writer_goes(s, 1));
	assert_true(writer_goes(s, 1));
	assert_false(writer_goes(s, 1));
}

static void
a_third_write_of_a_worker_has_them_held_for_good(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	assert_int_equal(reply_of_worker(s, 2), 2);
	assert_int_equal(reply_of_worker(s, 5), 3);
	reply_of_worker(s, 5);
	for (int i = 0; i < 10; i++)
		assert_int_equal(reply_of_worker(s, 2), 1);
}

/* Their gain is neither lost on the first reply of a connection nor for the next one. */
static void
three_writes_of_a_worker_are_held_from_the_first_on(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	assert_int_equal(reply_of_worker(s, 3), 2);
	assert_int_equal(s->second, SECOND_HELD);
	reply_of_worker(s, 3);
	assert_int_equal(reply_of_worker(s, 3), 1);
	assert_int_equal(reply_of_worker(s, 2), 1);
}

static void
the_next_connection_of_a_worker_begins_as_one_that_wrote_twice(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	reply_of_worker(s, 2);
	assert_int_equal(s->second, SECOND_GOES);
	stream_close_begin(A);
	stream_close_end(A);
	s = accepted_with_nodelay();
	assert_int_equal(s->second, SECOND_UNKNOWN);
	assert_int_equal(reply_of_worker(s, 2), 1);
	assert_int_equal(reply_of_worker(s, 2), 2);
}

static void
two_writes_without_nodelay_are_held(void **state)
{
	struct stream *s = accepted(A, AF_INET), *local = accepted(B, AF_UNIX);

	(void)state;
	for (int i = 0; i < 10; i++) {
		reply_of_worker(s, 2);
		reply_of_worker(local, 2);
	}
	assert_int_equal(reply_of_worker(s, 2), 1);
	assert_int_equal(reply_of_worker(local, 2), 1);
}

/* It is asked once, and may be cleared later. */
static void
a_worker_that_clears_nodelay_has_its_writes_held(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	reply_of_worker(s, 2);
	assert_int_equal(reply_of_worker(s, 2), 2);
	fake_option(&fake.fd[A], IPPROTO_TCP, TCP_NODELAY, 0);
	stream_push_options_set();
	evidence_delays(A);
	for (int i = 0; i < 3; i++)
		reply_of_worker(s, 2);
	assert_int_equal(reply_of_worker(s, 2), 1);
}

/* The application's own is asked, not what was known of the listener; and again after a fork, for the child may
 * clear it. */
static void
nodelay_is_asked_where_it_counts(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	reply_of_worker(s, 2);
	assert_int_equal(s->second, SECOND_GOES);
	life_fork_begin();
	fake_option(&fake.fd[A], IPPROTO_TCP, TCP_NODELAY, 0);
	life_fork_parent(-1);
	for (int i = 0; i < 3; i++)
		reply_of_worker(s, 2);
	assert_int_equal(s->second, SECOND_HELD);
}

static struct stream *pushed;

static void
released_in_a_push(bool taken)
{
	(void)taken;
	fake.on_fly = NULL;
	assert_false(evidence_released(pushed));
}

/* A push has TCP_NODELAY set for the length of its flight: not the application's. */
static void
what_a_push_sets_is_not_taken_for_the_applications(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	hold(s, "held");
	pushed = s;
	fake.on_fly = released_in_a_push;
	stream_flush(s, FLUSH_DELAY);
	assert_sent(A, "1held");
	assert_non_null(strstr(fake.fd[A].trace, "nodelay=1"));
	assert_int_not_equal(s->second, SECOND_GOES);
}

/* How an interpreter hands on its lock: the reply goes on after such a sleep. */
static void
a_reply_that_goes_on_after_the_sleep_has_them_held_for_good(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	reply_of_worker(s, 2);
	assert_int_equal(s->second, SECOND_GOES);
	reply_of_worker(s, 2);
	turn_slept();
	app_write(s, "b");
	assert_int_equal(s->second, SECOND_HELD);
	turn_flush();
}

/* A thread that sleeps otherwise is no such worker. */
static void
two_writes_before_another_sleep_are_held(void **state)
{
	struct stream *s = accepted_with_nodelay();

	(void)state;
	for (int i = 0; i < 4; i++) {
		request(s);
		app_write(s, "a");
		app_write(s, "b");
		turn_flush();
		turn_slept();
	}
	request(s);
	app_write(s, "a");
	assert_held(s, 1);
	turn_flush();
}

/* Three writes with two such sleeps between them, and a third that ends the reply. True: that one kept it
 * back, and the keeper had to release it. */
static bool
reply_by_three(struct stream *s)
{
	request(s);
	hold(s, "a");
	turn_cond();
	app_write(s, "b");
	turn_cond();
	app_write(s, "c");
	turn_cond();
	if (!stream_held(s))
		return false;
	stream_flush(s, FLUSH_DELAY);
	return true;
}

static int
kept_back(struct stream *s, int replies)
{
	int nr = 0;

	for (int i = 0; i < replies; i++)
		nr += reply_by_three(s);
	return nr;
}

static void
what_was_kept_back_in_vain_is_not_again_so_soon(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	assert_in_range(kept_back(s, 100), 2, 5);
	assert_in_range(kept_back(s, 900), 1, 5);
	assert_in_range(kept_back(s, 2 * COND_MOST_SKIPPED), 3, 7);
}

/* Another thread has read the next request of it meanwhile. */
static void
who_turns_to_another_stream_has_kept_back_in_vain(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	self.cond_streak = TURN_PREDICTED;
	request(a);
	hold(a, "a");
	turn_cond();
	stream_flush(a, FLUSH_DELAY);
	request(b);
	assert_int_equal(self.cond_skip, COND_SKIP);
}

/* It leaves as the thread turns away, in time. */
static void
what_the_thread_releases_by_itself_was_not_kept_in_vain(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	self.cond_streak = TURN_PREDICTED;
	request(a);
	hold(a, "a");
	turn_cond();
	assert_held(a, 1);
	request(b);
	assert_held(a, 0);
	request(a);
	app_write(a, "b");
	assert_in_range(-self.cond_skip, 0, COND_WORTH);
}

/* One in so many that were right is not too dear. */
static void
many_that_were_right_pay_for_one_in_vain(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	kept_back(s, 100);
	assert_true(self.cond_backoff > COND_SKIP);
	self.cond_skip = 0;
	self.cond_streak = TURN_PREDICTED;
	request(s);
	for (int i = 0; i < COND_WORTH; i++) {
		hold(s, "b");
		turn_cond();
	}
	assert_held(s, COND_WORTH);
	stream_flush(s, FLUSH_DELAY);
	request(s);
	hold(s, "a");
	assert_int_equal(self.cond_skip, COND_SKIP);
}

static void
half_the_delay_is_overdue(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	hold(a, "a");
	fake.now_ns += DELAY_US * 500 + 1;
	hold(b, "b");
	turn_overdue();
	assert_held(a, 0);
	assert_held(b, 1);
	assert_int_equal(flushes(a, FLUSH_DELAY), 1);
}

/* Where nothing can be overdue, the list is not gone through; nothing becomes later for it. */
static void
what_is_overdue_leaves_however_often_one_looks(void **state)
{
	const int64_t tenth = DELAY_US * 100;
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	hold(a, "a");
	for (int i = 1; i <= 12; i++) {
		fake.now_ns += tenth;
		if (i == 3)
			hold(b, "b");
		turn_overdue();
		assert_held(a, i <= 5);
		assert_held(b, i >= 3 && i <= 8);
	}
}

/* As in a forked child, whose list is empty. */
static void
a_thread_that_owes_nothing_learns_it(void **state)
{
	(void)state;
	hold(accepted(A, AF_INET), "a");
	turn_flush();
	assert_int_equal(self.thread->nr_held, 0);
	self.nr_owed = 1;
	assert_true(turn_owes());
	turn_flush();
	assert_false(turn_owes());
}

static void
a_full_list_drops_what_is_stale(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	for (unsigned i = 1; i < NR_HELD; i++)
		self.thread->fd[i] = 100000; /* no stream */
	self.thread->nr_held = self.nr_owed = NR_HELD;
	assert_true(turn_list(accepted(B, AF_INET))); /* stale ones make place */
	assert_int_equal(self.thread->nr_held, 2);
}

enum { ROUNDS = 20000, FIRST = 10, LISTED = 40, STALE = 100000 };

/* Which round both are in; the walker says which it has done, and what it missed. */
static struct {
	uint32_t round, done;
	uint64_t wanted, missed;
} walk;

/* Bit n: number n was met. */
static void
note_met(int fd, void *met)
{
	if (fd < FAKE_FDS)
		*(uint64_t *)met |= UINT64_C(1) << fd;
}

/* Both are to go on at the same time, so at first without giving the processor away. */
static void
wait_for(const uint32_t *word, uint32_t value)
{
	for (unsigned spins = 0; __atomic_load_n(word, __ATOMIC_ACQUIRE) != value;
	     spins++)
		if (spins > 10000)
			sched_yield();
}

static void *
walker(void *unused)
{
	(void)unused;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint64_t met = 0;

		wait_for(&walk.round, round);
		for (volatile uint32_t i = 0; i < round % 1024; i++)
			; /* so that it begins at each step of the other side once */
		turn_each(note_met, &met);
		walk.missed |= walk.wanted & ~met;
		__atomic_store_n(&walk.done, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* The keeper, a fork and an exit walk the lists of other threads, which drop entries meanwhile. */
static void
no_entry_is_missed_while_others_are_dropped(void **state)
{
	pthread_t thread;

	(void)state;
	for (int fd = FIRST; fd < FIRST + LISTED; fd++) {
		hold(accepted(fd, AF_INET), "a");
		walk.wanted |= UINT64_C(1) << fd;
	}
	self.awaited = 0;
	assert_int_equal(pthread_create(&thread, NULL, walker, NULL), 0);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		self.thread->fd[0] = STALE;
		for (int i = 0; i < LISTED; i++)
			self.thread->fd[i + 1] = FIRST + i;
		self.thread->nr_held = self.nr_owed = LISTED + 1;
		__atomic_store_n(&walk.round, round, __ATOMIC_RELEASE);
		turn_release(); /* drops what is stale: the others move */
		assert_int_equal(self.thread->nr_held, LISTED);
		wait_for(&walk.done, round);
	}
	pthread_join(thread, NULL);
	assert_int_equal(walk.missed, 0);
}

static void
the_end_of_a_thread_flushes_and_gives_back(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct thread *thread;

	(void)state;
	hold(s, "a");
	thread = self.thread;
	turn_thread_end();
	assert_sent(A, "1a");
	assert_int_equal(in_use(), 0);
	assert_int_equal(thread->tid, 0);
	assert_ptr_equal(turn_thread(), thread); /* the next one's */
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(held_bytes_leave_before_a_sleep),
		T(released_by_turning_to_another_stream),
		T(what_nobody_asked_for_is_not_awaited),
		T(a_released_stream_is_awaited_again_only_after_a_read),
		T(a_flush_for_delay_is_no_release),
		T(a_turn_that_wrote_twice_is_remembered),
		T(an_accepted_stream_inherits_from_the_last_that_closed),
		T(a_sleep_of_the_writer_ends_a_turn),
		T(cond_sleeps_keep_a_reply_together_once_predicted),
		T(what_was_kept_back_in_vain_is_not_again_so_soon),
		T(who_turns_to_another_stream_has_kept_back_in_vain),
		T(what_the_thread_releases_by_itself_was_not_kept_in_vain),
		T(many_that_were_right_pay_for_one_in_vain),
		T(a_read_before_the_next_write_ends_the_exception),
		T(two_writes_of_a_worker_are_left_alone_once_known),
		T(a_third_write_of_a_worker_has_them_held_for_good),
		T(three_writes_of_a_worker_are_held_from_the_first_on),
		T(the_next_connection_of_a_worker_begins_as_one_that_wrote_twice),
		T(two_writes_without_nodelay_are_held),
		T(a_worker_that_clears_nodelay_has_its_writes_held),
		T(nodelay_is_asked_where_it_counts),
		T(what_a_push_sets_is_not_taken_for_the_applications),
		T(a_reply_that_goes_on_after_the_sleep_has_them_held_for_good),
		T(two_writes_before_another_sleep_are_held),
		T(half_the_delay_is_overdue),
		T(what_is_overdue_leaves_however_often_one_looks),
		T(a_thread_that_owes_nothing_learns_it),
		T(a_full_list_drops_what_is_stale),
		T(no_entry_is_missed_while_others_are_dropped),
		T(the_end_of_a_thread_flushes_and_gives_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
