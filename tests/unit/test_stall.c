/* stream/stall: episodes of send backpressure, and how long they lasted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static uint64_t
stalled_ns(const struct stream *s)
{
	return s->rec->rare[SENT].stall_ns - s->rec->rare_at_open[SENT].stall_ns;
}

static uint64_t
events(const struct stream *s)
{
	return s->rec->rare[SENT].stall_events - s->rec->rare_at_open[SENT].stall_events;
}

static void
a_refused_write_begins_and_the_next_that_goes_ends(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	nonblocking(s);
	fake_script(&fake.fd[A], -EAGAIN);
	assert_int_equal(app_write(s, "a"), -EAGAIN);
	assert_int_equal(events(s), 1);
	assert_true(s->rec->rare[SENT].stall_since_ns != 0);
	fake_script(&fake.fd[A], -EAGAIN);
	app_write(s, "a");
	assert_int_equal(events(s), 1); /* still the same */
	fake.now_ns += 50 * MS;
	assert_int_equal(app_write(s, "a"), 1);
	assert_int_equal(stalled_ns(s), 50 * MS);
	assert_int_equal(s->rec->rare[SENT].stall_since_ns, 0);
}

static void
writable_ends_it(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	nonblocking(s);
	fake_script(&fake.fd[A], -EAGAIN);
	app_write(s, "a");
	fake.now_ns += 20 * MS;
	stall_writable(A);
	fake.now_ns += 500 * MS;
	app_write(s, "a");
	assert_int_equal(stalled_ns(s), 20 * MS);
}

/* EAGAIN, the client drains at once, and the application comes back a second later. */
static void
a_late_application_is_no_slow_peer(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct tcp_info info = { .tcpi_busy_time = 1000 };

	(void)state;
	nonblocking(s);
	fake.fd[A].tcp_info = &info;
	fake.fd[A].tcp_info_len = sizeof(info);
	fake_script(&fake.fd[A], -EAGAIN);
	app_write(s, "a");
	info.tcpi_busy_time += 50000; /* us */
	fake.now_ns += 1000 * (int64_t)MS;
	app_write(s, "a");
	assert_int_equal(stalled_ns(s), 54 * MS); /* and a jiffy */
}

static void
a_short_write_begins_one_too(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	nonblocking(s);
	fake_script(&fake.fd[A], 10);
	assert_int_equal(app_send(s, big, CHUNK, 0), 10);
	assert_int_equal(events(s), 1);
}

static void
a_blocking_write_that_waited_is_an_episode(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	stall_waited(s, fake.now_ns, fake.now_ns + 7 * MS);
	assert_int_equal(events(s), 1);
	assert_int_equal(stalled_ns(s), 7 * MS);
	assert_int_equal(s->stalled, 0);
}

static void
the_look_ends_those_of_writable_streams(void **state)
{
	struct stream *a = accepted(A, AF_UNIX), *b = accepted(B, AF_UNIX);

	(void)state;
	stall_begin(a);
	stall_begin(b);
	fake.now_ns += 30 * MS;
	fake.fd[A].revents = POLLOUT;
	stall_look(0);
	assert_int_equal(stalled_ns(a), 30 * MS);
	assert_int_equal(a->stalled, 0);
	assert_int_equal(b->stalled, 1);
}

static uint64_t
waited_ns(const struct stream *s)
{
	return s->rec->rare[RECEIVED].stall_ns - s->rec->rare_at_open[RECEIVED].stall_ns;
}

static uint64_t
waits(const struct stream *s)
{
	return s->rec->rare[RECEIVED].stall_events -
	       s->rec->rare_at_open[RECEIVED].stall_events;
}

static void
unread_bytes_add_the_time_between_looks(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[8];

	(void)state;
	stall_look(0);
	fake_arrive(&fake.fd[A], "request", 7);
	fake.fd[A].revents = POLLIN;
	stall_look(100);
	stall_look(100);
	assert_int_equal(waited_ns(s), 200);
	assert_int_equal(waits(s), 1);
	app_read(s, buf, 3);
	stall_look(100); /* read since the look before */
	assert_int_equal(waited_ns(s), 200);
	stall_look(100);
	assert_int_equal(waited_ns(s), 300);
	assert_int_equal(waits(s), 2);
}

static void
an_end_alone_is_nothing_unread(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	stall_look(0);
	fake.fd[A].revents = POLLIN | POLLRDHUP;
	stall_look(100);
	assert_int_equal(waited_ns(s), 0);
	fake_arrive(&fake.fd[A], "rest", 4);
	stall_look(100);
	assert_int_equal(waited_ns(s), 100);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(unread_bytes_add_the_time_between_looks),
		T(an_end_alone_is_nothing_unread),
		T(a_refused_write_begins_and_the_next_that_goes_ends),
		T(writable_ends_it),
		T(a_late_application_is_no_slow_peer),
		T(a_short_write_begins_one_too),
		T(a_blocking_write_that_waited_is_an_episode),
		T(the_look_ends_those_of_writable_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
