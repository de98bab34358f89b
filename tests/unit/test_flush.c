/* stream/flush: held bytes leave as one flight; what a failed one comes to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static void
push_sets_and_clears_nodelay(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held"); /* behind a "1" that left */
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), 0);
	assert_string_equal(fake.fd[A].trace, "send=1 nodelay=1 send=4 nodelay=0 ");
}

static void
a_first_piece_is_not_pushed(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	app_send(s, "held", 4, MSG_MORE);
	stream_flush(s, FLUSH_SLEEP);
	assert_string_equal(fake.fd[A].trace, "send=4 ");
}

static void
only_a_release_or_the_keeper_pushes(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	stream_flush(s, FLUSH_ORDER);
	assert_string_equal(fake.fd[A].trace, "send=1 send=4 ");
}

static void
application_sets(int option, int value)
{
	fake_option(&fake.fd[A], IPPROTO_TCP, option, value);
	stream_push_options_set();
}

static void
nodelay_and_cork_of_the_application_stay(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	application_sets(TCP_CORK, 1);
	hold(s, "a");
	stream_flush(s, FLUSH_SLEEP);
	application_sets(TCP_CORK, 0);
	application_sets(TCP_NODELAY, 1);
	hold(s, "b");
	stream_flush(s, FLUSH_SLEEP);
	assert_string_equal(fake.fd[A].trace, "send=1 send=1 send=1 ");
}

/* Else the push would end by clearing what the application set. */
static void
what_cannot_be_asked_counts_as_set(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	application_sets(TCP_NODELAY, 1);
	hold(s, "held");
	fake_fail(FAKE_GETSOCKOPT, 1, ENOMEM);
	stream_flush(s, FLUSH_SLEEP);
	assert_string_equal(fake.fd[A].trace, "send=1 send=4 ");
}

static void
unix_streams_are_never_pushed(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	hold(s, "held");
	stream_flush(s, FLUSH_SLEEP);
	assert_string_equal(fake.fd[A].trace, "send=1 send=4 ");
}

static void
error_at_flush_is_given_once_to_a_write(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint64_t lost = s->rec->flow[SENT].discarded;

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], -ECONNRESET);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), 0);
	assert_held(s, 0);
	assert_int_equal(s->rec->flow[SENT].discarded - lost, 4);
	assert_int_equal(app_write(s, "x"), -ECONNRESET);
	assert_int_equal(app_write(s, "y"), 1);
	assert_sent(A, "1y");
}

static void
error_at_flush_is_given_once_to_a_read_at_its_end(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[8];

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], -ETIMEDOUT);
	stream_flush(s, FLUSH_SLEEP);
	fake_arrive(&fake.fd[A], "data", 4);
	fake.fd[A].eof = true;
	assert_int_equal(app_read(s, buf, sizeof(buf)), 4);
	assert_int_equal(app_read(s, buf, sizeof(buf)), -ETIMEDOUT);
	assert_int_equal(app_read(s, buf, sizeof(buf)), 0);
}

static void
the_kernel_repeats_epipe_itself(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], -EPIPE);
	stream_flush(s, FLUSH_SLEEP);
	assert_int_equal(stream_error(s), 0);
	fake_script(&fake.fd[A], -EPIPE);
	assert_int_equal(app_write(s, "x"),
			 -EPIPE); /* natively, and so with its signal */
	assert_int_equal(fake.calls[FAKE_SENDMSG], 2);
}

static void
a_refused_flush_stays_and_nothing_is_added(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	nonblocking(s);
	hold(s, "held");
	fake_script(&fake.fd[A], -ENOBUFS);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), -EAGAIN);
	assert_held(s, 4);
	fake_script(&fake.fd[A], -EAGAIN);
	assert_int_equal(app_write(s, "x"), -EAGAIN);
	assert_held(s, 4);
	assert_int_equal(app_write(s, "x"), 1); /* in order */
	assert_sent(A, "1heldx");
}

static void
an_interrupted_flush_stays(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], -EINTR);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), -EAGAIN);
	assert_held(s, 4);
	assert_int_equal(stream_error(s), 0);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), 0);
	assert_sent(A, "1held");
}

static void
a_short_flush_goes_on_where_it_ended(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], 3);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), -EAGAIN);
	assert_sent(A, "1hel");
	assert_held(s, 1);
	assert_int_equal(stream_flush(s, FLUSH_SLEEP), 0);
	assert_sent(A, "1held");
}

static void
drain_raises_the_buffer_then_waits_then_gives_up(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	int64_t start = fake.now_ns;
	uint64_t lost = s->rec->flow[SENT].discarded;

	(void)state;
	hold(s, "held");
	fake.fd[A].room = 0;
	stream_drain(s, FLUSH_CLOSE);
	assert_non_null(strstr(fake.fd[A].trace, "sndbuf="));
	assert_held(s, 0);
	assert_int_equal(s->rec->flow[SENT].discarded - lost, 4);
	assert_in_range(fake.now_ns - start, 1000 * (int64_t)MS, 1100 * (int64_t)MS);
}

static void
a_number_that_is_no_socket_any_more_is_forgotten(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], -ENOTSOCK);
	stream_flush(s, FLUSH_SLEEP);
	assert_null(stream_known(A));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(push_sets_and_clears_nodelay),
		T(a_first_piece_is_not_pushed),
		T(only_a_release_or_the_keeper_pushes),
		T(nodelay_and_cork_of_the_application_stay),
		T(what_cannot_be_asked_counts_as_set),
		T(unix_streams_are_never_pushed),
		T(error_at_flush_is_given_once_to_a_write),
		T(error_at_flush_is_given_once_to_a_read_at_its_end),
		T(the_kernel_repeats_epipe_itself),
		T(a_refused_flush_stays_and_nothing_is_added),
		T(an_interrupted_flush_stays),
		T(a_short_flush_goes_on_where_it_ended),
		T(drain_raises_the_buffer_then_waits_then_gives_up),
		T(a_number_that_is_no_socket_any_more_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
