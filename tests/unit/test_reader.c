/* stream/reader: what a read means to the writer of the same stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static void
a_blocking_read_with_data_there_keeps_holding(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	hold(s, "a");
	request(s); /* MSG_DONTWAIT found it */
	assert_held(s, 1);
}

static void
a_blocking_read_that_would_sleep_releases(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[8];

	(void)state;
	request(s);
	hold(s, "a");
	assert_int_equal(app_read(s, buf, sizeof(buf)),
			 -EAGAIN); /* the fake never sleeps */
	assert_sent(A, "1a");
	assert_int_equal(flushes(s, FLUSH_TURN), 1);
}

static void
a_nonblocking_read_that_finds_nothing_is_no_sleep(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[8];
	uint32_t turn;

	(void)state;
	nonblocking(s);
	request(s);
	hold(s, "a");
	turn = self.turn;
	assert_int_equal(app_read(s, buf, sizeof(buf)), -EAGAIN);
	assert_held(s, 1);
	assert_int_equal(self.turn, turn);
}

static void
a_read_that_may_wait_for_all_flushes_first(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct msghdr msg = { 0 };
	ssize_t r;

	(void)state;
	request(s);
	hold(s, "a");
	assert_int_equal(reader_begin(s, &msg, 8, MSG_WAITALL, false, &r), READ_SLEEPS);
	assert_held(s, 0);
}

static void
bytes_and_calls_are_counted(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow now = s->rec->flow[RECEIVED];
	char buf[8];

	(void)state;
	request(s);
	app_read(s, buf, sizeof(buf));
	assert_int_equal(s->rec->flow[RECEIVED].native_bytes - now.native_bytes, 7);
	assert_int_equal(s->rec->flow[RECEIVED].native_calls - now.native_calls, 1);
	assert_int_equal(s->rec->flow[RECEIVED].app_calls - now.app_calls, 1);
	assert_int_equal(s->rec->flow[RECEIVED].kernel_calls - now.kernel_calls, 1);
}

static void
a_peek_moves_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow now = s->rec->flow[RECEIVED];

	(void)state;
	reader_count(s, 8, true, 8);
	assert_int_equal(s->rec->flow[RECEIVED].app_bytes, now.app_bytes);
	assert_int_equal(s->awaited, 0);
}

static void
a_read_that_slept_ends_the_turn(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct msghdr msg = { 0 };
	uint32_t turn = self.turn;
	ssize_t r;

	(void)state;
	app_write(s, "1");
	assert_int_equal(reader_begin(s, &msg, 8, 0, true, &r), READ_SLEEPS);
	fake.now_ns += 6000;
	reader_end(s, READ_SLEEPS, 8, false, 3);
	assert_int_equal(self.turn, turn + 1);
	assert_false(self.wrote);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(a_blocking_read_with_data_there_keeps_holding),
		T(a_blocking_read_that_would_sleep_releases),
		T(a_nonblocking_read_that_finds_nothing_is_no_sleep),
		T(a_read_that_may_wait_for_all_flushes_first),
		T(bytes_and_calls_are_counted),
		T(a_peek_moves_nothing),
		T(a_read_that_slept_ends_the_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
