/*
 * The controls: bytes really are held where the other tests believe it. Without them
 * every other test of this directory would pass with a library that does nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
need_library(void)
{
	if (!harness_has_library())
		skip();
}

/* All bytes come when the actor has spun for 400 ms, or they are there at once. A processor that others have for a
 * while makes both wrong: the keeper is a second away. */
static void
check_hold(const struct scenario *s, enum kind kind, enum half half, int held)
{
	struct run run;

	for (int i = 1;; i++) {
		int late;

		scenario_run(&run, s, kind, half);
		assert_string_equal(run.bytes, PREFIX);
		assert_string_equal(run.err, "");
		late = scenario_late(&run, run.len);
		if (held ? late >= 390 : late <= 300)
			break;
		if (i == SCENARIO_TRIES) {
			run_explain(&run);
			fail_msg("%s: all bytes were there after %d ms",
				 half == NATIVE ? "native" : "preloaded", late);
		}
		run_finish(&run);
	}
	run_finish(&run);
}

/* Natively the turn's bytes come at once; preloaded they stay as long as the thread
 * computes, and come with its end. */
static void
small_writes_are_held_while_the_thread_computes(void **state)
{
	const struct scenario s = { .command = "hold" };

	(void)state;
	need_library();
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_CONNECT; kind++) {
		check_hold(&s, kind, NATIVE, 0);
		check_hold(&s, kind, PRELOADED, 1);
	}
}

struct figures {
	double app, kernel, bytes;
};

static struct figures
read_figures(const struct run *run)
{
	char *body = metrics_get(run, "/metrics", HANG_MS);
	struct figures f;

	assert_non_null(body);
	f.app = metrics_sum(body, "weir_app_writes_total");
	f.kernel = metrics_sum(body, "weir_kernel_writes_total");
	f.bytes = metrics_sum(body, "weir_sent_bytes_total");
	free(body);
	return f;
}

static void
check_figures(struct run *run, size_t all)
{
	struct figures f = read_figures(run);

	/* A snapshot may be as old as a second. */
	for (int i = 0; i < HANG_MS / 100 && f.bytes < (double)all; i++) {
		run_for(run, 100);
		f = read_figures(run);
	}
	if (f.app != 1005 || f.kernel < 1 || f.kernel > 20 || f.bytes != (double)all) {
		run_explain(run);
		fail_msg("%g writes of the program, %g to the kernel, %g of %zu bytes",
			 f.app, f.kernel, f.bytes, all);
	}
}

/* The same in the library's own figures. */
static void
held_writes_are_fewer_calls_to_the_kernel(void **state)
{
	const char *args[] = { "1000", NULL };
	struct options options = { .half = PRELOADED, .command = "writes", .args = args };
	size_t all = strlen(PREFIX) + 1000 * strlen("record;");
	struct run run;

	(void)state;
	need_library();
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_CONNECT; kind++) {
		options.kind = kind;
		run_start(&run, &options);
		assert_true(run_until_log(&run, "written", HANG_MS));
		assert_true(run_until_bytes(&run, all, HANG_MS));
		check_figures(&run, all);
		run_wake(&run);
		assert_true(run_until_over(&run, HANG_MS));
		run_finish(&run);
	}
}

/* Where libc says that there is one thread, what threads share is counted without a lock: the calls, and
 * who is reading a stream. So it must not be where another one was made past libc, or nothing would
 * be read ahead any more, or what another thread is just reading. */
static void
a_thread_that_libc_does_not_know_is_one_more(void **state)
{
	const char *args[] = { "4000", NULL };
	struct options options = { .half = PRELOADED,
				   .kind = TCP_ACCEPT,
				   .command = "unknown-thread",
				   .args = args };
	double saved = 0;
	struct run run;

	(void)state;
	need_library();
	if (harness_sanitized()) /* they want each made by pthread_create() */
		skip();
	run_start(&run, &options);
	assert_true(run_until_log(&run, "looked", HANG_MS));
	scenario_send_records(&run, 0, 4000);
	assert_true(run_until_log(&run, "read", HANG_MS));
	/* A snapshot may be as old as a second. */
	for (int i = 0; i < HANG_MS / 100 && saved < 2000; i++) {
		char *body = metrics_get(&run, "/metrics", HANG_MS);

		assert_non_null(body);
		saved = metrics_sum(body, "weir_app_read_size_bytes_count") -
			metrics_sum(body, "weir_kernel_read_size_bytes_count");
		free(body);
		run_for(&run, 100);
	}
	if (saved < 2000)
		fail_msg("of 4000 reads %g were saved", saved);
	run_wake(&run);
	assert_true(run_until_over(&run, HANG_MS));
	run_finish(&run);
}

