/* stream/writer: what is held, what is not, and what the application is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static void
a_one_write_reply_is_never_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	for (int i = 0; i < 5; i++) {
		request(s);
		assert_int_equal(app_write(s, "reply"), 5);
		assert_held(s, 0);
		wait_sleep();
	}
	assert_int_equal(fake.calls[FAKE_FLY], 0);
	assert_int_equal(in_use(), 0);
	assert_null(fake.thread); /* so there is no keeper either */
}

static void
second_small_write_of_a_turn_is_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	assert_int_equal(app_write(s, "head "), 5);
	assert_sent(A, "head ");
	assert_int_equal(app_write(s, "body "), 5);
	assert_int_equal(app_write(s, "tail"), 4);
	assert_held(s, 9);
	assert_sent(A, "head ");
	wait_sleep();
	assert_sent(A, "head body tail");
	assert_int_equal(fake.calls[FAKE_FLY], 1);
}

static void
more_is_a_promise_of_more(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	assert_int_equal(app_send(s, "head ", 5, MSG_MORE), 5);
	assert_held(s, 5);
	assert_int_equal(app_write(s, "body"), 4);
	wait_sleep();
	assert_sent(A, "head body");
}

static void
no_room_means_a_native_write(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	assert_int_equal(app_write(s, "head "), 5);
	fake.fd[A].meminfo[5] =
		fake.fd[A].meminfo[3] - 2304; /* as much as a hold needs, but */
	s->room = 0;
	assert_int_equal(app_write(s, "body "), 5); /* for its own bytes */
	assert_held(s, 0);
	assert_sent(A, "head body ");
	fake.fd[A].meminfo[5] = 0;
	assert_int_equal(app_write(s, "tail"), 4); /* asked again at the next */
	assert_held(s, 4);
}

static void
what_was_charged_leaves_less_room(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	int asked;

	(void)state;
	fake.fd[A].charge = true;
	request(s);
	app_write(s, "1");
	asked = (int)fake.calls[FAKE_GETSOCKOPT];
	for (int i = 0; i < 10; i++) {
		app_write(s, "x");
		wait_sleep();
		request(s);
		app_write(s, "1");
	}
	assert_true((int)fake.calls[FAKE_GETSOCKOPT] - asked < 3); /* not at each hold */
}

static void
a_connected_stream_holds_only_after_a_whole_write(void **state)
{
	struct fake_fd *f = fake_socket(A, AF_INET);
	struct stream *s;

	(void)state;
	stream_made_socket(A, AF_INET, SOCK_STREAM, 0);
	stream_connected(A);
	s = stream_known(A);
	nonblocking(s);
	fake_script(f, -EAGAIN); /* connecting */
	assert_int_equal(app_send(s, "a", 1, MSG_MORE), -EAGAIN);
	fake_script(f, 1);
	assert_int_equal(app_send(s, "ab", 2, MSG_MORE), 1);
	assert_held(s, 0);
	assert_int_equal(app_send(s, "b", 1, MSG_MORE), 1);
	assert_held(s, 0);
	assert_int_equal(app_send(s, "c", 1, MSG_MORE), 1);
	assert_held(s, 1);
	wait_sleep();
	assert_sent(A, "abc");
}

static void
a_big_write_goes_behind_what_is_held_in_one_call(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct fake_fd *f = &fake.fd[A];

	(void)state;
	hold(s, "held");
	assert_int_equal(app_send(s, big, CHUNK + 1, 0), CHUNK + 1);
	assert_held(s, 0);
	assert_int_equal(fake.calls[FAKE_FLY], 1);
	assert_int_equal(f->nr_sent, 5 + CHUNK + 1);
	assert_memory_equal(f->sent, "1held", 5);
	assert_memory_equal(f->sent + 5, big, CHUNK + 1);
	assert_int_equal(flushes(s, FLUSH_LARGE), 1);
	/* Nobody looks twice at it: a chunk was begun for each begun 32 KiB. */
	assert_int_equal(s->rec->flow[SENT].chunks - s->rec->flow_at_open[SENT].chunks,
			 2);
}

