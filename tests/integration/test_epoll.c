/*
 * An epoll instance that is told around each write to wait for room, and then not to, while bytes that were read ahead
 * are left: a library that knows what the kernel knows may answer much of it by itself, and nobody can tell.
 */
#include "scenario.h"

#define QUEUE 500
#define EAGER .env = { "STREAM_TEST=eager" }
#define QUEUED .queue = QUEUE, EAGER

#define SEEN(what, who) \
	{ \
		"the_kernel_knows_" who, "epoll-seen " what, .log = NULL, QUEUED \
	}
#define CLOSED(how) \
	{ \
		"a_duplicate_is_waited_for_as_it_was_after_" how, "epoll-close " how, \
			QUEUED \
	}
/* At each instruction; sanitizers add many. Without metrics: a helper thread that were made there would step, too. */
#define RACE(name, race) \
	{ \
		name, "interleave " race, "", "over\n", \
			.kinds = BIT(NO_STREAM), .flags = NO_GREETING | PLAIN_BUILD, \
			.env = { "STREAM_TEST=eager", \
				 "STREAM_METRICS_SOCKET=off" } \
	}

static const struct scenario scenarios[] = {
	{ "all_answers_are_the_kernels", "epoll-serve", QUEUED },
	SEEN("epoll_wait", "at_a_wait"),
	SEEN("epoll_pwait", "at_epoll_pwait"),
	SEEN("epoll_pwait2", "at_epoll_pwait2"),
	SEEN("syscall-epoll_pwait", "at_a_wait_by_syscall"),
	SEEN("poll", "when_the_instance_is_polled"),
	SEEN("ppoll", "at_ppoll"),
	SEEN("select", "when_the_instance_is_selected"),
	SEEN("nanosleep", "at_a_sleep"),
	SEEN("thread", "before_another_thread_begins"),
	SEEN("c11-thread", "before_another_c11_thread_begins"),
	SEEN("timer", "before_a_timer_s_thread_begins"),
	SEEN("mq_notify", "before_a_message_queue_s_thread_begins"),
	SEEN("pidfd_getfd", "when_the_instance_has_a_number_of_another_process"),
	SEEN("aio_read", "before_a_request_s_thread_begins"),
	SEEN("lio_listio", "before_a_thread_that_tells_of_no_request"),
	SEEN("io_submit", "when_the_kernel_is_given_requests"),
	{ "the_kernel_knows_before_a_cloned_thread_begins", "epoll-seen clone",
	  .flags = PLAIN_BUILD, QUEUED },
	SEEN("fork", "in_a_child"),
	SEEN("syscall-fork", "in_a_child_by_syscall"),
	SEEN("spawn", "in_a_spawned_program"),
	SEEN("vfork", "in_a_program_after_vfork"),
	SEEN("dup", "when_the_instance_has_two_numbers"),
	SEEN("pass", "when_another_process_may_have_the_instance"),
	SEEN("nest", "when_the_instance_is_part_of_another"),
	{ "the_kernel_knows_after_an_exec", "epoll-seen exec", .status = EXITED(6),
	  QUEUED },
	CLOSED("close"),
	CLOSED("close_range"),
	CLOSED("syscall"),
	CLOSED("dup2"),
	{ "what_is_newly_wanted_is_told_at_once", "epoll-tells", QUEUED },
	{ "another_stream_is_told_of_all_along", "epoll-other", .log = "100 of 100\n",
	  QUEUED },
	{ "what_it_has_made_ready_itself_is_told", "epoll-own", .log = "50 told\n",
	  QUEUED },
	{ "its_own_shutdown_is_told", "epoll-shut", .log = "shutdown 0\nhup 1\n",
	  QUEUED },
	{ "the_end_is_told_beside_what_is_left", "epoll-end", .then = PEER_ENDS,
	  QUEUED },
	RACE("a_handler_changes_another_interest_in_a_change", "epoll-other"),
	RACE("a_handler_changes_the_same_interest_in_a_change", "epoll-same"),
	RACE("a_handler_begins_anew_in_a_change", "epoll-anew"),
	RACE("a_handler_sleeps_in_a_change", "epoll-slept"),
	RACE("a_handler_copies_the_instance_in_a_change", "epoll-copied"),
	RACE("a_handler_changes_an_interest_in_a_wait", "epoll-wait"),
	RACE("a_handler_changes_an_interest_in_a_wait_with_bytes_owed", "epoll-owing"),
	RACE("a_handler_waits_and_changes_an_interest_in_a_wait", "epoll-nested"),
	RACE("a_handler_changes_an_interest_in_a_wait_with_nothing_owed", "epoll-free"),
	RACE("a_handler_changes_an_interest_in_a_sleep", "epoll-sleep"),
	RACE("a_handler_leaves_a_change", "epoll-left"),
	RACE("a_handler_leaves_a_wait", "epoll-left-wait"),
	RACE("a_handler_leaves_a_sleep", "epoll-left-sleep"),
};

int
main(void)
{
	return scenario_main("epoll", scenarios, sizeof scenarios / sizeof *scenarios);
}
