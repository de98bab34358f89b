/* stream/keeper: made at the first hold, its alarm set only when idle, flushes what is overdue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static unsigned sleeps, stop_after;

/* The keeper sleeps: the clock goes on by itself; in the end it is told to stop. */
static void
count_sleep(void)
{
	if (++sleeps >= stop_after)
		*fake.waited = 2; /* STOPS */
}

static void
run_keeper(unsigned nr_sleeps)
{
	struct self app = self;

	sleeps = 0;
	stop_after = nr_sleeps;
	fake.on_sleep = count_sleep;
	self = (struct self){ 0 };
	fake.tid += 50;
	fake.thread();
	fake.tid -= 50;
	self = app;
	fake.on_sleep = NULL;
}

static void
none_before_the_first_hold(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	request(s);
	app_write(s, "1");
	assert_null(fake.thread);
	app_write(s, "2");
	assert_non_null(fake.thread);
	assert_string_equal(fake.thread_name, "weir-keeper");
	app_write(s, "3");
	assert_int_equal(fake.calls[FAKE_THREAD], 1);
}

static void
what_is_overdue_leaves(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	run_keeper(2);
	assert_sent(A, "1a");
	assert_int_equal(flushes(s, FLUSH_DELAY), 1);
}

static void
it_sleeps_until_the_oldest_byte_is_due(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);
	int64_t first = fake.now_ns;

	(void)state;
	hold(a, "a");
	fake.now_ns += MS;
	hold(b, "b");
	run_keeper(1);
	assert_int_equal(fake.alarm_ns, first + DELAY_US * 900);
	assert_held(a, 1);
}

/* Memory pressure. The writer may sleep in a read that only the held bytes would end. */
static void
what_the_kernel_refuses_is_tried_until_it_is_taken(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	for (int i = 0; i < 5; i++)
		fake_script(&fake.fd[A], -ENOBUFS);
	run_keeper(8);
	assert_sent(A, "1a");
}

/* It was taken for another socket's, and the stream forgotten with what it held. */
static void
a_cookie_that_cannot_be_asked_says_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint64_t cookie = fake.fd[A].cookie;

	(void)state;
	hold(s, "a");
	fake.fd[A].cookie = 0;
	run_keeper(3);
	assert_held(s, 1);
	fake.fd[A].cookie = cookie;
	*fake.waited = 0; /* ARMED, as if it had not been told to stop */
	run_keeper(2);
	assert_sent(A, "1a");
}

static void
an_alarm_that_cannot_be_set_is_a_sleep_that_ends_in_time(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	int64_t held = fake.now_ns;

	(void)state;
	hold(s, "a");
	fake_fail(FAKE_ALARM_SET, 1, EINVAL);
	run_keeper(1);
	assert_int_equal(fake.now_ns - held, DELAY_US * 900);
}

static void
a_hold_sets_its_alarm_only_when_it_is_idle(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	assert_int_equal(fake.calls[FAKE_ALARM_SET], 0);
	turn_flush();
	run_keeper(1); /* it has been idle by then */
	assert_int_equal(*fake.waited, 2);
	*fake.waited = 1; /* IDLE */
	app_write(s, "b");
	assert_held(s, 1);
	assert_int_equal(fake.calls[FAKE_ALARM_SET], 1);
	assert_int_equal(fake.alarm_ns, stream_cold(s)->first_ns + DELAY_US * 900);
	assert_int_equal(*fake.waited, 0);
	app_write(s, "c");
	assert_int_equal(fake.calls[FAKE_ALARM_SET], 1);
}

/* While the keeper sleeps, its alarm set for what thread and streams held at `then`. */
static void
sleeps_since(int64_t then)
{
	int64_t now = fake.now_ns;

	fake.now_ns = then;
	run_keeper(1);
	*fake.waited = 0; /* ARMED, as if it slept on */
	fake.now_ns = now;
}

static void
a_thread_that_owes_alone_puts_the_alarm_off(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	unsigned sets;

	(void)state;
	hold(s, "a");
	sleeps_since(fake.now_ns);
	turn_flush();
	sets = fake.calls[FAKE_ALARM_SET];
	app_write(s, "b"); /* it is not due for long */
	assert_held(s, 1);
	assert_int_equal(fake.calls[FAKE_ALARM_SET], sets);
	turn_flush();
	fake.now_ns += DELAY_US * 600;
	app_write(s, "c");
	assert_held(s, 1);
	assert_int_equal(fake.calls[FAKE_ALARM_SET], sets + 1);
	assert_int_equal(fake.alarm_ns, stream_cold(s)->first_ns + DELAY_US * 900);
}

static void
not_while_older_bytes_are_owed(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);
	unsigned sets;

	(void)state;
	hold(a, "a");
	a->awaited = 0;
	self.awaited = 0;
	sleeps_since(fake.now_ns);
	sets = fake.calls[FAKE_ALARM_SET];
	fake.now_ns += DELAY_US * 600;
	hold(b, "b");
	assert_held(a, 1);
	assert_int_equal(fake.calls[FAKE_ALARM_SET], sets);
	/* Nor while another thread owes some. */
	turn_flush();
	process->nr_owing++;
	app_write(b, "c");
	assert_held(b, 1);
	assert_int_equal(fake.calls[FAKE_ALARM_SET], sets);
	process->nr_owing--;
}

