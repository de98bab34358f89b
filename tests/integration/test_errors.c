/* Resets, refusals and full buffers: the application hears what it would natively. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NONE .kinds = BIT(NO_STREAM), .flags = NO_GREETING

#define ENDED(how) \
	{ \
		"writes_to_a_child_that_ended_after_" how, "child-ended " how, NULL, \
			"write -1 EPIPE\nwrite -1 EPIPE\nSIGPIPE 2\n", NONE \
	}

static const struct scenario scenarios[] = {
	{ "a_stream_that_is_disconnected_takes_nothing", "disconnect" },
	{ "writes_after_shutdown_get_EPIPE", "shutdown", PREFIX,
	  "shutdown 0\nwrite -1 EPIPE\nSIGPIPE 1\nsend -1 EPIPE\nSIGPIPE 1\n"
	  "write -1 EPIPE\nwritev -1 EPIPE\nSIGPIPE 3\n",
	  .kinds = TCP_KINDS },
	{ "writes_after_shutdown_get_EPIPE_on_unix", "shutdown", PREFIX,
	  .kinds = UNIX_KINDS },
	{ "bad_arguments_give_the_native_errors", "arguments" },
	{ "bad_time_outs_give_the_native_errors", "timeouts", PREFIX "4;5;6;7;8;9;",
	  "ppoll -1 EINVAL\nppoll -1 EINVAL\nepoll_pwait2 -1 EINVAL\n"
	  "pselect -1 EINVAL\nselect -1 EINVAL\npoll 1\n" },
	ENDED("wait"),
	ENDED("waitid"),
	ENDED("waitpid-nohang"),
	{ "memory_that_may_not_be_read_gives_EFAULT", "nowhere", PREFIX "4;5;6;7;8;9;" },
	{ "a_number_far_below_a_stream_s_is_none", "far", NONE },
	{ "writes_without_a_connection", "unconnected", NONE },
	{ "writes_on_a_socket_that_connects", "connecting", NONE },
	{ "big_writes_keep_their_place", "big-write" },
	{ "vectors_of_every_length", "vectors" },
};

/* A run whose peer breaks the connection when the actor asks for it. */
static void
run_with_reset(struct run *run, const char *command, const char *how, enum kind kind,
	       enum half half)
{
	const char *args[] = { how, NULL };
	struct options options = {
		.kind = kind, .half = half, .command = command, .args = args
	};

	run_start(run, &options);
	assert_true(run_until_log(run, "reset now", HANG_MS));
	assert_true(run_until_bytes(run, strlen(PREFIX), HANG_MS));
	assert_string_equal(run->bytes, PREFIX);
	run_reset(run);
	run_wake(run);
	if (!run_until_over(run, HANG_MS)) {
		run_explain(run);
		fail_msg("it did not end");
	}
}

static void
check_reset(const char *how, enum kind kind, const char *sigpipe, int status)
{
	struct run runs[2];
	char want[64];

	snprintf(want, sizeof want, "SIGPIPE %s\n", sigpipe ? sigpipe : "no");
	for (enum half half = NATIVE; half <= PRELOADED; half++) {
		struct run *run = &runs[half];
		int tells = kind == TCP_ACCEPT || kind == TCP_CONNECT;

		run_with_reset(run, "reset", how, kind, half);
		if (run->status != status || (sigpipe && !strstr(run->log, want)) ||
		    (sigpipe && !strstr(run->log, "pipes 3 others 0")) ||
		    (sigpipe && !strstr(run->log, tells ? "resets 1" : "resets 0"))) {
			run_explain(run);
			fail_msg("a reset was not told as it should be");
		}
	}
	run_finish(&runs[0]);
	run_finish(&runs[1]);
}

static void
a_reset_is_told_once_and_EPIPE_follows(void **state)
{
	(void)state;
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_CONNECT; kind++) {
		check_reset("ignored", kind, "no", 0);
		check_reset("handled", kind, "yes", 0);
		check_reset("nosignal", kind, "no", 0);
	}
}

static void
SIGPIPE_kills_at_its_default(void **state)
{
	(void)state;
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_CONNECT; kind++)
		check_reset("default", kind, NULL, KILLED(SIGPIPE));
}

/* On TCP exactly one of three reads or SO_ERRORs, or of the writes before, tells it:
 * a reset must not read as a clean end of file. */
static void
an_error_met_by_a_flush_is_told_once(void **state)
{
	static const char *const ways[] = { "read", "SO_ERROR" };
	struct run run;

	(void)state;
	for (int i = 0; i < 4; i++) {
		run_with_reset(&run, "told-once", ways[i % 2], TCP_ACCEPT, i / 2);
		if (!strstr(run.log, "told 1 ")) {
			run_explain(&run);
			fail_msg("the reset was not told exactly once");
		}
		run_finish(&run);
	}
}

/* The peer reads nothing until the actor's log says that the buffer is full. */
static void
run_with_slow_peer(struct run *run, const char *const *command, enum kind kind,
		   enum half half, int pause)
{
	struct options options = { .kind = kind,
				   .half = half,
				   .command = command[0],
				   .args = command + 1,
				   .rcvbuf = 8192 };

	run_start(run, &options);
	assert_true(run_until_bytes(run, strlen(WARM_BYTES), HANG_MS));
	run->paused = 1;
	if (!run_until_log(run, "full", HANG_MS)) {
		run_explain(run);
		fail_msg("the buffer did not fill up");
	}
	run_for(run, pause);
	run->paused = 0;
	if (!run_until_over(run, HANG_MS)) {
		run_explain(run);
		fail_msg("it did not end");
	}
}

