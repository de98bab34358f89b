/* base/log over a scripted kernel: what a line looks like, and when none is written. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fake_sys.h"

static int
fresh(void **state)
{
	(void)state;
	fake_reset();
	log_set_level(LOG_WARN);
	return 0;
}

static void
every_conversion_is_written(void **state)
{
	(void)state;
	log_line(LOG_ERROR, "%s %d %d %u %llu %o %%", "word", -7, INT_MIN, 42u,
		 ULLONG_MAX, 0600);
	assert_string_equal(
		fake.err, "weir: word -7 -2147483648 42 18446744073709551615 600 %\n");
}

static void
a_line_is_one_write(void **state)
{
	(void)state;
	log_line(LOG_WARN, "%s and %s", "this", "that");
	assert_int_equal(fake.calls[FAKE_WRITE], 1);
}

static void
the_level_rules(void **state)
{
	(void)state;
	log_line(LOG_INFO, "not at warn");
	assert_string_equal(fake.err, "");
	log_set_level(LOG_DEBUG);
	log_line(LOG_DEBUG, "at debug");
	assert_string_equal(fake.err, "weir: at debug\n");
	log_set_level(LOG_OFF);
	log_line(LOG_ERROR, "not at off");
	assert_string_equal(fake.err, "weir: at debug\n");
	assert_int_equal(fake.calls[FAKE_WRITE], 1);
}

static void
a_socket_gets_no_line(void **state)
{
	(void)state;
	fake.err_is_socket = true;
	log_line(LOG_ERROR, "into a client's stream");
	assert_int_equal(fake.calls[FAKE_WRITE], 0);
}

static void
a_long_line_is_cut_and_still_ends(void **state)
{
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_line(LOG_ERROR, "%s", text);
	assert_int_equal(strlen(fake.err), 512);
	assert_memory_equal(fake.err, "weir: xxx", 9);
	assert_int_equal(fake.err[511], '\n');
}

static void
a_value_cannot_forge_a_line(void **state)
{
	(void)state;
	log_line(LOG_ERROR, "X=%s", "a\nweir: b\033[2J");
	assert_string_equal(fake.err, "weir: X=a?weir: b?[2J\n");
}

static void
errno_is_left_alone(void **state)
{
	(void)state;
	fake_fail(FAKE_WRITE, 1, EPIPE);
	errno = ENOTTY;
	log_line(LOG_ERROR, "x");
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fake.calls[FAKE_WRITE], 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_conversion_is_written, fresh),
		cmocka_unit_test_setup(a_line_is_one_write, fresh),
		cmocka_unit_test_setup(the_level_rules, fresh),
		cmocka_unit_test_setup(a_socket_gets_no_line, fresh),
		cmocka_unit_test_setup(a_long_line_is_cut_and_still_ends, fresh),
		cmocka_unit_test_setup(a_value_cannot_forge_a_line, fresh),
		cmocka_unit_test_setup(errno_is_left_alone, fresh),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
