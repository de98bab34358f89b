/* base/config: every variable's default, its good and bad values, and the line a bad one costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "fake_sys.h"

static const char *const names[] = { "STREAM_LOG",
				     "STREAM_REQUEST_CHUNK_SIZE",
				     "STREAM_RESPONSE_CHUNK_SIZE",
				     "STREAM_BUFFER_POOL_ENABLED",
				     "STREAM_BUFFER_POOL_MAX_BYTES",
				     "STREAM_FLUSH_DELAY_US",
				     "STREAM_METRICS_SOCKET",
				     "STREAM_METRICS_SOCKET_MODE",
				     "STREAM_METRICS_AT_EXIT",
				     "STREAM_PROGRAMS",
				     "STREAM_ENABLED" };

static int
fresh(void **state)
{
	(void)state;
	fake_reset();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	program_invocation_short_name = "server";
	return 0;
}

/* Reads the environment with one variable set; what was written to stderr. */
static const char *
with(const char *name, const char *value)
{
	fake.err[0] = '\0';
	setenv(name, value, 1);
	config_init();
	unsetenv(name);
	return fake.err;
}

static void
assert_defaults(void)
{
	assert_int_equal(config->request_chunk, 32768);
	assert_int_equal(config->response_chunk, 32768);
	assert_int_equal(config->pool_max, 256 << 20);
	assert_int_equal(config->delay_us, 500);
	assert_int_equal(config->socket_mode, 0600);
	assert_int_equal(config->log_level, LOG_WARN);
	assert_true(config->enabled);
	assert_true(config->pool_enabled);
	assert_true(config->metrics);
	assert_string_equal(config->programs, "*");
	assert_string_equal(config->program, "server");
	assert_string_equal(config->socket, "");
	assert_string_equal(config->at_exit, "");
}

static void
before_init_it_is_disabled(void **state)
{
	(void)state; /* runs first: nothing has been read yet */
	assert_non_null(config);
	assert_false(config->enabled);
	assert_false(config->metrics);
}

static void
nothing_set_is_the_defaults(void **state)
{
	(void)state;
	config_init();
	assert_defaults();
	assert_string_equal(fake.err, "");
}

static void
empty_is_unset(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		setenv(names[i], "", 1);
	config_init();
	assert_defaults();
	assert_string_equal(fake.err, "");
}

static void
chunk_sizes(void **state)
{
	static const struct {
		const char *text;
		uint32_t bytes;
	} good[] = { { "0", 0 },
		     { "1024", 1024 },
		     { "1k", 1024 },
		     { "4K", 4096 },
		     { "1M", 1048576 },
		     { "1m", 1048576 },
		     { "1048576", 1048576 },
		     { "08192", 8192 } };
	static const char *const bad[] = { "abc",
					   "1023",
					   "1048577",
					   "2M",
					   "-1",
					   "+4096",
					   " 4096",
					   "4096 ",
					   "0x1000",
					   "4KB",
					   "K",
					   "1.5K",
					   "18446744073709551617",
					   "18014398509481985k" };
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_string_equal(with("STREAM_REQUEST_CHUNK_SIZE", good[i].text), "");
		assert_int_equal(config->request_chunk, good[i].bytes);
		assert_int_equal(config->response_chunk, 32768);
		assert_string_equal(with("STREAM_RESPONSE_CHUNK_SIZE", good[i].text),
				    "");
		assert_int_equal(config->response_chunk, good[i].bytes);
		assert_int_equal(config->request_chunk, 32768);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line),
			 "weir: STREAM_RESPONSE_CHUNK_SIZE=%s is no size from 1024 to 1048576 or 0: "
			 "using 32768\n",
			 bad[i]);
		assert_string_equal(with("STREAM_RESPONSE_CHUNK_SIZE", bad[i]), line);
		assert_defaults();
	}
}