/* Another thread is in the middle of something on `a`, and a handler there computes. */
static void
see_to_others_than(struct stream *a, void (*stick)(struct stream *), void (*go_on)(void))
{
	struct stream *b = accepted(B, AF_INET);

	hold(a, "a");
	hold(b, "b");
	stick(a);
	run_keeper(8);
	assert_sent(B, "1b");
	assert_held(a, 1);
	go_on();
	*fake.waited = 0; /* ARMED, as if it had not been told to stop */
	run_keeper(2);
	assert_sent(A, "1a");
}

static struct stream *locked;

static void
lock(struct stream *s)
{
	locked = s;
	s->w |= UINT64_C(999) << (2 * W_BITS);
}

static void
unlock(void)
{
	locked->w = w_make(0, w_head(locked->w), w_tail(locked->w));
}

static void
nobody_else_waits_for_a_section_that_does_not_end(void **state)
{
	(void)state;
	see_to_others_than(accepted(A, AF_INET), lock, unlock);
}

static void
mark(struct stream *s)
{
	self.thread->hot = s;
}

static void
unmark(void)
{
	self.thread->hot = NULL;
}

static void
nobody_else_waits_for_an_append_that_does_not_end(void **state)
{
	(void)state;
	see_to_others_than(accepted(A, AF_INET), mark, unmark);
}

static void
a_number_that_became_another_socket_is_not_touched(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	fake.fd[A].cookie++;
	run_keeper(2);
	assert_sent(A, "1");
	assert_null(stream_known(A));
}

/* The keeper asked the kernel, then somebody closed the number and took it into use again. */
static void
a_number_in_use_again_keeps_what_it_holds(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint64_t cookie = stream_cold(s)->cookie;

	(void)state;
	s = accepted(A, AF_INET);
	assert_int_not_equal(stream_cold(s)->cookie, cookie);
	hold(s, "a");
	stream_forget_socket(A, cookie);
	assert_held(s, 1);
	assert_ptr_equal(stream_known(A), s);
}

/* It may sleep without a time-out then; a member's next sleep after the question wakes it, once. */
static void
an_idle_one_is_woken_when_somebody_asks(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint64_t *watched = &region_get()->totals.watched_ns;

	(void)state;
	hold(s, "a");
	turn_flush();
	run_keeper(1);
	*fake.waited = 1; /* IDLE */
	keeper_watch();
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 0);
	*watched = (uint64_t)fake.now_ns;
	keeper_watch();
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 1);
	keeper_watch();
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 1);
	*watched = 0;
}

/* It sweeps and looks, while who asked for that sleeps. */
static void
answer(void)
{
	int64_t then = fake.now_ns;

	run_keeper(1);
	fake.now_ns = then; /* its own sleep is not the asker's */
}

static void
a_snapshot_waits_for_a_look_but_not_for_long(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	int64_t then = fake.now_ns;

	(void)state;
	stall_begin(s);
	keeper_look_now(); /* nobody could look */
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 0);
	assert_int_equal(fake.now_ns, then);
	stall_end(s);
	hold(s, "a");
	keeper_look_now(); /* there is nothing to look at */
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 0);
	stall_begin(s);
	then = fake.now_ns;
	keeper_look_now(); /* it does not get to run */
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 1);
	assert_in_range(fake.now_ns - then, 20 * MS, 21 * MS);
	fake.fd[A].revents = POLLOUT;
	then = fake.now_ns;
	fake.on_sleep = answer;
	keeper_look_now();
	assert_int_equal(fake.calls[FAKE_ALARM_RING], 2);
	assert_true(fake.now_ns - then < 2 * MS);
	assert_int_equal(s->stalled, 0);
}

static void
a_stopped_one_comes_back_at_the_next_hold(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	keeper_stop(false);
	assert_null(fake.thread);
	turn_flush();
	app_write(s, "b");
	assert_held(s, 1);
	assert_non_null(fake.thread);
}

static void
ended_for_good_nothing_is_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	keeper_stop(true);
	assert_true(keeper_ended());
	assert_false(keeper_start());
	app_write(s, "1");
	app_write(s, "2");
	assert_sent(A, "12");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(none_before_the_first_hold),
		T(what_is_overdue_leaves),
		T(it_sleeps_until_the_oldest_byte_is_due),
		T(what_the_kernel_refuses_is_tried_until_it_is_taken),
		T(a_cookie_that_cannot_be_asked_says_nothing),
		T(an_alarm_that_cannot_be_set_is_a_sleep_that_ends_in_time),
		T(a_hold_sets_its_alarm_only_when_it_is_idle),
		T(a_thread_that_owes_alone_puts_the_alarm_off),
		T(not_while_older_bytes_are_owed),
		T(nobody_else_waits_for_a_section_that_does_not_end),
		T(nobody_else_waits_for_an_append_that_does_not_end),
		T(a_number_that_became_another_socket_is_not_touched),
		T(a_number_in_use_again_keeps_what_it_holds),
		T(an_idle_one_is_woken_when_somebody_asks),
		T(a_snapshot_waits_for_a_look_but_not_for_long),
		T(a_stopped_one_comes_back_at_the_next_hold),
		T(ended_for_good_nothing_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