static void
a_big_write_alone_is_native(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	app_write(s, "1");
	assert_int_equal(app_send(s, big, CHUNK, 0), CHUNK);
	assert_int_equal(fake.calls[FAKE_FLY], 0);
	assert_held(s, 0);
}

static void
a_big_write_cut_short_tells_its_own_part(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	nonblocking(s);
	hold(s, "held");
	fake_script(&fake.fd[A], 4 + 100);
	assert_int_equal(app_send(s, big, CHUNK, 0), 100);
	assert_held(s, 0);
	assert_int_equal(s->stalled, 1);
	hold(s, "x");
	fake_script(&fake.fd[A], 1);
	fake_script(&fake.fd[A], -EAGAIN);
	assert_int_equal(app_send(s, big, CHUNK, 0), -EAGAIN); /* none of its own */
	assert_int_equal(app_send(s, big, CHUNK, 0), CHUNK);
	assert_int_equal(s->stalled, 0);
}

static void
a_blocking_big_write_waits_for_its_rest(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], 4 + 100);
	assert_int_equal(app_send(s, big, CHUNK, 0), CHUNK);
	assert_int_equal(fake.fd[A].nr_sent, 5 + CHUNK);
	assert_memory_equal(fake.fd[A].sent + 5, big, CHUNK);
}

static void
an_interrupted_rest_is_a_short_count(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "held");
	fake_script(&fake.fd[A], 4 + 100);
	fake_script(&fake.fd[A], -EINTR);
	assert_int_equal(app_send(s, big, CHUNK, 0), 100);
	hold(s, "x");
	fake_script(&fake.fd[A], 1);
	fake_script(&fake.fd[A], -EINTR);
	assert_int_equal(app_send(s, big, CHUNK, 0), -EINTR);
}

static void
what_is_held_moves_up_the_tiers(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "x");
	assert_int_equal(s->tier, 0);
	for (int i = 0; i < 40; i++)
		assert_int_equal(app_send(s, big, 500, 0), 500);
	assert_int_equal(s->tier, tier_for(20001));
	assert_held(s, 20001);
	assert_int_equal(in_use(), 1);
	wait_sleep();
	assert_int_equal(fake.calls[FAKE_FLY], 1);
	assert_memory_equal(fake.fd[A].sent, "1x", 2);
	for (int i = 0; i < 40; i++)
		assert_memory_equal(fake.fd[A].sent + 2 + 500 * i, big, 500);
	assert_int_equal(in_use(), 0);
	request(s);
	app_write(s, "y"); /* begins where the last one ended */
	assert_held(s, 1);
	assert_int_equal(s->tier, tier_for(20001));
}

static void
a_full_chunk_leaves_as_one(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "x");
	for (int i = 0; i < 4; i++)
		app_send(s, big, 10000, 0);
	assert_int_equal(flushes(s, FLUSH_FULL), 1);
	assert_held(s, 10000);
	assert_int_equal(fake.fd[A].nr_sent, 1 + 30001);
}

static void
nothing_is_held_above_the_cap_of_the_pool(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	pool_trim(self.tid); /* the first one after a get only notes that there was one */
	pool_trim(self.tid);
	settings.pool_max = 1; /* less than any chunk */
	request(s);
	app_write(s, "1");
	assert_int_equal(app_write(s, "2"), 1);
	assert_held(s, 0);
	assert_sent(A, "12");
}

/* It may be of a client of whom more is to be read, and so not awaited. */
static void
at_the_cap_what_the_thread_holds_leaves_before_a_write_is_refused(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);
	char *taken[256];
	unsigned nr = 0;

	(void)state;
	hold(a, "a");
	a->awaited = 0;
	self.awaited = 0;
	settings.pool_max = 4096;
	while (nr < 256 && (taken[nr] = pool_get(0, turn_cache(), self.tid)))
		nr++;
	assert_in_range(nr, 0, 255);
	hold(b, "b");
	assert_held(a, 0);
	assert_sent(A, "1a");
	while (nr)
		pool_put(taken[--nr], 0, turn_cache(), self.tid);
}

