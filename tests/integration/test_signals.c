/* Handlers, jumps, cancellation, threads: records whole, each writer's in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RECORD 8

/* The next record's number if it is one of that writer's, or -1. */
static int
record_number(const char *at, char *who)
{
	*who = at[0];
	for (int i = 1; i < 7; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -1;
	}
	return at[7] == ';' ? atoi(at + 1) : -1;
}

struct count {
	int nr, next, gaps;
};

/*
 * Reads PREFIX, records, "end;". Numbers of a writer never go back; each one left out
 * counts as a gap. False at the first torn record or number out of order.
 */
static int
parse(const struct run *run, struct count counts[128])
{
	const char *at = run->bytes + strlen(PREFIX);
	const char *end = run->bytes + run->len - 4;

	if (run->len < strlen(PREFIX) + 4 ||
	    strncmp(run->bytes, PREFIX, strlen(PREFIX)) || strcmp(end, "end;"))
		return 0;
	for (; at + RECORD <= end; at += RECORD) {
		char who;
		int number = record_number(at, &who);
		struct count *c = &counts[who & 127];

		if (number < c->next)
			return 0;
		c->gaps += number - c->next;
		c->next = number + 1;
		c->nr++;
	}
	return at == end;
}

static void
refuse(const struct run *run, const char *why)
{
	run_explain(run);
	fail_msg("%s", why);
}

/* With the keeper a second away, and with it at work between the writes. */
static const char *const delays[] = { "STREAM_FLUSH_DELAY_US=1000000",
				      "STREAM_FLUSH_DELAY_US=200" };

static void
each_run(const char *command, void (*check)(const struct run *))
{
	struct scenario s = { .command = command };
	struct run run;

	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_ACCEPT; kind += 2) {
		scenario_run(&run, &s, kind, NATIVE);
		check(&run);
		run_finish(&run);
		for (int i = 0; i < 2; i++) {
			s.env[0] = delays[i];
			scenario_run(&run, &s, kind, PRELOADED);
			check(&run);
			run_finish(&run);
		}
	}
}

static void
check_handler(const struct run *run)
{
	struct count counts[128] = { 0 };

	if (!parse(run, counts) || counts['m'].gaps || counts['h'].gaps ||
	    counts['m'].nr != run_noted(run, "main") ||
	    counts['h'].nr != run_noted(run, "handler"))
		refuse(run, "records were lost, torn or out of order");
	assert_true(counts['h'].nr > 0);
}

static void
a_handler_writes_between_the_writes_of_main(void **state)
{
	(void)state;
	each_run("handler-writes", check_handler);
}

static void
check_jumps(const struct run *run)
{
	struct count counts[128] = { 0 };
	int64_t jumps = run_noted(run, "jumps");

	assert_true(jumps > 0);
	if (!parse(run, counts) || counts['m'].gaps > jumps ||
	    counts['m'].nr + jumps < run_noted(run, "main"))
		refuse(run, "a jump out of a write lost, doubled or tore records");
}

static void
a_handler_jumps_out_of_writes(void **state)
{
	(void)state;
	each_run("handler-jumps", check_jumps);
}

/* No "end;": the records that were written, whole, and no more than one beyond. */
static void
check_exits(const struct run *run)
{
	const char *at = run->bytes + strlen(PREFIX);
	int nr = 0, done = (int)run_noted(run, "main");
	char who;

	assert_int_equal(run->status, EXITED(4));
	for (; at + RECORD <= run->bytes + run->len; at += RECORD, nr++) {
		if (record_number(at, &who) != nr % 1000000 || who != 'm')
			refuse(run, "records were lost, torn or out of order");
	}
	if (at != run->bytes + run->len || nr < done || nr > done + 1)
		refuse(run, "a handler's _exit lost or doubled records");
}

static void
a_handler_exits_between_writes(void **state)
{
	(void)state;
	each_run("handler-exits", check_exits);
}

