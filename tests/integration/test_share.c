/* A stream that a fork has copied is held again once one process alone has it: when, and that
 * nothing is lost on the way. Natively each write is sent at once. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct sharing {
	const char *name, *command, *preloaded;
	bool plain; /* not for a sanitizer: it keeps what threads have that end so */
};

/* What the log of the command is natively. */
static void
all_sent(char *log)
{
	char *held;

	while ((held = strstr(log, "held")))
		memcpy(held, "sent", 4);
}

static void
check(const struct sharing *s, const char *family, enum half half)
{
	char command[64], *log, *wanted = strdup(s->preloaded);
	struct scenario scenario = { .command = command, .flags = NO_GREETING };
	struct run run;

	snprintf(command, sizeof command, s->command, family);
	if (half == NATIVE)
		all_sent(wanted);
	scenario_run(&run, &scenario, NO_STREAM, half);
	log = run_compared_log(&run);
	if (strcmp(log, wanted)) {
		run_explain(&run);
		print_message("%s said:\n%swanted:\n%s", command, log, wanted);
	}
	assert_string_equal(log, wanted);
	assert_int_equal(run.status, 0);
	free(log);
	free(wanted);
	run_finish(&run);
}

static void
sharing_test(void **state)
{
	const struct sharing *s = *state;

	if (s->plain && harness_sanitized())
		skip();
	for (enum half half = NATIVE; half <= PRELOADED; half++) {
		if (half == PRELOADED && !harness_has_library())
			skip();
		check(s, "tcp", half);
		check(s, "unix", half);
	}
}

/* Opened and closed by threads while others fork, and by their children. */
static void
nothing_is_left_of_a_storm(void **state)
{
	struct options options = { .kind = NO_STREAM,
				   .half = PRELOADED,
				   .command = "share-storm",
				   .no_greeting = 1 };
	double opened = 0, closed = -1;
	struct run run;

	(void)state;
	if (!harness_has_library())
		skip();
	run_start(&run, &options);
	assert_true(run_until_log(&run, "over", HANG_MS));
	/* An answer may be a second old. */
	for (int i = 0; i < HANG_MS / 100 && opened != closed; i++) {
		char *body = metrics_get(&run, "/metrics", HANG_MS);

		assert_non_null(body);
		opened = metrics_sum(body, "weir_streams_opened_total");
		closed = metrics_sum(body, "weir_streams_closed_total");
		free(body);
		run_for(&run, 100);
	}
	assert_true(opened > 300);
	assert_int_equal((int)(opened - closed), 0);
	run_wake(&run);
	assert_true(run_until_over(&run, HANG_MS));
	run_finish(&run);
}

#define AGAIN "before: held\nwhile: sent\nafter: held\n"
#define FOR_GOOD "before: held\nwhile: sent\nafter: sent\n"
#define AFTER(what, log) \
	{ \
		"after_a_child_s_" what, "share fork %s " what, log \
	}

#define PASSED(by) \
	{ \
		"not_after_it_was_passed_by_" by, "share-pass " by " %s", \
			"before: held\n" by " 1\nafter: sent\n" \
	}

static const struct sharing sharings[] = {
	AFTER("close", AGAIN),
	AFTER("close_range", AGAIN),
	AFTER("replace", AGAIN),
	AFTER("use-and-close", AGAIN),
	AFTER("exit", AGAIN),
	AFTER("_exit", AGAIN),
	AFTER("raise", AGAIN),
	AFTER("exec", AGAIN),
	AFTER("exec-open", FOR_GOOD),
	AFTER("dup", FOR_GOOD),
	AFTER("pass", FOR_GOOD),
	AFTER("end-after-dup", FOR_GOOD),
	AFTER("end-after-pass", FOR_GOOD),
	AFTER("shutdown", FOR_GOOD),
	{ "after_a_child_made_by__Fork", "share _Fork %s close", AGAIN },
	{ "after_a_child_made_by_clone", "share clone %s _exit", AGAIN },
	{ "in_the_child_after_its_parent_s_close", "share-child %s",
	  "while: sent\nafter: held\n" },
	{ "in_an_orphan", "share-orphan %s", "after: held\n" },
	{ "after_a_grandchild_s_end", "share-grandchild %s",
	  "while: sent\nafter: held\n" },
	{ "not_while_an_unseen_child_lives", "share-unseen %s",
	  "before: held\nwhile: sent\n" },
	{ "not_while_a_spawned_child_has_a_copy", "share-spawn %s",
	  "before: held\nwhile: sent\n" },
	{ "not_after_a_spawn_though_it_is_closed_on_exec_since",
	  "share-spawn-cloexec %s", "before: held\nwhile: sent\n" },
	PASSED("sendmsg"),
	PASSED("sendmmsg"),
	PASSED("syscall-sendmsg"),
	PASSED("syscall-sendmmsg"),
	{ "not_after_it_was_passed_before_it_was_connected", "share-pass-bare %s",
	  "sendmsg 1\nconnect 0\nafter: sent\n" },
	{ "not_by_a_thread_with_a_descriptor_table_of_its_own", "share-own-table %s",
	  "before: held\nown table 0\nafter: sent\n" },
	{ "after_many_threads_that_ended_by_the_system_call", "share-ended %s",
	  "after: held\n", true },
	{ "on_each_of_many", "share-many %s",
	  "after: held\nafter: held\nafter: held\nafter: held\nafter: held\n"
	  "after: held\nafter: held\nafter: held\nafter: held\nafter: held\n" },
};

enum { NR_SHARINGS = sizeof sharings / sizeof *sharings };

int
main(void)
{
	struct CMUnitTest tests[NR_SHARINGS + 1];
	int code = harness_init();

	if (code)
		return code;
	for (int i = 0; i < NR_SHARINGS; i++)
		tests[i] = (struct CMUnitTest){ sharings[i].name, sharing_test, NULL,
						harness_clean, (void *)&sharings[i] };
	tests[NR_SHARINGS] = (struct CMUnitTest)cmocka_unit_test_teardown(
		nothing_is_left_of_a_storm, harness_clean);
	return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
