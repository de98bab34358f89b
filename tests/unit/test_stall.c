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
	stall_over(A);
	fake.now_ns += 500 * MS;
	app_write(s, "a");
	assert_int_equal(stalled_ns(s), 20 * MS);
}

static void
a_write_that_fails_ends_it(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	nonblocking(s);
	fake_script(&fake.fd[A], -EAGAIN);
	app_write(s, "a");
	fake.now_ns += 20 * MS;
	fake_script(&fake.fd[A], -EPIPE);
	assert_int_equal(app_write(s, "a"), -EPIPE);
	fake.now_ns += 500 * MS;
	stream_forget(A);
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
	stall_may_wait(s, fake.now_ns);
	stall_returned(s, fake.now_ns, fake.now_ns + 7 * MS, true);
	assert_int_equal(events(s), 1);
	assert_int_equal(stalled_ns(s), 7 * MS);
	assert_int_equal(s->stalled, 0);
}

/* The one that returns first has counted until then. */
static void
two_threads_that_waited_count_no_more_than_there_was(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);
	int64_t start = fake.now_ns;

	(void)state;
	stall_may_wait(s, start);
	stall_may_wait(s, start + MS);
	stall_returned(s, start + MS, start + 8 * MS, true);
	stall_returned(s, start, start + 9 * MS, true);
	assert_int_equal(events(s), 1);
	assert_int_equal(stalled_ns(s), 7 * MS);
}

static void
a_look_finds_the_write_that_waits(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);
	int64_t start = fake.now_ns;

	(void)state;
	stall_may_wait(s, start);
	fake.now_ns += 200 * MS;
	stall_look(0);
	assert_int_equal(events(s), 1);
	assert_int_equal(s->rec->rare[SENT].stall_since_ns, start);
	assert_int_equal(s->rec->blocked, CAUSE_PEER);
	fake.now_ns += 100 * MS;
	stall_returned(s, start, fake.now_ns, true);
	assert_int_equal(events(s), 1);
	assert_int_equal(stalled_ns(s), 300 * MS);
	assert_int_equal(s->stalled, 0);
	fake.now_ns += 100 * MS;
	stall_look(100 * MS);
	assert_int_equal(events(s), 1);
}

/* The peer reads a little, then stops again: the write goes on waiting. */
static void
a_write_waits_twice(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);
	int64_t start = fake.now_ns;

	(void)state;
	stall_may_wait(s, start);
	fake.now_ns += 200 * MS;
	stall_look(0);
	stall_over(A);
	assert_int_equal(stalled_ns(s), 200 * MS);
	fake.now_ns += 50 * MS;
	stall_returned(s, start, fake.now_ns, true);
	assert_int_equal(events(s), 2);
	assert_int_equal(stalled_ns(s), 250 * MS);
}

