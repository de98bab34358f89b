/* stream/section: what a handler that interrupts a section finds, does and leaves. A handler is a
 * call made here between two steps of the section, or within a flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static struct stream *interrupted;
static bool when_taken;

static void
write_from_handler(bool taken)
{
	if (taken != when_taken)
		return;
	fake.on_fly = NULL;
	assert_int_equal(app_write(interrupted, "handler"), 7);
}

/* Deeper on the stack than what it interrupted, as a handler is. */
static __attribute__((noinline)) void
handler_writes(struct stream *s)
{
	volatile char signal_frame[4096];

	signal_frame[0] = signal_frame[sizeof(signal_frame) - 1] = 0;
	for (int i = 0; i < 3; i++) {
		app_write(s, "x");
		assert_true(section_settled(s));
		assert_held(s, 0);
	}
	(void)signal_frame[0];
}

static void
a_section_left_alone_is_ours(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	section_enter(s);
	assert_true(section_ours(s));
	assert_ptr_equal(self.inside, s);
	assert_true(section_leave(s));
	assert_null(self.inside);
	assert_int_equal(w_holder(stream_word(s)), 0);
}

static void
a_handler_settles_sends_and_goes_native(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	assert_int_equal(app_write(s, "handler"), 7);
	assert_sent(A, "1heldhandler");
	assert_false(section_ours(s));
	assert_true(section_settled(s));
	assert_int_equal(in_use(), 1); /* left to the interrupted copy */
	assert_false(section_commit(s, 0, 9));
	assert_false(section_leave(s));
	assert_false(section_settled(s));
	assert_int_equal(in_use(), 0);
	hold(s, "again");
}

static void
nothing_is_held_while_settled(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	handler_writes(s);
	s->owner = self.tid; /* what the interrupted section may yet store */
	s->cap = 100000;
	section_leave(s);
	assert_int_equal(s->cap, 0);
	assert_int_equal(s->owner, 0);
	assert_sent(A, "1heldxxx");
}

static void
a_flight_that_went_is_not_sent_again(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow was = s->rec->flow[SENT];

	(void)state;
	hold(s, "held");
	interrupted = s;
	when_taken = true;
	fake.on_fly = write_from_handler;
	assert_int_equal(stream_flush(s, FLUSH_ORDER), 0);
	assert_sent(A, "1heldhandler");
	assert_int_equal(s->rec->flow[SENT].kernel_bytes - was.kernel_bytes, 4);
	assert_int_equal(s->rec->flow[SENT].native_bytes - was.native_bytes, 1 + 7);
	assert_int_equal(in_use(), 0);
}

static void
a_flight_that_had_not_begun_is_cancelled(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow was = s->rec->flow[SENT];

	(void)state;
	hold(s, "held");
	interrupted = s;
	when_taken = false;
	fake.on_fly = write_from_handler;
	assert_int_equal(stream_flush(s, FLUSH_ORDER), 0);
	assert_sent(A, "1heldhandler");
	assert_int_equal(s->rec->flow[SENT].kernel_bytes - was.kernel_bytes, 4);
	assert_int_equal(s->rec->flow[SENT].native_bytes - was.native_bytes, 1 + 7);
}

static void
own_bytes_that_went_are_told_once(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow was = s->rec->flow[SENT];

	(void)state;
	hold(s, "held");
	interrupted = s;
	when_taken = true;
	fake.on_fly = write_from_handler;
	assert_int_equal(app_send(s, big, CHUNK, 0), CHUNK);
	assert_int_equal(fake.fd[A].nr_sent, 5 + CHUNK + 7);
	assert_memory_equal(fake.fd[A].sent + 5 + CHUNK, "handler", 7);
	assert_int_equal(s->rec->flow[SENT].app_bytes - was.app_bytes, CHUNK);
	assert_int_equal(s->rec->flow[SENT].native_bytes - was.native_bytes, 1 + 7);
}

static void
own_bytes_of_a_cancelled_flight_follow(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	interrupted = s;
	when_taken = false;
	fake.on_fly = write_from_handler;
	assert_int_equal(app_send(s, big, CHUNK, 0), CHUNK);
	assert_int_equal(fake.fd[A].nr_sent, 5 + 7 + CHUNK);
	assert_memory_equal(fake.fd[A].sent, "1heldhandler", 12);
	assert_memory_equal(fake.fd[A].sent + 12, big, CHUNK);
}

static void
a_short_flight_is_taken_up(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	interrupted = s;
	when_taken = true;
	fake_script(&fake.fd[A], 3);
	fake.on_fly = write_from_handler;
	stream_flush(s, FLUSH_ORDER);
	assert_sent(A, "1heldhandler");
}

/* The handler turns to another stream: it must not sit on the lock of the first. */
static void
a_write_to_another_stream_settles_as_well(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	hold(b, "b");
	hold(a, "a");
	section_enter(a);
	assert_int_equal(app_write(b, "more"), 4);
	assert_false(section_ours(a));
	assert_sent(A, "1a");
	assert_false(section_leave(a));
}

static void
a_jump_out_is_noticed_by_the_next_hold(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	section_settle(); /* as siglongjmp does; nobody leaves this section */
	assert_true(section_settled(s));
	assert_int_equal(app_write(s, "x"), 1);
	assert_false(section_settled(s));
	assert_held(s, 1);
	assert_int_equal(in_use(), 1);
}

static void
the_end_of_a_thread_waits_for_nobody(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	turn_thread_end();
	assert_false(section_settled(s));
	assert_sent(A, "1held");
	assert_int_equal(in_use(), 0);
}

static void
an_error_met_while_settling_is_kept(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	fake_script(&fake.fd[A], -ECONNRESET);
	section_settle();
	section_leave(s);
	assert_held(s, 0);
	assert_int_equal(stream_error(s), ECONNRESET);
}

static void
what_is_refused_while_settling_stays(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter(s);
	fake_script(&fake.fd[A], -EAGAIN);
	section_settle();
	assert_held(s, 4);
	section_leave(s);
	assert_held(s, 4);
	assert_int_equal(app_write(s, "x"), 1); /* behind it */
	turn_flush();
	assert_sent(A, "1heldx");
}

/* A reset number is another socket: what its last user held must not go there. */
static void
a_dropping_section_holds_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	section_enter_dropping(s);
	section_settle();
	section_leave(s);
	assert_sent(A, "1");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(a_section_left_alone_is_ours),
		T(a_handler_settles_sends_and_goes_native),
		T(nothing_is_held_while_settled),
		T(a_flight_that_went_is_not_sent_again),
		T(a_flight_that_had_not_begun_is_cancelled),
		T(own_bytes_that_went_are_told_once),
		T(own_bytes_of_a_cancelled_flight_follow),
		T(a_short_flight_is_taken_up),
		T(a_write_to_another_stream_settles_as_well),
		T(a_jump_out_is_noticed_by_the_next_hold),
		T(the_end_of_a_thread_waits_for_nobody),
		T(an_error_met_while_settling_is_kept),
		T(what_is_refused_while_settling_stays),
		T(a_dropping_section_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
