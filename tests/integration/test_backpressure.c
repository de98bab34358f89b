/*
 * The peer does not read, and the kernel has refused a write: what a process may do to the stream then,
 * and to itself, does natively what it does, and the episode ends with it in the figures.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct episode {
	const char *how;
	int goes_on; /* the process lives on, and its figures are asked for */
};

static const struct episode episodes[] = {
	{ "exit", 0 }, { "kill", 0 }, { "exec", 0 },  { "fork", 1 },     { "child", 1 },
	{ "dup", 1 },  { "pass", 1 }, { "close", 1 }, { "shutdown", 1 }, { "reset", 1 },
};

/* In the directory of the test's own, where the last metrics of a process go. */
static char at_exit[64], at_exit_variable[96];

static void
fail_run(const struct run *run, const char *why)
{
	run_explain(run);
	fail_msg("%s, %s %s: %s", kind_name(run->options.kind),
		 run->options.half == NATIVE ? "native" : "preloaded",
		 run->options.args[0], why);
}

static double
asked(const struct run *run, const char *family)
{
	char *body = metrics_get(run, "/metrics", HANG_MS);
	double value = body ? metrics_sum(body, family) : -1;

	free(body);
	return value;
}

/* The episodes are over, all are counted, and they lasted no longer than the run. */
static void
check_ended(struct run *run, int64_t began_ns)
{
	double rounds = (double)run_noted(run, "rounds");
	double running, begun, ended, seconds, most;
	char *body;

	/* A snapshot may be as old as a second. */
	for (int i = 0;
	     asked(run, "weir_streams_backpressured") == 1 && i < HANG_MS / 100; i++)
		run_for(run, 100);
	body = metrics_get(run, "/metrics", HANG_MS);
	if (!body)
		fail_run(run, "no metrics");
	most = (double)(now_ns() - began_ns) / 1e9;
	running = metrics_sum(body, "weir_streams_backpressured");
	begun = metrics_sum(body, "weir_send_backpressure_events_total");
	ended = metrics_sum(body, "weir_send_backpressure_episode_seconds_count");
	seconds = metrics_sum(body, "weir_send_backpressure_seconds_total");
	free(body);
	if (running || begun != rounds || ended != rounds || seconds <= 0 ||
	    seconds > most) {
		fprintf(stderr,
			"%g episodes begun, %g ended, of %g; %g run; %g s of %g\n",
			begun, ended, rounds, running, seconds, most);
		fail_run(run, "the episodes are not as they were");
	}
}

/* The process has ended by itself, and has written its last metrics. */
static void
check_at_exit(const struct run *run)
{
	const char *key = "\"backpressureTime\":";
	char text[65536] = "";
	FILE *file = fopen(at_exit, "r");
	const char *at;
	double ms = 0;

	if (!file)
		fail_run(run, "no last metrics");
	(void)!fread(text, 1, sizeof text - 1, file);
	fclose(file);
	unlink(at_exit);
	for (at = strstr(text, key); at; at = strstr(at + 1, key))
		ms += strtod(at + strlen(key), NULL);
	if (ms <= 0)
		fail_run(run, "its time is lost");
}

static void
check_bytes(const struct run *run, int all)
{
	size_t prefix = strlen(PREFIX), accepted = (size_t)run_noted(run, "accepted");

	if (run->len > prefix + accepted || (all && run->len < prefix + accepted))
		fail_run(run, "bytes are missing, or too many");
	for (size_t i = prefix; i < run->len; i++)
		if (run->bytes[i] != (char)('a' + (i - prefix) % 23))
			fail_run(run, "a byte is not where it was written");
}

static void
run_episode(struct run *run, const struct episode *e, enum kind kind, enum half half)
{
	const char *args[] = { e->how, NULL }, *env[] = { at_exit_variable, NULL };
	int preloaded = half == PRELOADED && harness_has_library();
	int reset = !strcmp(e->how, "reset");
	struct options options = {
		.kind = kind, .half = half, .command = "full", .args = args, .env = env
	};
	int64_t began = now_ns();

	run_start(run, &options);
	if (!run_until_bytes(run, strlen(PREFIX), HANG_MS))
		fail_run(run, "no turn");
	run->paused = 1;
	if (!run_until_log(run, "full", HANG_MS))
		fail_run(run, "it does not get full");
	if (preloaded && !strcmp(e->how, "fork") &&
	    asked(run, "weir_streams_backpressured") != 1)
		fail_run(run, "nobody is said to be blocked");
	if (reset)
		run_reset(run);
	run->paused = 0;
	run_wake(run);
	if (e->goes_on && !run_until_log(run, "done", HANG_MS))
		fail_run(run, "it does not go on");
	if (e->goes_on && preloaded)
		check_ended(run, began);
	run_wake(run);
	if (!run_until_over(run, HANG_MS))
		fail_run(run, "it does not end");
	check_bytes(run, !reset);
	if (preloaded && !strcmp(e->how, "exit"))
		check_at_exit(run);
}

static void
check_episode(const struct episode *e, enum kind kind)
{
	struct run native, preloaded;
	char *log, *native_log;

	run_episode(&native, e, kind, NATIVE);
	run_episode(&preloaded, e, kind, PRELOADED);
	log = run_compared_log(&preloaded);
	native_log = run_compared_log(&native);
	if (strcmp(log, native_log) != 0 || preloaded.status != native.status ||
	    preloaded.end != native.end || strcmp(preloaded.err, native.err) != 0) {
		run_explain(&native);
		fail_run(&preloaded, "not as natively");
	}
	free(log);
	free(native_log);
	run_finish(&native);
	run_finish(&preloaded);
}

static void
an_episode_ends_with_what_ends_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof episodes / sizeof *episodes; i++) {
		check_episode(&episodes[i], TCP_ACCEPT);
		check_episode(&episodes[i], UNIX_CONNECT);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(an_episode_ends_with_what_ends_it, harness_clean),
};

int
main(void)
{
	char dir[] = "/tmp/weir-backpressure.XXXXXX";
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(at_exit, sizeof at_exit, "%s/last", dir);
	snprintf(at_exit_variable, sizeof at_exit_variable, "STREAM_METRICS_AT_EXIT=%s",
		 at_exit);
	ret = scenario_main_with("backpressure", NULL, 0, tests,
				 sizeof tests / sizeof *tests);
	unlink(at_exit);
	rmdir(dir);
	return ret;
}
