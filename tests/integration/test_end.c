/* Every way a process can end delivers what it wrote, once and in order. */
#include <signal.h>
#include <stdlib.h>

#include "scenario.h"

#define STR_(x) #x
#define STR(x) STR_(x)
#define GOT "got 1;2;3;\n"
#define MANY(how, status) \
	{ \
		"bytes_of_many_threads_arrive_before_" how, "many " how, NULL, \
			GOT GOT GOT GOT GOT GOT GOT GOT, status, BIT(NO_STREAM), \
			NO_GREETING \
	}
#define WRITING(how, said) \
	{ \
		"all_that_threads_have_written_arrives_at_" how, "writing " how, "", \
			"the last one " said "\n", .kinds = BIT(NO_STREAM), \
						   .flags = NO_GREETING \
	}
#define TERM " " STR(15)

#define PENDING(name, by, until) \
	{ \
		"held_bytes_arrive_before_a_blocked_" name, "pending " by " " until, \
			PREFIX "4;5;6;", "survived " by "\n", KILLED(SIGTERM), \
			.flags = MAY_SKIP \
	}

/* To another thread that blocks it; the keeper shall not come before. */
#define ELSEWHERE(name, by) \
	{ \
		"held_bytes_arrive_before_" name "_of_a_thread_that_blocks_it", \
			"elsewhere " by, PREFIX "4;5;6;", "", KILLED(SIGTERM), \
			.env = { "STREAM_FLUSH_DELAY_US=1000000" } \
	}