/* One request at a time, each answered by a worker in two writes. Returns how many times bytes were held. */
static double
holds_of_worker(const char *how)
{
	const char *args[] = { how, NULL };
	struct options options = {
		.half = PRELOADED, .kind = TCP_ACCEPT, .command = "worker", .args = args
	};
	double holds = 0, bytes = 0;
	struct run run;

	run_start(&run, &options);
	for (int i = 0; i < 20; i++) {
		scenario_send_records(&run, i, 1);
		assert_true(run_until_bytes(&run, 10 * (size_t)(i + 1), HANG_MS));
		run_for(&run, 5); /* so that the worker waits again */
	}
	/* A snapshot may be as old as a second. */
	for (int i = 0; i < HANG_MS / 100 && bytes < 200; i++) {
		char *body = metrics_get(&run, "/metrics", HANG_MS);

		assert_non_null(body);
		bytes = metrics_sum(body, "weir_sent_bytes_total");
		holds = metrics_sum(body, "weir_write_hold_seconds_count");
		free(body);
		run_for(&run, 100);
	}
	assert_true(bytes == 200);
	run_wake(&run);
	assert_true(run_until_over(&run, HANG_MS));
	run_finish(&run);
	return holds;
}

/* Two writes of a worker are left alone where neither waits for the peer; the first reply is held, for by that it
 * is known. */
static void
two_writes_of_a_worker_are_held_where_they_would_wait(void **state)
{
	(void)state;
	need_library();
	if (harness_sanitized()) /* ThreadSanitizer's condition variables go past the library */
		skip();
	assert_in_range(holds_of_worker("nodelay"), 0, 3);
	assert_in_range(holds_of_worker("cleared"), 8, 13);
	assert_in_range(holds_of_worker("plain"), 18, 20);
}

/* What must never be held: a chunk size of 0, a delay of 0, no pool, switched off. */
static void
settings_that_hold_nothing_hold_nothing(void **state)
{
	static const char *const settings[][3] = {
		{ "STREAM_ENABLED=0" },
		{ "STREAM_PROGRAMS=other*" },
		{ "STREAM_REQUEST_CHUNK_SIZE=0", "STREAM_RESPONSE_CHUNK_SIZE=0" },
		{ "STREAM_FLUSH_DELAY_US=0" },
		{ "STREAM_BUFFER_POOL_MAX_BYTES=0" },
	};

	(void)state;
	need_library();
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		struct scenario s = { .command = "hold" };

		memcpy(s.env, settings[i], sizeof settings[i]);
		check_hold(&s, TCP_ACCEPT, PRELOADED, 0);
	}
}

/* Each direction has a chunk size of its own. */
static void
each_direction_has_its_chunk_size(void **state)
{
	const struct scenario s = { .command = "hold",
				    .env = { "STREAM_RESPONSE_CHUNK_SIZE=0" } };

	(void)state;
	need_library();
	/* An accepted stream sends responses, a connected one requests. */
	check_hold(&s, TCP_ACCEPT, PRELOADED, 0);
	check_hold(&s, TCP_CONNECT, PRELOADED, 1);
}

#define CASE(name) cmocka_unit_test_teardown(name, harness_clean)

static const struct CMUnitTest tests[] = {
	CASE(small_writes_are_held_while_the_thread_computes),
	CASE(held_writes_are_fewer_calls_to_the_kernel),
	CASE(a_thread_that_libc_does_not_know_is_one_more),
	CASE(two_writes_of_a_worker_are_held_where_they_would_wait),
	CASE(settings_that_hold_nothing_hold_nothing),
	CASE(each_direction_has_its_chunk_size),
};

int
main(void)
{
	return scenario_main_with("held", NULL, 0, tests, sizeof tests / sizeof *tests);
}