/* A handler may have come between the two looks at self. */
static void
the_record_tells_whose_chunk_it_is(void **state)
{
	struct stream *a = accepted(A, AF_INET);

	(void)state;
	accepted(B, AF_INET);
	hold(a, "a");
	assert_ptr_equal(self.hot, a);
	self.hot_fd = B;
	assert_int_equal(writer_append_hot(B, "b", 1), 0);
	assert_held(a, 1);
	self.hot_fd = A;
	assert_int_equal(writer_append_hot(A, "b", 1), 1);
	assert_held(a, 2);
}

static void
pieces_are_appended_in_their_order(void **state)
{
	struct stream *a = accepted(A, AF_INET);
	struct iovec iov[] = { { "b", 1 }, { NULL, 0 }, { "cd", 2 } };
	uint64_t w;

	(void)state;
	assert_false(writer_append(a, iov, 3, 3)); /* nothing is held */
	request(a);
	hold(a, "a");
	assert_true(writer_append(a, iov, 3, 3));
	assert_held(a, 4);
	w = stream_word(a);
	iov[1].iov_len = a->cap; /* more than there is place for */
	assert_false(writer_append(a, iov, 3, 3 + iov[1].iov_len));
	assert_int_equal(stream_word(a), w);
	stream_flush(a, FLUSH_ORDER);
	assert_sent(A, "1abcd");
}

static void
the_last_stream_is_found_again_while_it_is_that(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);
	struct stream *c = accepted(C, AF_INET);

	(void)state;
	hold(a, "a"); /* so that the thread has a tally */
	assert_ptr_equal(stream_quick(A), a);
	assert_ptr_equal(stream_quick(B), b);
	assert_true(self.last[A % 2] == a && self.last[B % 2] == b);
	assert_ptr_equal(stream_quick(C), c); /* odd, as A */
	assert_true(self.last[A % 2] == c && self.last[B % 2] == b);
	assert_ptr_equal(stream_quick(A), a);
	stream_close_begin(A);
	assert_null(stream_quick(A));
	stream_close_end(A);
	assert_null(stream_quick(A));
	stream_quick(B);
	turn_thread_end();
	assert_null(stream_quick(B)); /* no tally: nothing is quick */
}

static void
a_chunk_of_0_and_a_delay_of_0_hold_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	settings.delay_us = 0;
	app_write(s, "1");
	app_write(s, "2");
	assert_sent(A, "12");
	settings.delay_us = DELAY_US;
	settings.response_chunk = 0;
	app_write(s, "3");
	app_write(s, "4");
	assert_sent(A, "1234");
	assert_held(s, 0);
}

static void
a_closed_gate_means_native_writes(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "2");
	life_shut(FLUSH_SHARE);
	assert_sent(A, "12");
	assert_int_equal(app_write(s, "3"), 1);
	assert_sent(A, "123");
	life_open();
	assert_int_equal(app_write(s, "4"), 1);
	assert_held(s, 1);
}

static void
without_a_keeper_nothing_is_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	fake_fail(FAKE_THREAD, 1, EAGAIN);
	app_write(s, "1");
	assert_int_equal(app_write(s, "2"), 1);
	assert_sent(A, "12");
	assert_int_equal(s->mode, MODE_BYPASSED);
	assert_int_equal(s->rec->bypass, BYPASS_THREAD);
}

static void
notsent_lowat_is_never_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	stream_option(A, OPTION_NOTSENT, true);
	app_write(s, "1");
	app_write(s, "2");
	assert_sent(A, "12");
}

static void
vectors_are_gathered_in_order(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct iovec iov[12];
	ssize_t r = 0;

	(void)state;
	for (int i = 0; i < 12; i++)
		iov[i] = (struct iovec){ "abcdefghijkl" + i, 1 };
	app_write(s, "1");
	assert_true(writer_take(s, iov, 12, 0, &r));
	assert_int_equal(r, 12);
	assert_held(s, 12);
	wait_sleep();
	assert_sent(A, "1abcdefghijkl");
}