static const struct scenario scenarios[] = {
	{ "held_bytes_arrive_when_main_returns", "return", PREFIX, "", EXITED(3) },
	{ "held_bytes_arrive_at_exit", "end exit", PREFIX, "", EXITED(3) },
	{ "held_bytes_arrive_at__exit", "end _exit", PREFIX, "", EXITED(3) },
	{ "held_bytes_arrive_at__Exit", "end _Exit", PREFIX, "", EXITED(3) },
	{ "held_bytes_arrive_at_quick_exit", "end quick_exit", PREFIX, "", EXITED(3) },
	{ "held_bytes_arrive_at_syscall_exit_group", "end syscall-exit", PREFIX, "",
	  EXITED(3) },
	{ "held_bytes_arrive_at_syscall_exit_of_the_only_thread",
	  "end syscall-exit-thread", PREFIX, "", EXITED(3) },
	{ "atexit_handlers_write_behind_held_bytes", "end exit atexit", PREFIX "late;",
	  "", EXITED(3) },
	{ "at_quick_exit_handlers_write_behind_held_bytes",
	  "end quick_exit at_quick_exit", PREFIX "late;", "", EXITED(3) },
	{ "held_bytes_arrive_at_pthread_exit_of_main", "end pthread_exit", PREFIX, "",
	  EXITED(0) },
	{ "held_bytes_arrive_before_abort", "end abort", PREFIX, "", KILLED(SIGABRT) },
	{ "a_handler_of_abort_writes_behind_held_bytes", "end abort caught",
	  PREFIX "handler;", "", EXITED(5) },
	{ "what_a_handler_of_abort_writes_arrives", "end abort writes", PREFIX "a;b;c;",
	  "", KILLED(SIGABRT) },
	{ "what_a_handler_of_an_assertion_s_abort_writes_arrives", "end assert writes",
	  PREFIX "a;b;c;", "", KILLED(SIGABRT) },
	{ "held_bytes_arrive_before_a_failed_assertion", "end assert", PREFIX, "",
	  KILLED(SIGABRT) },
	{ "held_bytes_arrive_before_a_failed_assert_perror", "end assert-perror",
	  PREFIX, "", KILLED(SIGABRT) },
	{ "held_bytes_arrive_before_an_assertion_without_function", "end assert-plain",
	  PREFIX, "", KILLED(SIGABRT) },

	{ "held_bytes_arrive_before_raise", "die raise" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_kill", "die kill" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_SIGKILL_to_itself", "die kill 9", PREFIX, "",
	  KILLED(SIGKILL) },
	{ "held_bytes_arrive_before_kill_of_a_thread_s_number", "die kill-thread" TERM,
	  PREFIX, "", KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_kill_of_its_group", "die kill0" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_kill_of_minus_group", "die kill-group" TERM, PREFIX,
	  "", KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_killpg", "die killpg" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_tgkill", "die tgkill" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_syscall_tgkill", "die syscall-tgkill" TERM, PREFIX,
	  "", KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_pthread_kill", "die pthread_kill" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_sigqueue", "die sigqueue" TERM, PREFIX, "",
	  KILLED(SIGTERM) },

	{ "held_bytes_arrive_before_gsignal", "die gsignal" TERM, PREFIX, "",
	  KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_pthread_sigqueue", "die pthread_sigqueue" TERM,
	  PREFIX, "", KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_pidfd_send_signal", "die pidfd" TERM, PREFIX, "",
	  KILLED(SIGTERM), .flags = MAY_SKIP },
	{ "held_bytes_arrive_before_syscall_pidfd_send_signal",
	  "die syscall-pidfd" TERM, PREFIX, "", KILLED(SIGTERM), .flags = MAY_SKIP },
	{ "held_bytes_arrive_before_syscall_rt_sigqueueinfo",
	  "die syscall-sigqueue" TERM, PREFIX, "", KILLED(SIGTERM) },
	{ "held_bytes_arrive_before_syscall_rt_tgsigqueueinfo",
	  "die syscall-tgsigqueue" TERM, PREFIX, "", KILLED(SIGTERM) },

	PENDING("raise", "raise", ""),
	PENDING("kill", "kill", ""),
	PENDING("kill_is_let_in_by_ppoll", "kill", "ppoll"),
	PENDING("syscall_tgkill", "syscall-tgkill", ""),
	PENDING("syscall_pidfd_send_signal", "syscall-pidfd", ""),
	PENDING("syscall_rt_sigqueueinfo", "syscall-sigqueue", ""),
	PENDING("syscall_rt_tgsigqueueinfo", "syscall-tgsigqueue", ""),
	ELSEWHERE("pthread_kill", "pthread_kill"),
	ELSEWHERE("pthread_sigqueue", "pthread_sigqueue"),
	ELSEWHERE("tgkill", "tgkill"),
	ELSEWHERE("syscall_tgkill", "syscall-tgkill"),
	{ "held_bytes_arrive_when_a_handler_exits", "handled raise" TERM, PREFIX, "",
	  EXITED(5) },
	{ "a_handler_writes_behind_held_bytes_and_exits", "handled kill" TERM " writes",
	  PREFIX "handler;", "", EXITED(5) },
	{ "held_bytes_arrive_when_a_timer_handler_exits", "alarm", PREFIX "4;5;", "",
	  EXITED(5) },
	{ "a_timer_handler_writes_behind_held_bytes_and_exits", "alarm writes",
	  PREFIX "4;5;handler;", "", EXITED(5) },

	{ "another_thread_calls_exit", "thread exit", PREFIX "4;5;", "", EXITED(3) },
	{ "another_thread_calls__exit", "thread _exit", PREFIX "4;5;", "", EXITED(3) },
	{ "another_thread_aborts", "thread abort", PREFIX "4;5;", "", KILLED(SIGABRT) },
	{ "a_thread_writes_on_after_the_end_of_main", "main-thread", PREFIX "main;4;5;",
	  "slept\n", EXITED(0), .flags = WAKE_STDIN | IN_TIME, .early = PREFIX "main;" },

	MANY("exit", EXITED(3)),
	MANY("_exit", EXITED(3)),
	MANY("raise", KILLED(SIGTERM)),
	MANY("exec", EXITED(0)),
	MANY("fork", EXITED(3)),
	WRITING("exit", "0"),
	WRITING("_exit", "0"),
	WRITING("raise", "15"),
	WRITING("exec", "0"),
};

int
main(void)
{
	return scenario_main("end", scenarios, sizeof scenarios / sizeof *scenarios);
}