static void
same_result(const struct run *a, const struct run *b)
{
	char *log_a = run_compared_log(a), *log_b = run_compared_log(b);

	if (strcmp(log_a, log_b) || a->len != b->len ||
	    memcmp(a->bytes, b->bytes, a->len) || a->status != b->status) {
		run_explain(a);
		run_explain(b);
		fail_msg("it differs from the native run");
	}
	free(log_a);
	free(log_b);
}

static void
check_slow_peer(const char *const *command, size_t len)
{
	struct run native, other;

	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_ACCEPT; kind += 2) {
		run_with_slow_peer(&native, command, kind, NATIVE, 30);
		assert_int_equal(native.len, strlen(PREFIX) + len);
		run_with_slow_peer(&other, command, kind, PRELOADED, 30);
		same_result(&native, &other);
		run_finish(&native);
		run_finish(&other);
	}
}

static void
refused_writes_go_on_when_the_socket_is_writable(void **state)
{
	static const char *const pieces[] = { "61", "1000", "4096" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		const char *by_poll[] = { "nonblocking", "poll", pieces[i], NULL };
		const char *by_epoll[] = { "nonblocking", "epoll", pieces[i], NULL };

		check_slow_peer(by_poll, 2 << 20);
		check_slow_peer(by_epoll, 2 << 20);
	}
}

static void
blocking_writes_wait_for_a_slow_reader(void **state)
{
	const char *small[] = { "blocking", "61", NULL };
	const char *large[] = { "blocking", "4096", NULL };

	(void)state;
	check_slow_peer(small, 2 << 20);
	check_slow_peer(large, 2 << 20);
}

/* Only what the kernel is known to take is held: the buffer seems no larger. */
static void
a_full_buffer_refuses_where_it_does_natively(void **state)
{
	const char *command[] = { "fill", "100", NULL };
	struct run runs[2];
	int64_t filled[2];

	(void)state;
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_ACCEPT; kind += 2) {
		for (enum half half = NATIVE; half <= PRELOADED; half++) {
			run_with_slow_peer(&runs[half], command, kind, half, 0);
			filled[half] = run_noted(&runs[half], "filled");
			assert_int_equal(runs[half].len,
					 strlen(PREFIX) + (size_t)filled[half] + 4);
			assert_non_null(strstr(runs[half].log, "write -1 EAGAIN\n"));
			assert_non_null(strstr(runs[half].log, "poll 0\n"));
		}
		/* Larger sends cost the kernel less room a byte; 2^5 is what 100-byte
		 * writes and a full chunk differ by on AF_UNIX. */
		assert_in_range(filled[PRELOADED], (uintmax_t)filled[NATIVE] / 2,
				(uintmax_t)filled[NATIVE] * 32 + 65536);
		run_finish(&runs[NATIVE]);
		run_finish(&runs[PRELOADED]);
	}
}

/* The peer never reads; the actor's result and what it left in the kernel count. */
static void
check_unread(const char *command, const char *log)
{
	struct options options = { .command = command, .rcvbuf = 8192 };
	struct run runs[2];

	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_ACCEPT; kind += 2) {
		for (enum half half = NATIVE; half <= PRELOADED; half++) {
			struct run *run = &runs[half];

			options.kind = kind;
			options.half = half;
			run_start(run, &options);
			assert_true(run_until_bytes(run, strlen(WARM_BYTES), HANG_MS));
			run->paused = 1;
			run_until_over(run, HANG_MS);
			run->paused = 0;
			run_until_over(run, HANG_MS);
			if (!strstr(run->log, log) || run->status != 0 ||
			    strncmp(run->bytes, PREFIX "fff", strlen(PREFIX "fff"))) {
				run_explain(run);
				fail_msg("not what was expected of %s", command);
			}
			/* What a refused or cut write did not take never arrives. */
			assert_null(strstr(run->bytes, "late;"));
		}
		run_finish(&runs[0]);
		run_finish(&runs[1]);
	}
}

static void
a_send_timeout_ends_a_blocked_write(void **state)
{
	(void)state;
	check_unread("send-timeout", "write -1 EAGAIN\nwaited yes\nwrite -1 EAGAIN\n"
				     "send -1 EAGAIN\n");
}

static void
a_signal_cuts_a_blocked_write(void **state)
{
	(void)state;
	check_unread("interrupted", "small write -1 EINTR\nbig write EINTR\n"
				    "writev -1 EINTR\nsignals yes\n");
}

#define CASE(name) cmocka_unit_test_teardown(name, harness_clean)

static const struct CMUnitTest tests[] = {
	CASE(a_reset_is_told_once_and_EPIPE_follows),
	CASE(SIGPIPE_kills_at_its_default),
	CASE(an_error_met_by_a_flush_is_told_once),
	CASE(refused_writes_go_on_when_the_socket_is_writable),
	CASE(blocking_writes_wait_for_a_slow_reader),
	CASE(a_full_buffer_refuses_where_it_does_natively),
	CASE(a_send_timeout_ends_a_blocked_write),
	CASE(a_signal_cuts_a_blocked_write),
};

int
main(void)
{
	return scenario_main_with("errors", scenarios,
				  sizeof scenarios / sizeof *scenarios, tests,
				  sizeof tests / sizeof *tests);
}