static void
the_pool_and_the_delay(void **state)
{
	(void)state;
	assert_string_equal(with("STREAM_BUFFER_POOL_MAX_BYTES", "4096M"), "");
	assert_true(config->pool_max == UINT64_C(4) << 30);
	with("STREAM_BUFFER_POOL_MAX_BYTES", "0");
	assert_int_equal(config->pool_max, 0);
	assert_string_equal(
		with("STREAM_BUFFER_POOL_MAX_BYTES", "lots"),
		"weir: STREAM_BUFFER_POOL_MAX_BYTES=lots is no size: using 256M\n");
	assert_defaults();
	assert_string_equal(with("STREAM_FLUSH_DELAY_US", "1000000"), "");
	assert_int_equal(config->delay_us, 1000000);
	with("STREAM_FLUSH_DELAY_US", "0");
	assert_int_equal(config->delay_us, 0);
	assert_string_equal(
		with("STREAM_FLUSH_DELAY_US", "1000001"),
		"weir: STREAM_FLUSH_DELAY_US=1000001 is no number from 0 to 1000000: using 500\n");
	assert_defaults();
	assert_string_not_equal(with("STREAM_FLUSH_DELAY_US", "1k"), "");
}

static void
switches(void **state)
{
	static const char *const on[] = { "1", "on", "yes", "true" };
	static const char *const off[] = { "0", "off", "no", "false" };

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_string_equal(with("STREAM_BUFFER_POOL_ENABLED", off[i]), "");
		assert_false(config->pool_enabled);
		assert_string_equal(with("STREAM_BUFFER_POOL_ENABLED", on[i]), "");
		assert_true(config->pool_enabled);
		with("STREAM_ENABLED", off[i]);
		assert_false(config->enabled);
	}
	assert_string_equal(with("STREAM_ENABLED", "2"),
			    "weir: STREAM_ENABLED=2 is no switch: using 1\n");
	assert_defaults();
}

static void
the_mode_is_octal(void **state)
{
	(void)state;
	assert_string_equal(with("STREAM_METRICS_SOCKET_MODE", "0660"), "");
	assert_int_equal(config->socket_mode, 0660);
	with("STREAM_METRICS_SOCKET_MODE", "666");
	assert_int_equal(config->socket_mode, 0666);
	with("STREAM_METRICS_SOCKET_MODE", "0");
	assert_int_equal(config->socket_mode, 0);
	assert_string_equal(
		with("STREAM_METRICS_SOCKET_MODE", "0680"),
		"weir: STREAM_METRICS_SOCKET_MODE=0680 is no octal number from 0 to 0777: "
		"using 0600\n");
	assert_string_not_equal(with("STREAM_METRICS_SOCKET_MODE", "1777"), "");
	assert_defaults();
}

static void
a_bad_level_is_told_and_off_is_silent(void **state)
{
	(void)state;
	assert_string_equal(
		with("STREAM_LOG", "loud"),
		"weir: STREAM_LOG=loud is no level (off, error, warn, info, debug): using warn\n");
	with("STREAM_LOG", "debug");
	assert_int_equal(config->log_level, LOG_DEBUG);
	setenv("STREAM_LOG", "off", 1);
	assert_string_equal(with("STREAM_REQUEST_CHUNK_SIZE", "abc"), "");
	assert_int_equal(config->request_chunk, 32768);
}

