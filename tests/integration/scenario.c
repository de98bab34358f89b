/* Running a scenario's two halves and comparing them. */
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_WORDS 8

struct words {
	char text[256];
	const char *word[MAX_WORDS + 1];
};

static void
split(struct words *words, const char *command)
{
	char *save = NULL;
	size_t nr = 0;

	memset(words, 0, sizeof *words);
	snprintf(words->text, sizeof words->text, "%s", command);
	for (char *w = strtok_r(words->text, " ", &save); w && nr < MAX_WORDS;
	     w = strtok_r(NULL, " ", &save))
		words->word[nr++] = w;
}

static size_t
expected_early(const struct scenario *s)
{
	return strlen(s->early ? s->early : PREFIX);
}

static void
wake(struct run *run, unsigned flags)
{
	if (flags & WAKE_STDIN)
		run_wake(run);
	if (flags & WAKE_SIGNAL)
		kill(run->pid, SIGUSR1);
	if (flags & WAKE_STREAM)
		run_send(run, "x");
}

void
scenario_send_records(struct run *run, int first, int nr)
{
	char record[16];
	size_t len = (size_t)nr * 8;
	char *text = calloc(1, len + sizeof record);

	for (int i = 0; i < nr; i++) {
		snprintf(record, sizeof record, "%07d;", first + i);
		memcpy(text + (size_t)i * 8, record, 8);
	}
	run_send(run, text);
	free(text);
}

static void
play_peer(struct run *run, const struct scenario *s)
{
	if (s->queue)
		scenario_send_records(run, 0, s->queue);
	if (!s->then)
		return;
	/* So that its bytes are unread when it closes: a reset on AF_UNIX too. */
	run->paused = s->then == PEER_RESETS;
	run_until_log(run, "~peer ", HANG_MS);
	if (s->then == PEER_SENDS)
		scenario_send_records(run, s->queue, MORE_RECORDS);
	else if (s->then == PEER_ENDS)
		shutdown(run->peer, SHUT_WR);
	else
		run_reset(run);
	run_wake(run);
}

void
scenario_run(struct run *run, const struct scenario *s, enum kind kind, enum half half)
{
	struct words words;
	struct options options = { .kind = kind, .half = half, .env = s->env };

	split(&words, s->command);
	options.command = words.word[0];
	options.args = words.word + 1;
	options.no_greeting = (s->flags & NO_GREETING) != 0 || s->queue;
	options.oob_inline = (s->flags & OOB_INLINE) != 0;
	run_start(run, &options);
	run->options.command = s->command;
	run->options.args = run->options.env = NULL; /* they do not outlive this call */
	play_peer(run, s);
	if (s->flags & (WAKE_STDIN | WAKE_SIGNAL | WAKE_STREAM)) {
		/* "~sleep" first: a signal that comes before the call is lost, and so is sent again. */
		run_until_log(run, "~sleep ", HANG_MS);
		run_until_bytes(run, expected_early(s), 2000);
		/* A byte stays, and is sent once: the end of a stream with more of them unread is a reset. */
		for (int i = 0; i < HANG_MS / 10 && !strstr(run->log, "slept"); i++) {
			wake(run, i ? s->flags & WAKE_SIGNAL : s->flags);
			run_until_log(run, "slept", 10);
		}
	}
	if (!run_until_over(run, HANG_MS)) {
		run_explain(run);
		fail_msg("it did not end");
	}
}

int
scenario_late(const struct run *run, size_t total)
{
	int64_t from = run_noted(run, "sleep"), there = run_arrival(run, total);

	return from < 0 || there < 0 ? INT_MAX : (int)((there - from) / 1000000);
}

static int
limit_of(const struct scenario *s)
{
	return s->within ? s->within : 300;
}

static void
assert_in_time(const struct run *run, const struct scenario *s)
{
	int late = scenario_late(run, expected_early(s));

	if (late > limit_of(s)) {
		run_explain(run);
		fail_msg("%zu bytes were out %d ms after the call began, limit %d",
			 expected_early(s), late, limit_of(s));
	}
}

void
scenario_run_in_time(struct run *run, const struct scenario *s, enum kind kind,
		     enum half half)
{
	for (int i = 1;; i++) {
		scenario_run(run, s, kind, half);
		if (i == SCENARIO_TRIES || run_noted(run, "sleep") < 0 ||
		    scenario_late(run, expected_early(s)) <= limit_of(s))
			return;
		run_finish(run);
	}
}