static void
one_that_returned_at_once_is_no_episode(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	stall_may_wait(s, fake.now_ns);
	stall_returned(s, fake.now_ns, fake.now_ns, false);
	stall_look(0);
	assert_int_equal(events(s), 0);
	assert_int_equal(process->nr_stalled, 0);
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
cause_ns(const struct stream *s, enum cause cause)
{
	return s->rec->rare[SENT].cause_ns[cause] -
	       s->rec->rare_at_open[SENT].cause_ns[cause];
}

static struct stream *
accepted_with(struct tcp_info *info)
{
	struct stream *s = accepted(A, AF_INET);

	fake.fd[A].tcp_info = info;
	fake.fd[A].tcp_info_len = sizeof(*info);
	return s;
}

/* A snapshot has shown the episode, at which nobody has looked, as it was then; in truth the kernel had
 * been idle for long. A counter does not fall. */
static void
what_was_shown_stays(void **state)
{
	struct tcp_info info = { .tcpi_busy_time = 7000000 };
	struct stream *s = accepted_with(&info);

	(void)state;
	stall_begin(s);
	fake.now_ns += 100 * MS;
	region_get()->totals.shown_ns = (uint64_t)fake.now_ns - 20 * MS;
	info.tcpi_busy_time += 10000;
	info.tcpi_rwnd_limited += 10000;
	stall_end(s);
	region_get()->totals.shown_ns = 0;
	assert_int_equal(stalled_ns(s), 80 * MS);
	assert_int_equal(s->rec->rare[SENT].running_ns, 0);
}

static void
the_clock_that_grew_is_the_cause(void **state)
{
	struct tcp_info info = { .tcpi_busy_time = 7000000,
				 .tcpi_rwnd_limited = 5000000 };
	struct stream *s = accepted_with(&info);

	(void)state;
	stall_begin(s);
	assert_int_equal(s->rec->blocked, CAUSE_UNKNOWN);
	fake.now_ns += 100 * MS;
	info.tcpi_busy_time += 100000;
	info.tcpi_rwnd_limited += 70000;
	info.tcpi_sndbuf_limited += 20000;
	stall_look(0);
	assert_int_equal(s->rec->blocked, CAUSE_PEER);
	assert_int_equal(cause_ns(s, CAUSE_PEER), 70 * MS);
	assert_int_equal(cause_ns(s, CAUSE_LOCAL), 20 * MS);
	assert_int_equal(cause_ns(s, CAUSE_NETWORK), 10 * MS);
	assert_int_equal(stalled_ns(s), 100 * MS); /* it runs */
	stall_look(0);                             /* before any clock has moved */
	assert_int_equal(s->rec->blocked, CAUSE_PEER);
	/* Now all is the network's: the others keep what they were given. */
	fake.now_ns += 100 * MS;
	info.tcpi_busy_time += 100000;
	stall_end(s);
	assert_int_equal(stalled_ns(s), 200 * MS);
	assert_int_equal(cause_ns(s, CAUSE_PEER), 70 * MS);
	assert_int_equal(cause_ns(s, CAUSE_LOCAL), 20 * MS);
	assert_int_equal(cause_ns(s, CAUSE_NETWORK), 110 * MS);
}

/* A way of 40 ms, and of what may be on it half is. */
static const struct tcp_info half_used = { .tcpi_snd_mss = 1448,
					   .tcpi_unacked = 5,
					   .tcpi_snd_cwnd = 10,
					   .tcpi_rtt = 41000,
					   .tcpi_min_rtt = 40000 };

/* What of an episode of 80 ms that begins in the state `info`, and in which the kernel's clocks show
 * only that it was busy, is local. */
static uint64_t
local_ns(struct tcp_info info)
{
	struct stream *s = accepted_with(&info);
	uint64_t ns;

	stall_begin(s);
	fake.now_ns += 80 * MS;
	info = half_used; /* writable: the buffer is no longer full, and says nothing */
	info.tcpi_busy_time = 80000;
	stall_end(s);
	ns = cause_ns(s, CAUSE_LOCAL);
	assert_int_equal(ns + cause_ns(s, CAUSE_NETWORK), 80 * MS);
	stream_forget(A);
	return ns;
}

static void
a_full_buffer_that_leaves_the_way_half_used_is_local(void **state)
{
	struct tcp_info info = half_used;

	(void)state;
	assert_int_equal(local_ns(info), 80 * MS);
	info.tcpi_notsent_bytes = 1447; /* Nagle's */
	assert_int_equal(local_ns(info), 80 * MS);
	info.tcpi_notsent_bytes = 1448;
	assert_int_equal(local_ns(info), 0);
	info = half_used;
	info.tcpi_unacked = 10; /* the window is full */
	assert_int_equal(local_ns(info), 0);
	info = half_used;
	info.tcpi_rtt = 80000; /* queues are */
	assert_int_equal(local_ns(info), 0);
	info = half_used;
	info.tcpi_ca_state = TCP_CA_Recovery;
	assert_int_equal(local_ns(info), 0);
	assert_int_equal(local_ns((struct tcp_info){ 0 }), 0); /* an old kernel */
}

/* The state at a look holds from then on. */
static void
what_a_look_finds_starved_is_local_from_then_on(void **state)
{
	struct tcp_info info = half_used;
	struct stream *s = accepted_with(&info);

	(void)state;
	info.tcpi_notsent_bytes = 50000;
	stall_begin(s);
	for (int i = 0; i < 2; i++) {
		fake.now_ns += 40 * MS;
		info.tcpi_busy_time += 40000;
		info.tcpi_notsent_bytes = 0;
		stall_look(0);
		assert_int_equal(s->rec->blocked, i ? CAUSE_LOCAL : CAUSE_NETWORK);
	}
	stall_end(s);
	assert_int_equal(cause_ns(s, CAUSE_NETWORK), 40 * MS);
	assert_int_equal(cause_ns(s, CAUSE_LOCAL), 40 * MS);
}

/* No reading of when it began to wait: it has filled the buffer again by now. */
static void
a_call_that_waited_for_a_small_buffer_is_local(void **state)
{
	struct tcp_info info = half_used;
	struct stream *s = accepted_with(&info);

	(void)state;
	info.tcpi_busy_time = 90000000;
	stall_may_wait(s, fake.now_ns);
	stall_returned(s, fake.now_ns, fake.now_ns + 80 * MS, true);
	assert_int_equal(cause_ns(s, CAUSE_LOCAL), 80 * MS);
}

/* The clock steps once in two episodes; what is less than a step waits for the next. */
static void
short_episodes_are_carried_over(void **state)
{
	struct tcp_info info = { 0 };
	struct stream *s = accepted_with(&info);

	(void)state;
	for (int i = 1; i <= 200; i++) {
		stall_begin(s);
		fake.now_ns += 2 * MS;
		if (i % 2 == 0) {
			info.tcpi_busy_time += 4000;
			info.tcpi_rwnd_limited += 4000;
		}
		stall_end(s);
	}
	assert_int_equal(stalled_ns(s), 400 * MS);
	assert_int_equal(cause_ns(s, CAUSE_PEER), 400 * MS);
}

static void
what_waits_at_the_close_is_unknown(void **state)
{
	struct tcp_info info = { 0 };
	struct stream *s = accepted_with(&info);

	(void)state;
	stall_begin(s);
	fake.now_ns += 3 * MS;
	stall_end(s);
	assert_int_equal(cause_ns(s, CAUSE_UNKNOWN), 0);
	stall_close(s);
	assert_int_equal(cause_ns(s, CAUSE_UNKNOWN), 3 * MS);
	assert_int_equal(stalled_ns(s), 3 * MS);
	stall_close(s);
	assert_int_equal(cause_ns(s, CAUSE_UNKNOWN), 3 * MS);
}

static void
the_number_gets_another_stream(void)
{
	fake.on_tcp_info = NULL;
	stream_close_begin(A);
	stream_close_end(A);
	accepted(A, AF_INET);
}

/* While the keeper looks, another thread closes the stream and accepts the next on its number. */
static void
one_that_is_closed_during_a_look_keeps_its_figures(void **state)
{
	struct tcp_info info = { .tcpi_busy_time = 90000 };
	struct stream *s = accepted_with(&info);
	struct record *rec = s->rec;
	uint64_t before = rec->rare[SENT].stall_ns;

	(void)state;
	stall_begin(s);
	fake.now_ns += 50 * MS;
	info.tcpi_busy_time += 50000;
	fake.on_tcp_info = the_number_gets_another_stream;
	stall_look_episodes();
	assert_ptr_equal(fake.on_tcp_info, NULL);
	assert_int_equal(rec->rare[SENT].stall_ns - before, 50 * MS);
	assert_ptr_not_equal(s->rec, rec);
	assert_int_equal(process->nr_stalled, 0);
	assert_int_equal(events(s), 0);
	assert_int_equal(stalled_ns(s), 0);
	/* The next one's episodes are its own. */
	stall_begin(s);
	fake.now_ns += 3 * MS;
	stall_end(s);
	stall_close(s);
	assert_int_equal(stalled_ns(s), 3 * MS);
	assert_int_equal(cause_ns(s, CAUSE_UNKNOWN), 3 * MS);
}

static void
exit_ends_those_that_run(void **state)
{
	struct stream *a = accepted(A, AF_UNIX), *b = accepted(B, AF_UNIX);

	(void)state;
	stall_begin(a);
	stall_may_wait(b, fake.now_ns); /* another thread's write */
	fake.now_ns += 50 * MS;
	life_exit();
	assert_int_equal(stalled_ns(a), 50 * MS);
	assert_int_equal(cause_ns(a, CAUSE_PEER), 50 * MS);
	assert_int_equal(a->rec->rare[SENT].stall_since_ns, 0);
	assert_int_equal(events(b), 1);
	assert_int_equal(stalled_ns(b), 50 * MS);
	process->ended = false;
}

/* What was counted before is all that will be known. */
static void
exec_counts_those_that_run(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	stall_begin(s);
	fake.now_ns += 50 * MS;
	life_exec_begin();
	assert_int_equal(stalled_ns(s), 50 * MS);
	life_exec_failed();
	fake.now_ns += 50 * MS;
	stall_end(s);
	assert_int_equal(events(s), 1);
	assert_int_equal(stalled_ns(s), 100 * MS);
}

/* Nobody will see its end. */
static void
those_that_run_end_with_the_sandbox(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	stall_begin(s);
	fake.now_ns += 50 * MS;
	life_seccomp();
	assert_int_equal(stalled_ns(s), 50 * MS);
	assert_int_equal(s->rec->rare[SENT].stall_since_ns, 0);
}

/* What the clocks grew long before a call that waited is not that call's. */
static void
a_call_that_waited_has_a_cause(void **state)
{
	struct tcp_info info = { .tcpi_busy_time = 90000000,
				 .tcpi_rwnd_limited = 1000000 };
	struct stream *s = accepted_with(&info);

	(void)state;
	stall_may_wait(s, fake.now_ns);
	stall_returned(s, fake.now_ns, fake.now_ns + 1000 * (int64_t)MS, true);
	assert_int_equal(stalled_ns(s), 1000 * MS);
	assert_true(cause_ns(s, CAUSE_PEER) >= 990 * MS);
}

static void
a_unix_peer_is_the_cause(void **state)
{
	struct stream *s = accepted(A, AF_UNIX);

	(void)state;
	stall_begin(s);
	fake.now_ns += 30 * MS;
	stall_look(0);
	assert_int_equal(s->rec->blocked, CAUSE_PEER);
	assert_int_equal(cause_ns(s, CAUSE_PEER), 30 * MS);
	fake.now_ns += 1 * MS;
	stall_end(s);
	assert_int_equal(cause_ns(s, CAUSE_PEER), 31 * MS);
}

static void
the_look_notes_the_fullest_listener(void **state)
{
	struct tcp_info one = { .tcpi_state = 10, .tcpi_unacked = 3, .tcpi_sacked = 64 };
	struct tcp_info two = { .tcpi_state = 10, .tcpi_unacked = 5, .tcpi_sacked = 8 };

	(void)state;
	accepted(A, AF_INET);
	fake_socket(B, AF_INET);
	stream_made_socket(B, AF_INET, SOCK_STREAM, 0);
	stream_listening(B);
	fake.fd[LISTENER].tcp_info = &one;
	fake.fd[B].tcp_info = &two;
	fake.fd[LISTENER].tcp_info_len = fake.fd[B].tcp_info_len = sizeof(one);
	stall_look(0);
	assert_int_equal(region_member()->accept_queue, 5);
	assert_int_equal(region_member()->accept_limit, 8);
	one.tcpi_unacked = 60;
	stall_look(100);
	assert_int_equal(region_member()->accept_queue, 60);
	assert_int_equal(region_member()->accept_limit, 64);
	/* No listener any more, as far as the kernel knows. */
	one.tcpi_state = two.tcpi_state = 7;
	stall_look(100);
	assert_int_equal(region_member()->accept_queue, 0);
	assert_int_equal(region_member()->accept_limit, 0);
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
		T(a_write_that_fails_ends_it),
		T(a_late_application_is_no_slow_peer),
		T(a_short_write_begins_one_too),
		T(a_blocking_write_that_waited_is_an_episode),
		T(two_threads_that_waited_count_no_more_than_there_was),
		T(a_look_finds_the_write_that_waits),
		T(a_write_waits_twice),
		T(one_that_returned_at_once_is_no_episode),
		T(the_look_ends_those_of_writable_streams),
		T(what_was_shown_stays),
		T(the_clock_that_grew_is_the_cause),
		T(a_full_buffer_that_leaves_the_way_half_used_is_local),
		T(what_a_look_finds_starved_is_local_from_then_on),
		T(a_call_that_waited_for_a_small_buffer_is_local),
		T(short_episodes_are_carried_over),
		T(what_waits_at_the_close_is_unknown),
		T(one_that_is_closed_during_a_look_keeps_its_figures),
		T(exit_ends_those_that_run),
		T(exec_counts_those_that_run),
		T(those_that_run_end_with_the_sandbox),
		T(a_call_that_waited_has_a_cause),
		T(a_unix_peer_is_the_cause),
		T(the_look_notes_the_fullest_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