static void
the_runtime_directory_is_that_of_the_start(void **state)
{
	char longer[CONFIG_PATH_MAX + 2];

	(void)state;
	with("XDG_RUNTIME_DIR", "/run/user/0");
	setenv("XDG_RUNTIME_DIR", "/tmp/other", 1);
	assert_string_equal(config->runtime, "/run/user/0");
	with("XDG_RUNTIME_DIR", "run");
	assert_string_equal(config->runtime, "");
	memset(longer, '/', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	with("XDG_RUNTIME_DIR", longer);
	assert_string_equal(config->runtime, "");
	with("XDG_RUNTIME_DIR", longer + 2);
	assert_int_equal(strlen(config->runtime), CONFIG_PATH_MAX - 1);
	config_init();
	assert_string_equal(config->runtime, "");
}

static void
places_know_their_words(void **state)
{
	char out[64];

	(void)state;
	with("STREAM_METRICS_SOCKET", "/run/%e.%p.%%e.sock");
	assert_true(config->metrics);
	assert_int_equal(config_path(out, sizeof(out), config->socket, 42), 22);
	assert_string_equal(out, "/run/server.42.%e.sock");
	assert_string_equal(with("STREAM_METRICS_SOCKET", "off"), "");
	assert_false(config->metrics);
	assert_string_equal(config->socket, "");
	assert_string_equal(
		with("STREAM_METRICS_SOCKET", "/run/%x"),
		"weir: STREAM_METRICS_SOCKET=/run/%x is no path (with %e, %p, %%) or off: "
		"using the default place\n");
	assert_defaults();
	assert_string_equal(
		with("STREAM_METRICS_AT_EXIT", "/run/100%"),
		"weir: STREAM_METRICS_AT_EXIT=/run/100% is no path (with %e, %p, %%): using none\n");
	assert_string_equal(config->at_exit, "");
}

static void
a_relative_place_counts_from_the_start(void **state)
{
	char out[64];

	(void)state;
	with("STREAM_METRICS_AT_EXIT", "out.%p.json"); /* the fake starts in /start */
	assert_int_equal(config_path(out, sizeof(out), config->at_exit, 7), 17);
	assert_string_equal(out, "/start/out.7.json");
	assert_int_equal(config_path(out, 17, config->at_exit, 7), -ENAMETOOLONG);
	assert_int_equal(config_path(out, 18, config->at_exit, 7), 17);
}

static void
a_program_named_with_a_percent_sign_is_taken_literally(void **state)
{
	char out[64];

	(void)state;
	program_invocation_short_name = "a%pb";
	with("STREAM_METRICS_SOCKET", "/%e");
	config_path(out, sizeof(out), config->socket, 7);
	assert_string_equal(out, "/a%pb");
}

static void
sockets_are_passed_to_the_process_that_is_named(void **state)
{
	(void)state;
	fake.pid = 4711;
	setenv("LISTEN_PID", "4711", 1);
	with("LISTEN_FDS", "2");
	assert_int_equal(config->nr_passed, 2);
	with("LISTEN_FDS", "99999999999");
	assert_int_equal(config->nr_passed, 256);
	with("LISTEN_FDS", "-1");
	assert_int_equal(config->nr_passed, 0);
	setenv("LISTEN_PID", "4712", 1); /* inherited */
	with("LISTEN_FDS", "2");
	assert_int_equal(config->nr_passed, 0);
	unsetenv("LISTEN_PID");
	assert_string_equal(with("LISTEN_FDS", "2"), "");
	assert_int_equal(config->nr_passed, 0);
}

static void
a_place_too_long_is_bad(void **state)
{
	static char path[CONFIG_PATH_MAX + 1];

	(void)state;
	memset(path, 'x', CONFIG_PATH_MAX);
	assert_string_not_equal(with("STREAM_METRICS_AT_EXIT", path), "");
	assert_string_equal(config->at_exit, "");
	path[CONFIG_PATH_MAX - 1] = '\0';
	assert_string_equal(with("STREAM_METRICS_AT_EXIT", path), "");
	assert_string_equal(config->at_exit, path);
}

static void
programs_choose(void **state)
{
	(void)state;
	with("STREAM_PROGRAMS", "nginx,ser*,x");
	assert_true(config->enabled);
	assert_string_equal(config->programs, "nginx,ser*,x");
	with("STREAM_PROGRAMS", "nginx,serve");
	assert_false(config->enabled);
	with("STREAM_PROGRAMS", "serve?");
	assert_true(config->enabled);
	setenv("STREAM_ENABLED", "0", 1);
	with("STREAM_PROGRAMS", "*");
	assert_false(config->enabled);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(before_init_it_is_disabled, fresh),
		cmocka_unit_test_setup(nothing_set_is_the_defaults, fresh),
		cmocka_unit_test_setup(empty_is_unset, fresh),
		cmocka_unit_test_setup(chunk_sizes, fresh),
		cmocka_unit_test_setup(the_pool_and_the_delay, fresh),
		cmocka_unit_test_setup(switches, fresh),
		cmocka_unit_test_setup(the_mode_is_octal, fresh),
		cmocka_unit_test_setup(a_bad_level_is_told_and_off_is_silent, fresh),
		cmocka_unit_test_setup(the_runtime_directory_is_that_of_the_start,
				       fresh),
		cmocka_unit_test_setup(places_know_their_words, fresh),
		cmocka_unit_test_setup(a_relative_place_counts_from_the_start, fresh),
		cmocka_unit_test_setup(
			a_program_named_with_a_percent_sign_is_taken_literally, fresh),
		cmocka_unit_test_setup(sockets_are_passed_to_the_process_that_is_named,
				       fresh),
		cmocka_unit_test_setup(a_place_too_long_is_bad, fresh),
		cmocka_unit_test_setup(programs_choose, fresh),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