static void
run_half(struct run *run, const struct scenario *s, enum kind kind, enum half half)
{
	if (s->flags & IN_TIME)
		scenario_run_in_time(run, s, kind, half);
	else
		scenario_run(run, s, kind, half);
}

static void
check_half(const struct run *run, const struct scenario *s)
{
	char *log = run_compared_log(run);
	int bad = 0;

	if (s->bytes && !(s->flags & PREFIX_ONLY && run->options.half == PRELOADED))
		bad |= run->len != strlen(s->bytes) || strcmp(run->bytes, s->bytes);
	if (s->log)
		bad |= strcmp(log, s->log) != 0;
	if (s->status != ANY_STATUS)
		bad |= run->status != s->status;
	free(log);
	if (bad) {
		run_explain(run);
		fail_msg("not what was expected of %s", s->command);
	}
	if (s->flags & IN_TIME)
		assert_in_time(run, s);
}

static int
same_bytes(const struct run *native, const struct run *other, unsigned flags)
{
	if (flags & PREFIX_ONLY)
		return other->len <= native->len &&
		       !memcmp(native->bytes, other->bytes, other->len);
	return native->len == other->len &&
	       !memcmp(native->bytes, other->bytes, native->len);
}

static int
same_stderr(const char *native, const char *other, unsigned flags)
{
	const char *end = strchr(other, '\n');

	if (strcmp(native, other) == 0)
		return 1;
	return flags & ONE_LINE && !*native && end && !end[1];
}

static void
compare(const struct run *native, const struct run *other, const struct scenario *s)
{
	char *a = run_compared_log(native), *b = run_compared_log(other);
	const char *what = NULL;

	if (!same_bytes(native, other, s->flags))
		what = "bytes";
	else if (native->end != other->end)
		what = "end of the stream";
	else if (strcmp(a, b))
		what = "log";
	else if (!same_stderr(native->err, other->err, s->flags))
		what = "stderr";
	else if (native->status != other->status)
		what = "status";
	free(a);
	free(b);
	if (what) {
		run_explain(native);
		run_explain(other);
		fail_msg("%s of %s differs from the native run", what, s->command);
	}
}

static int
test_kind(const struct scenario *s, enum kind kind)
{
	struct run native, other;

	if (s->flags & PLAIN_BUILD && harness_sanitized())
		return 0;
	run_half(&native, s, kind, NATIVE);
	if (s->flags & MAY_SKIP && strstr(native.log, "skip")) {
		run_finish(&native);
		return 0;
	}
	check_half(&native, s);
	run_half(&other, s, kind, PRELOADED);
	check_half(&other, s);
	compare(&native, &other, s);
	run_finish(&native);
	run_finish(&other);
	return 1;
}

void
scenario_test(void **state)
{
	const struct scenario *s = *state;
	unsigned kinds = s->kinds ? s->kinds : ALL_KINDS;
	int nr = 0;

	for (enum kind kind = 0; kind < NR_KINDS; kind++) {
		if (kinds & BIT(kind))
			nr += test_kind(s, kind);
	}
	if (!nr)
		skip();
}

/*
 * Here the arrivals are timed, so on a busy machine this process runs first, where it may;
 * its children do not.
 */
static void
run_first(void)
{
	struct sched_param first = { .sched_priority = 20 };

	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
}

int
scenario_main_with(const char *group, const struct scenario *scenarios, size_t nr,
		   const struct CMUnitTest *more, size_t nr_more)
{
	int rc = harness_init();
	struct CMUnitTest *tests;

	if (rc)
		return rc;
	run_first();
	tests = calloc(nr + nr_more, sizeof *tests);
	for (size_t i = 0; i < nr; i++) {
		tests[i].name = scenarios[i].name;
		tests[i].test_func = scenario_test;
		tests[i].teardown_func = harness_clean;
		tests[i].initial_state = (void *)&scenarios[i];
	}
	if (nr_more)
		memcpy(tests + nr, more, nr_more * sizeof *tests);
	rc = _cmocka_run_group_tests(group, tests, nr + nr_more, NULL, NULL);
	free(tests);
	return rc;
}

int
scenario_main(const char *group, const struct scenario *scenarios, size_t nr)
{
	return scenario_main_with(group, scenarios, nr, NULL, 0);
}
