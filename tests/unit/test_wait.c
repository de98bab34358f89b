/* waits/wait: looks, sleeps, and what they do for the bytes this thread holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"
#include "stream/pair.h"

static void
nothing_owed_costs_nothing(void **state)
{
	struct wait w;

	(void)state;
	assert_false(wait_begin(&w, false));
}

static void
look_keeps_holding(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	hold(s, "a");
	assert_true(wait_begin(&w, false));
	assert_true(wait_looked(1));
	assert_held(s, 1);
}

static void
a_look_flushes_what_is_older_than_half_the_delay(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	hold(s, "a");
	fake.now_ns += DELAY_US * 500 + 1;
	assert_true(wait_begin(&w, false));
	assert_true(wait_looked(1));
	assert_held(s, 0);
	assert_int_equal(flushes(s, FLUSH_DELAY), 1);
}

static void
a_look_that_finds_nothing_flushes_before_the_sleep(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;
	uint32_t turn;

	(void)state;
	hold(s, "a");
	turn = self.turn;
	assert_true(wait_begin(&w, false));
	assert_false(wait_looked(0));
	assert_sent(A, "1a");
	assert_int_equal(flushes(s, FLUSH_SLEEP), 1);
	fake.now_ns += 100000;
	wait_end(&w, 1);
	assert_int_equal(self.turn, turn + 1);
}

static void
no_poll(void)
{
	fail_msg("a wait call waits for its own thread");
}

/* The kernel has no memory just now, and whoever reads the other end is this thread. */
static void
a_wait_never_waits_for_the_other_end(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);
	struct wait w;

	(void)state;
	accepted(B, AF_UNIX);
	pair_made(A, B);
	hold(s, "a");
	fake_script(&fake.fd[A], -ENOBUFS);
	fake.on_sleep = no_poll;
	wait_begin(&w, true);
	assert_held(s, 1);
	wait_begin(&w, true);
	assert_sent(A, "1a");
	fake.on_sleep = NULL;
}

static void
a_wait_releases_what_is_awaited_before_it_looks(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	request(s);
	hold(s, "a");
	assert_false(wait_begin(&w, false));
	assert_sent(A, "1a");
	assert_int_equal(flushes(s, FLUSH_TURN), 1);
}

static void
with_nothing_held_a_wait_ends_the_turn(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;
	uint32_t turn = self.turn;

	(void)state;
	app_write(s, "1");
	assert_false(wait_begin(&w, true));
	wait_end(&w, 1); /* no time to sleep, and events: the turn goes on */
	assert_int_equal(self.turn, turn);
	assert_false(wait_begin(&w, false));
	wait_end(&w, 1);
	assert_int_equal(self.turn, turn + 1);
	assert_false(self.wrote);
}

static void
a_poll_of_no_time_that_finds_nothing_flushes(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	hold(s, "a");
	assert_false(wait_begin(&w, true));
	wait_end(&w, 0);
	assert_held(s, 0);
}

static void
a_poll_of_no_time_that_finds_events_keeps_holding(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	hold(s, "a");
	assert_false(wait_begin(&w, true));
	wait_end(&w, 1);
	assert_held(s, 1);
}

static void
any_other_sleep_flushes_all(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_UNIX);

	(void)state;
	hold(a, "a");
	hold(b, "b");
	wait_sleep();
	assert_sent(A, "1a");
	assert_sent(B, "1b");
	assert_false(self.wrote);
}

static void
accepting_on_a_nonblocking_listener_keeps_holding(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct wait w;

	(void)state;
	hold(s, "a");
	stream_nonblock(LISTENER, true);
	wait_blocking(&w, LISTENER);
	assert_held(s, 1);
	stream_nonblock(LISTENER, false);
	wait_blocking(&w, LISTENER);
	assert_held(s, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(nothing_owed_costs_nothing),
		T(look_keeps_holding),
		T(a_look_flushes_what_is_older_than_half_the_delay),
		T(a_look_that_finds_nothing_flushes_before_the_sleep),
		T(a_wait_never_waits_for_the_other_end),
		T(a_wait_releases_what_is_awaited_before_it_looks),
		T(with_nothing_held_a_wait_ends_the_turn),
		T(a_poll_of_no_time_that_finds_nothing_flushes),
		T(a_poll_of_no_time_that_finds_events_keeps_holding),
		T(any_other_sleep_flushes_all),
		T(accepting_on_a_nonblocking_listener_keeps_holding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
