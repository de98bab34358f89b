/* stream/stream: what is known of each number, from the call that made it to its close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"
#include <fcntl.h>

static void
an_accepted_socket_is_a_stream(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	assert_ptr_equal(stream_at(A), s);
	assert_int_equal(s->rec->role, ROLE_ACCEPTED);
	assert_int_equal(s->rec->family, FAMILY_INET);
	assert_int_equal(s->rec->chunk[SENT], CHUNK);
}

static void
only_stream_sockets_of_tcp_and_unix_count(void **state)
{
	(void)state;
	fake_socket(A, AF_INET);
	stream_made_socket(A, AF_INET, SOCK_DGRAM, 0);
	assert_null(stream_at(A));
	stream_made_socket(A, AF_INET, SOCK_STREAM, 132 /* SCTP */);
	stream_connected(A);
	assert_null(stream_at(A));
	stream_made_socket(A, AF_UNIX, SOCK_SEQPACKET, 0);
	stream_connected(A);
	assert_null(stream_at(A));
}

static void
a_bare_socket_is_none_until_it_connects(void **state)
{
	struct stream *s;

	(void)state;
	fake_socket(A, AF_INET);
	stream_made_socket(A, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_null(stream_known(A));
	stream_connected(A);
	s = stream_known(A);
	assert_non_null(s);
	assert_int_equal(s->role, ROLE_CONNECTED);
	assert_false(stream_blocking(s));
	assert_false(s->proven);
}

static void
a_socket_from_elsewhere_is_asked_once_and_left_alone(void **state)
{
	struct stream *s;
	unsigned asked;

	(void)state;
	fake_socket(A, AF_INET);
	s = stream_at(A);
	assert_non_null(s);
	assert_int_equal(s->mode, MODE_BYPASSED);
	asked = fake.calls[FAKE_GETSOCKOPT];
	stream_at(A);
	assert_int_equal(fake.calls[FAKE_GETSOCKOPT], asked);
	app_write(s, "1");
	app_write(s, "2");
	assert_sent(A, "12");
}

static void
what_is_no_socket_is_asked_once(void **state)
{
	unsigned asked;

	(void)state;
	fake_socket(A, AF_INET);
	fake.fd[A].domain = 0;
	assert_null(stream_at(A));
	asked = fake.calls[FAKE_GETSOCKOPT];
	assert_null(stream_at(A));
	assert_int_equal(fake.calls[FAKE_GETSOCKOPT], asked);
}

static void
numbers_above_the_table_are_native(void **state)
{
	(void)state;
	assert_null(stream_at(NR_NUMBERS));
	assert_null(stream_at(-1));
	stream_forget(-1);
	stream_made_plain(NR_NUMBERS);
	stream_close_begin(-1);
	stream_close_end(NR_NUMBERS);
}

static void
a_close_flushes_then_forgets(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	stream_close_begin(A);
	assert_sent(A, "1held");
	assert_int_equal(flushes(s, FLUSH_CLOSE), 1);
	assert_null(stream_known(A));
	assert_null(stream_at(A)); /* closing: native */
	stream_close_end(A);
	assert_int_equal(number_kind[A], KIND_UNKNOWN);
}

/* Between the native close and stream_close_end() another thread gets the number. */
static void
a_number_reused_during_a_close_stays_known(void **state)
{
	(void)state;
	accepted(A, AF_INET);
	stream_close_begin(A);
	accepted(A, AF_INET);
	stream_close_end(A);
	assert_non_null(stream_known(A));
	stream_close_begin(A);
	stream_made_socket(A, AF_INET, SOCK_STREAM, 0);
	stream_close_end(A);
	assert_int_equal(number_kind[A], KIND_SOCKET);
	stream_close_begin(A);
	stream_close_end(A);
	assert_int_equal(number_kind[A], KIND_UNKNOWN);
}

static void
what_was_held_on_a_number_closed_unseen_goes_nowhere(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	s = accepted(A, AF_INET); /* a new socket under the number */
	assert_held(s, 0);
	assert_int_equal(in_use(), 0);
	app_write(s, "new");
	turn_flush();
	assert_sent(A, "new");
}

static void
nothing_is_held_on_a_stream_that_closes(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	stream_close_begin(A);
	app_write(s, "b"); /* a thread that looked it up before */
	assert_held(s, 0);
	assert_sent(A, "1ab");
	stream_close_end(A);
}

static void
a_bypassed_stream_is_flushed_and_left_alone(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	stream_bypass(A, BYPASS_DUP);
	assert_sent(A, "1held");
	app_write(s, "x");
	assert_sent(A, "1heldx");
	assert_int_equal(s->rec->bypass, BYPASS_DUP);
}

static void
a_fork_shares_all_a_spawn_what_it_inherits(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	stream_option(B, OPTION_CLOEXEC, true);
	share_spawned();
	assert_false(stream_private(a));
	assert_true(stream_private(b));
	share_forked(0, 0);
	assert_false(stream_private(b));
	assert_true(stream_private(accepted(C, AF_INET)));
}

static void
options_are_asked_again(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	assert_true(stream_blocking(s));
	stream_nonblock(A, true);
	assert_false(stream_blocking(s));
	stream_ask_push(s);
	assert_false(s->options & OPTION_NODELAY);
	fake_option(&fake.fd[A], IPPROTO_TCP, TCP_NODELAY, 1);
	stream_push_options_set();
	stream_ask_push(s);
	assert_true(s->options & OPTION_NODELAY);
	fake.calls[FAKE_GETSOCKOPT] = 0;
	stream_ask_push(s);
	assert_int_equal(fake.calls[FAKE_GETSOCKOPT], 0);
}

static void
without_memory_a_number_is_plain(void **state)
{
	(void)state;
	accepted(A, AF_INET);
	fake_fail(FAKE_MAP, 1, ENOMEM);
	fake_fail(FAKE_WIPE, 1, ENOMEM);
	stream_made_socket(500000, AF_INET, SOCK_STREAM, 0);
	assert_null(stream_known(500000));
	stream_forget(500000);
}

static void
another_thread_clears_nonblock(void)
{
	fake.on_getfl = NULL;
	stream_nonblock_ends(A);
	sys_fcntl(A, F_SETFL, 0);
	stream_nonblock(A, false);
}

/* Else it would be taken for one that does not block, for good. */
static void
what_was_asked_while_it_was_set_is_not_remembered(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	sys_fcntl(A, F_SETFL, O_NONBLOCK);
	stream_nonblock_ends(A); /* nobody knows */
	fake.on_getfl = another_thread_clears_nonblock;
	stream_blocking(s);
	assert_true(stream_blocking(s));
	assert_false(stream_never_blocks(s));
}

static struct record *met;

static void
a_handler_meets_it(void)
{
	fake.on_getpeername = NULL;
	met = stream_meet(A)->rec;
}

/* To begin it anew would close it for the other process that has it. */
static void
what_a_handler_has_met_is_not_met_again(void **state)
{
	(void)state;
	fake_socket(A, AF_INET);
	fake.on_getpeername = a_handler_meets_it;
	assert_non_null(stream_meet(A));
	assert_non_null(met);
	assert_ptr_equal(stream_known(A)->rec, met);
	assert_int_equal(met->state, RECORD_OPEN);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(an_accepted_socket_is_a_stream),
		T(only_stream_sockets_of_tcp_and_unix_count),
		T(a_bare_socket_is_none_until_it_connects),
		T(a_socket_from_elsewhere_is_asked_once_and_left_alone),
		T(what_is_no_socket_is_asked_once),
		T(numbers_above_the_table_are_native),
		T(a_close_flushes_then_forgets),
		T(a_number_reused_during_a_close_stays_known),
		T(what_was_held_on_a_number_closed_unseen_goes_nowhere),
		T(nothing_is_held_on_a_stream_that_closes),
		T(a_bypassed_stream_is_flushed_and_left_alone),
		T(a_fork_shares_all_a_spawn_what_it_inherits),
		T(options_are_asked_again),
		T(without_memory_a_number_is_plain),
		T(what_was_asked_while_it_was_set_is_not_remembered),
		T(what_a_handler_has_met_is_not_met_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