static void
check_threads(const struct run *run)
{
	struct count counts[128] = { 0 };

	if (!parse(run, counts))
		refuse(run, "records were torn or out of order");
	for (int who = 'a'; who <= 'd'; who++) {
		if (counts[who].nr != 20000 || counts[who].gaps)
			refuse(run, "records were lost");
	}
}

static void
threads_write_whole_records_in_their_order(void **state)
{
	(void)state;
	each_run("threads", check_threads);
}

/* Each writer counts from 0 again, and main's two records end its part. */
static void
check_cancels(const struct run *run)
{
	const char *at = run->bytes + strlen(PREFIX);
	const char *end = run->bytes + run->len - 4;
	int round = 0, next = 0, seen = 0;

	assert_non_null(strstr(run->log, "cancelled 50\n"));
	for (; at + RECORD <= end; at += RECORD) {
		char who;
		int number = record_number(at, &who);

		if (who == 't' && number == next % 1000000 && seen == 0) {
			next++;
		} else if (who == 'm' && number == round && next > 40) {
			if (++seen == 2) {
				round++;
				next = seen = 0;
			}
		} else {
			refuse(run, "a cancelled writer lost, doubled or tore records");
		}
	}
	assert_int_equal(round, 50);
}

static void
writers_are_cancelled_in_their_writes(void **state)
{
	(void)state;
	each_run("cancels", check_cancels);
}

static void
check_stopped(const struct run *run)
{
	struct count counts[128] = { 0 };

	if (!parse(run, counts) || counts['a'].gaps || counts['b'].gaps ||
	    counts['m'].gaps || counts['a'].nr != run_noted(run, "a") ||
	    counts['b'].nr != run_noted(run, "b") || counts['m'].nr != 1000)
		refuse(run, "records were lost, torn or out of order");
}

static void
nobody_waits_for_a_thread_in_sigsuspend(void **state)
{
	(void)state;
	each_run("stopped sigsuspend", check_stopped);
}

static void
nobody_waits_for_a_thread_in_sem_wait(void **state)
{
	(void)state;
	each_run("stopped sem_wait", check_stopped);
}

static void
nobody_waits_for_a_thread_in_a_read(void **state)
{
	(void)state;
	each_run("stopped read", check_stopped);
}

static const struct scenario scenarios[] = {
	{ "a_writer_is_cancelled_in_read", "cancels-read", PREFIX "4;5;6;7;",
	  "cancelled 1\n" },
	{ "a_reader_is_cancelled_that_only_reads", "cancels-sleeper", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_looks_again_and_again", "cancels-looker", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_after_fcntl", "cancels-cleared fcntl", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_after_ioctl", "cancels-cleared ioctl", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_by_a_duplicate", "cancels-cleared dup", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_by_a_child", "cancels-cleared fork", "",
	  "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_in_a_fork",
	  "cancels-cleared fork-under-way", "", "cancelled 1\n", .queue = 3 },
	{ "a_reader_is_cancelled_that_sleeps_by_a_spawned", "cancels-cleared spawn", "",
	  "cancelled 1\n", .queue = 3 },
};

#define CASE(name) cmocka_unit_test_teardown(name, harness_clean)

static const struct CMUnitTest tests[] = {
	CASE(a_handler_writes_between_the_writes_of_main),
	CASE(a_handler_jumps_out_of_writes),
	CASE(a_handler_exits_between_writes),
	CASE(threads_write_whole_records_in_their_order),
	CASE(writers_are_cancelled_in_their_writes),
	CASE(nobody_waits_for_a_thread_in_sigsuspend),
	CASE(nobody_waits_for_a_thread_in_sem_wait),
	CASE(nobody_waits_for_a_thread_in_a_read),
};

int
main(void)
{
	return scenario_main_with("signals", scenarios,
				  sizeof scenarios / sizeof *scenarios, tests,
				  sizeof tests / sizeof *tests);
}
