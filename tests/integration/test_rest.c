/*
 * A part of what the peer sent was read by small reads, so that a library that reads ahead
 * has more than it gave: everybody finds exactly the unread rest, and the peer sees what
 * it would.
 */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* What the actor's commands expect to be sent: 500 records, or 8,000. */
#define QUEUE 500
#define LONG_QUEUE 8000
#define EAGER .env = { "STREAM_TEST=eager" }

#define ALL "at 4000\n"

#define CALLED(how) \
	{ \
		"small_reads_and_" how "_take_turns", "rest-call " how, \
			.queue = QUEUE, EAGER \
	}
#define ASKED(how) \
	{ \
		how "_is_answered_as_natively", "rest-ask " how, .queue = QUEUE, EAGER \
	}

static const struct scenario scenarios[] = {
	/* Somebody else reads on. */
	{ "an_exec_finds_the_rest", "rest-exec execve", .log = ALL, .status = EXITED(6),
	  .queue = QUEUE },
	{ "an_exec_by_syscall_finds_the_rest", "rest-exec syscall", .log = ALL,
	  .status = EXITED(6), .queue = QUEUE },
	{ "an_exec_that_fails_leaves_the_rest", "rest-exec fails",
	  .log = "execve -1 ENOENT\n" ALL, .queue = QUEUE },
	{ "a_forked_child_finds_the_rest", "rest-fork fork child",
	  .log = ALL "child 0\n", .queue = QUEUE },
	{ "a_child_forked_by__Fork_finds_the_rest", "rest-fork _Fork child",
	  .log = ALL "child 0\n", .queue = QUEUE },
	{ "a_child_forked_by_syscall_finds_the_rest", "rest-fork syscall-fork child",
	  .log = ALL "child 0\n", .queue = QUEUE },
	{ "after_a_fork_the_parent_finds_the_rest", "rest-fork fork parent",
	  .log = "child 0\n" ALL, .queue = QUEUE },
	{ "after__Fork_the_parent_finds_the_rest", "rest-fork _Fork parent",
	  .log = "child 0\n" ALL, .queue = QUEUE },
	{ "after_a_vfork_the_new_program_finds_the_rest", "rest-vfork",
	  .log = ALL "child 0x600\n", .queue = QUEUE },
	{ "a_spawned_program_finds_the_rest", "rest-spawn", .log = ALL "child 0x600\n",
	  .queue = QUEUE },
	{ "a_shells_command_finds_the_rest_and_leaves_the_rest", "rest-system",
	  .log = "system 0\n" ALL, .queue = QUEUE,
	  .flags = PLAIN_BUILD /* dd asks for memory as AddressSanitizer forbids */ },
	{ "a_process_that_is_passed_the_stream_finds_the_rest", "rest-pass",
	  .log = ALL "child 0\n", .queue = QUEUE },
	{ "dup_finds_the_rest", "rest-duplicate dup", .queue = QUEUE },
	{ "dup2_finds_the_rest", "rest-duplicate dup2", .log = "dup2 100\n" ALL,
	  .queue = QUEUE },
	{ "dup3_finds_the_rest", "rest-duplicate dup3", .log = "dup3 100\n" ALL,
	  .queue = QUEUE },
	{ "F_DUPFD_finds_the_rest", "rest-duplicate F_DUPFD", .log = "F_DUPFD 50\n" ALL,
	  .queue = QUEUE },
	{ "dup_by_syscall_finds_the_rest", "rest-duplicate syscall", .queue = QUEUE },
	{ "stdio_finds_the_rest", "rest-stdio", .log = ALL, .queue = QUEUE },
	{ "processes_that_take_turns_by_pipes_get_every_byte_once", "rest-pipes",
	  .log = "child 0\n" ALL, .queue = QUEUE, EAGER },
	{ "processes_that_take_turns_by_memory_get_every_byte_once", "rest-memory",
	  .log = "child 0\n" ALL, .queue = QUEUE, EAGER },

	/* Other calls. */
	CALLED("read"),
	CALLED("readv"),
	CALLED("recv-all"),
	CALLED("peek"),
	CALLED("recvfrom"),
	CALLED("recvmsg"),
	CALLED("recvmmsg"),
	CALLED("preadv2"),
	CALLED("splice"),
	CALLED("aio_read"),
	CALLED("syscall-read"),
	CALLED("syscall-recvfrom"),
	ASKED("FIONREAD"),
	ASKED("poll"),
	ASKED("ppoll"),
	ASKED("select"),
	ASKED("epoll-level"),
	ASKED("epoll-edge"),
	ASKED("epoll-oneshot"),
	ASKED("SO_ERROR"),
	ASKED("peek"),
	ASKED("SO_RCVLOWAT"),
	ASKED("SO_PEEK_OFF"),
	{ "a_peek_sees_beyond_descriptors_that_are_gone", "rest-descriptor",
	  .log = "23 before it\n33 in it\nat 48\n", .kinds = BIT(NO_STREAM), EAGER },
	{ "the_mark_of_urgent_data_is_where_natively", "mark", .kinds = BIT(NO_STREAM),
	  EAGER },
	{ "a_time_out_loses_nothing", "rest-timeout",
	  .log = "SO_RCVTIMEO 0\n" ALL
		 "read -1 EAGAIN\nagain -1 EAGAIN\nall -1 EAGAIN\n",
	  .queue = QUEUE, EAGER },
	{ "MSG_WAITALL_waits_for_what_is_lacking", "rest-all",
	  .log = "recv 4000\nat 4400\n", .queue = QUEUE, .then = PEER_SENDS, EAGER },

	/* Ends. */
	{ "the_rest_and_then_the_end", "rest-end 3", .log = ALL "read 0\nagain 0\n",
	  .queue = QUEUE, .then = PEER_ENDS, EAGER },
	{ "the_rest_and_then_the_end_by_large_reads", "rest-end 1000",
	  .log = ALL "read 0\nagain 0\n", .queue = QUEUE, .then = PEER_ENDS },
	{ "a_reset_is_no_end", "rest-end 3", .log = ALL "read -1 ECONNRESET\nagain 0\n",
	  .queue = QUEUE, .then = PEER_RESETS, EAGER },
	{ "a_reset_is_no_end_by_large_reads", "rest-end 1000",
	  .log = ALL "read -1 ECONNRESET\nagain 0\n", .queue = QUEUE,
	  .then = PEER_RESETS },
	{ "a_write_after_an_end_that_was_read", "rest-parted",
	  .log = ALL "read 0\nagain 0\nsend 2\nsend 2\nsend 2\n", .queue = QUEUE,
	  .then = PEER_ENDS },
	{ "a_write_after_a_reset_that_was_read", "rest-parted",
	  .log = ALL "read -1 ECONNRESET\nagain 0\nsend -1 EPIPE\nsend -1 EPIPE\n"
		     "send -1 EPIPE\n",
	  .queue = QUEUE, .then = PEER_RESETS },
	{ "reading_is_shut", "rest-shut", .queue = QUEUE, EAGER },
	{ "a_close_with_a_rest", "rest-leave 12 close", .queue = QUEUE },
	{ "a_close_when_all_was_read", "rest-leave 4000 close", .queue = QUEUE, EAGER },
	{ "a_shutdown_when_all_was_read", "rest-leave 4000 shutdown", .queue = QUEUE,
	  EAGER },
	{ "an_end_with_a_rest", "rest-leave 12 return", .queue = QUEUE },
	{ "an_end_when_all_was_read", "rest-leave 4000 return", .queue = QUEUE, EAGER },
	{ "_exit_when_all_was_read", "rest-leave 4000 _exit", .queue = QUEUE, EAGER },
	{ "quick_exit_when_all_was_read", "rest-leave 4000 quick_exit", .queue = QUEUE,
	  EAGER },
	{ "a_signal_to_itself_when_all_was_read", "rest-leave 4000 raise",
	  .queue = QUEUE, .status = ANY_STATUS, EAGER },
	{ "close_on_exec_when_all_was_read", "rest-leave 4000 exec", .queue = QUEUE,
	  EAGER },

	/* Threads, handlers, jumps. */
	{ "threads_get_every_record_once", "rest-threads none 8000", .log = "right\n",
	  .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
	{ "threads_that_lock_get_every_byte_in_order", "rest-threads lock 8000",
	  .log = "at 64000\n", .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
	{ "threads_that_take_turns_get_every_byte_in_order", "rest-threads turn 8000",
	  .log = "at 64000\n", .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
	{ "a_handler_reads_among_the_reads", "rest-handler 8000", .log = "right\n",
	  .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
	{ "a_handler_jumps_out_of_reads", "rest-jumps 8000", .log = "right\n",
	  .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
	{ "a_jump_out_of_a_read_that_sleeps_loses_nothing", "rest-jump-asleep",
	  .log = "at 4400\n", .queue = QUEUE, .then = PEER_SENDS, EAGER },
	/* Natively, too, AddressSanitizer may report its own sigaltstack at the end of a thread that was cancelled. */
	{ "readers_are_cancelled", "rest-cancel 8000", .log = "cancelled 20\nright\n",
	  .flags = PLAIN_BUILD, .queue = LONG_QUEUE, .then = PEER_ENDS, EAGER },
};

static int
is_writable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, ms) == 1 && p.revents & POLLOUT;
}

/*
 * The peer has no room left; the actor takes a little by small reads, less than is read
 * ahead at once, and then makes no call on the stream. Natively the peer can write by then.
 */
static int
sender_waits(enum half half, const char *then, const char *delay)
{
	const char *const args[] = { "2400", then, NULL }, *const env[] = { delay,
									    NULL };
	struct options options = { .kind = UNIX_ACCEPT,
				   .half = half,
				   .command = "rest-stall",
				   .args = args,
				   .env = env,
				   .no_greeting = 1 };
	int small = 65536;
	struct run run;
	int64_t waited;

	run_start(&run, &options);
	run.paused = 1;
	setsockopt(run.peer, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	assert_true(run_until_log(&run, "~peer ", HANG_MS));
	for (int i = 0; is_writable(run.peer, 0); i++)
		scenario_send_records(&run, i * 125, 125);
	run_wake(&run);
	assert_true(run_until_log(&run, "~taken ", HANG_MS));
	assert_true(is_writable(run.peer, HANG_MS));
	waited = (now_ns() - run_noted(&run, "taken")) / 1000000;
	assert_true(run_until_over(&run, HANG_MS));
	run_finish(&run);
	return (int)waited;
}

static void
check_sender(enum half half, const char *then, const char *delay)
{
	int waited = INT_MAX;

	for (int i = 0; i < SCENARIO_TRIES && waited > 250; i++)
		waited = sender_waits(half, then, delay);
	if (waited > 250)
		fail_msg("%s, %s: the peer had to wait for %d ms",
			 half == NATIVE ? "native" : "preloaded", then, waited);
}

static void
a_sender_has_room_while_the_thread_computes(void **state)
{
	(void)state;
	for (enum half half = NATIVE; half <= PRELOADED; half++)
		check_sender(half, "computes", "STREAM_FLUSH_DELAY_US=1000");
}

static void
a_sender_has_room_while_the_thread_sleeps(void **state)
{
	(void)state;
	for (enum half half = NATIVE; half <= PRELOADED; half++) {
		check_sender(half, "poll", "STREAM_FLUSH_DELAY_US=1000000");
		check_sender(half, "nanosleep", "STREAM_FLUSH_DELAY_US=1000000");
		check_sender(half, "pipe", "STREAM_FLUSH_DELAY_US=1000000");
	}
}

/* The control: were nothing read ahead, all of the above would say nothing. */
static void
small_reads_are_served_from_what_was_read_ahead(void **state)
{
	static const char *const args[] = { "3900", "wait", NULL };
	struct run run;

	(void)state;
	if (!harness_has_library())
		skip();
	for (enum kind kind = TCP_ACCEPT; kind <= UNIX_CONNECT; kind++) {
		struct options options = { .kind = kind,
					   .half = PRELOADED,
					   .command = "rest-leave",
					   .args = args,
					   .no_greeting = 1 };
		double app, kernel;
		char *body;

		run_start(&run, &options);
		scenario_send_records(&run, 0, QUEUE);
		assert_true(run_until_log(&run, "~waits ", HANG_MS));
		body = metrics_get(&run, "/metrics", HANG_MS);
		assert_non_null(body);
		app = metrics_sum(body, "weir_app_reads_total");
		kernel = metrics_sum(body, "weir_kernel_reads_total");
		free(body);
		run_wake(&run);
		if (app < 1000 || kernel > app / 50) {
			run_explain(&run);
			fail_msg("%.0f reads were %.0f calls", app, kernel);
		}
		run_finish(&run);
	}
}

#define CASE(name) cmocka_unit_test_teardown(name, harness_clean)

static const struct CMUnitTest tests[] = {
	CASE(small_reads_are_served_from_what_was_read_ahead),
	CASE(a_sender_has_room_while_the_thread_computes),
	CASE(a_sender_has_room_while_the_thread_sleeps),
};

int
main(void)
{
	return scenario_main_with("rest", scenarios,
				  sizeof scenarios / sizeof *scenarios, tests,
				  sizeof tests / sizeof *tests);
}