static void
a_stream_of_two_writers_keeps_the_order_of_calls(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct self first;

	(void)state;
	hold(s, "2");
	first = self;
	self = (struct self){ 0 };
	fake.tid++;
	self_enter();
	assert_int_equal(app_write(s, "3"), 1); /* another thread's: flushes before */
	assert_sent(A, "12");
	assert_held(s, 1);
	turn_thread_end();
	assert_sent(A, "123");
	self = first;
	fake.tid--;
}

/* Of each kernel call of a life that holds, grows, flushes and closes, the k-th fails, with each
 * errno that it may: the peer gets the exact bytes, or the application the error. */
static void
run_life(void)
{
	struct stream *s = accepted(A, AF_INET);
	size_t told = 1;

	request(s);
	if (app_write(s, "1") != 1)
		told = 0;
	for (int i = 0; told && i < 12; i++) {
		ssize_t r = app_send(s, big, 700, 0);

		if (r != 700)
			break;
		told += (size_t)r;
	}
	wait_sleep();
	stream_close_begin(A);
	if (fake.fd[A].nr_sent >= told)
		assert_true(fake.fd[A].nr_sent == told);
	else /* then it must have been said somewhere */
		assert_true(s->rec->flow[SENT].discarded >
			    s->rec->flow_at_open[SENT].discarded);
	for (size_t i = 1; i < fake.fd[A].nr_sent; i++)
		assert_int_equal(fake.fd[A].sent[i], big[(i - 1) % 700]);
	stream_close_end(A);
}

static void
any_call_may_fail(void **state)
{
	static const enum fake_call call[] = { FAKE_FLY,        FAKE_POLL,
					       FAKE_GETSOCKOPT, FAKE_SETSOCKOPT,
					       FAKE_FCNTL,      FAKE_MAP,
					       FAKE_WIPE };
	static const int err[] = { EAGAIN, ENOBUFS, ENOMEM, EINTR, EPIPE, ECONNRESET };

	for (unsigned c = 0; c < sizeof(call) / sizeof(*call); c++)
		for (unsigned e = 0; e < sizeof(err) / sizeof(*err); e++)
			for (unsigned k = 1; k < 12; k++) {
				if (call[c] == FAKE_FLY && err[e] == EINTR)
					continue; /* a flight never sleeps */
				fake_fail(call[c], k, err[e]);
				run_life();
				assert_int_equal(nothing_is_left(state), 0);
				fresh(state);
			}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(a_one_write_reply_is_never_held),
		T(second_small_write_of_a_turn_is_held),
		T(more_is_a_promise_of_more),
		T(no_room_means_a_native_write),
		T(what_was_charged_leaves_less_room),
		T(a_connected_stream_holds_only_after_a_whole_write),
		T(a_big_write_goes_behind_what_is_held_in_one_call),
		T(a_big_write_alone_is_native),
		T(a_big_write_cut_short_tells_its_own_part),
		T(a_blocking_big_write_waits_for_its_rest),
		T(an_interrupted_rest_is_a_short_count),
		T(what_is_held_moves_up_the_tiers),
		T(a_full_chunk_leaves_as_one),
		T(nothing_is_held_above_the_cap_of_the_pool),
		T(a_chunk_of_0_and_a_delay_of_0_hold_nothing),
		T(a_closed_gate_means_native_writes),
		T(at_the_cap_what_the_thread_holds_leaves_before_a_write_is_refused),
		T(the_record_tells_whose_chunk_it_is),
		T(pieces_are_appended_in_their_order),
		T(the_last_stream_is_found_again_while_it_is_that),
		T(notsent_lowat_is_never_held),
		T(vectors_are_gathered_in_order),
		T(a_stream_of_two_writers_keeps_the_order_of_calls),
		T(any_call_may_fail),
		T(without_a_keeper_nothing_is_held), /* last: it is for good */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
