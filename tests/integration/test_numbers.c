/* Descriptor numbers are the native ones, and a plain program does not notice us. */
#include <dirent.h>
#include <string.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct scenario scenarios[] = {
	{ "new_descriptors_get_the_lowest_numbers", "lowest", PREFIX "4;5;" },
	{ "closing_every_number_answers_as_natively", "close-all", PREFIX "4;5;" },
	{ "asking_and_closing_every_number", "close-all ask", PREFIX "4;5;" },
	{ "a_server_that_closed_everything_goes_on", "close-all-and-go-on",
	  PREFIX "4;5;6;7;8;", "pair a;b;c;\n" },
	{ "a_helper_keeps_nothing_open", "kept", NULL, "", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },
	{ "every_number_can_be_had_by_dup2", "dup2-everywhere", PREFIX "4;5;6;7;",
	  "dup2 124 wrong 0\nwrong 0\n" },
};

static int
count_files(const char *path)
{
	DIR *dir = opendir(path);
	int nr = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		nr += e->d_name[0] != '.';
	closedir(dir);
	return nr;
}

/* No thread, no descriptor, no shared mapping, no file where there is no stream. */
static void
a_program_without_streams_is_left_alone(void **state)
{
	struct options options = { .kind = NO_STREAM, .command = "plain" };
	char *logs[2];

	(void)state;
	for (enum half half = NATIVE; half <= PRELOADED; half++) {
		struct run run;

		options.half = half;
		run_start(&run, &options);
		/* Its third line comes after the wake: now it is in its read. */
		assert_true(run_until_log(&run, "socket ", HANG_MS));
		run_for(&run, 100);
		assert_int_equal(count_files(run.dir), 0);
		run_wake(&run);
		assert_true(run_until_over(&run, HANG_MS));
		assert_int_equal(count_files(run.dir), 0);
		assert_string_equal(run.err, "");
		assert_int_equal(run.status, 0);
		logs[half] = run_compared_log(&run);
		run_finish(&run);
	}
	assert_string_equal(logs[NATIVE], logs[PRELOADED]);
	assert_null(strstr(logs[PRELOADED], "threads 2"));
	free(logs[NATIVE]);
	free(logs[PRELOADED]);
}

/* The metrics socket goes with the process whose streams it describes. */
static void
the_metrics_socket_goes_with_its_family(void **state)
{
	struct scenario s = { .command = "end exit" };
	struct run run;

	(void)state;
	scenario_run(&run, &s, TCP_ACCEPT, PRELOADED);
	assert_int_equal(count_files(run.dir), 0);
	run_finish(&run);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(a_program_without_streams_is_left_alone,
				  harness_clean),
	cmocka_unit_test_teardown(the_metrics_socket_goes_with_its_family,
				  harness_clean),
};

int
main(void)
{
	return scenario_main_with("numbers", scenarios,
				  sizeof scenarios / sizeof *scenarios, tests,
				  sizeof tests / sizeof *tests);
}
