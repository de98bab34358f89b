/* Closing, copying, replacing and reusing descriptors. */
#include <signal.h>

#include "scenario.h"

#define SEEN .flags = WAKE_STDIN | IN_TIME, .early = PREFIX "4;5;"
#define CLOSE(how, log) \
	{ \
		"the_peer_sees_all_and_the_end_after_" how, "close " how, \
			PREFIX "4;5;", how " 0\n" log "slept\n", SEEN \
	}
#define GONE "write -1 EBADF\nclose -1 EBADF\n"
#define DUP(how, rest) \
	{ \
		"both_numbers_write_in_order_after_" how, "dup " how, \
			PREFIX "d4;d5;6;7;d8;9;d10;d11;", .log = rest \
	}
#define NONE .kinds = BIT(NO_STREAM), .flags = NO_GREETING

/* Stepped by instructions, of which sanitizers add many. Without metrics, for which a thread may have to be made. */
#define RACE(name, race) \
	{ \
		name, "interleave " race, NULL, "over\n", \
			.kinds = BIT(NO_STREAM), .flags = NO_GREETING | PLAIN_BUILD, \
			.env = { "STREAM_METRICS_SOCKET=off" } \
	}

static const struct scenario scenarios[] = {
	CLOSE("close", GONE),
	CLOSE("close_range", GONE),
	CLOSE("close_range-wide", GONE),
	CLOSE("syscall-close", GONE),
	CLOSE("syscall-close_range", GONE),
	CLOSE("fclose", GONE),
	CLOSE("shutdown-wr", "write -1 EPIPE\nclose 0\n"),
	CLOSE("shutdown-rdwr", "write -1 EPIPE\nclose 0\n"),
	{ "shutdown_of_reads_leaves_writes_alone", "close shutdown-rd", PREFIX "4;5;6;",
	  "shutdown-rd 0\nwrite 2\nclose 0\nslept\n", SEEN },
	{ "the_peer_sees_all_and_the_reset_after_close", "close-reset", PREFIX "4;5;",
	  "setsockopt 0\nclose 0\nslept\n", SEEN },
	{ "the_peer_sees_all_and_the_end_after_closefrom", "closefrom", PREFIX "4;5;",
	  "", EXITED(7) },
	{ "another_thread_closes_the_stream", "close-from-thread", PREFIX,
	  "close 0\nwrite -1 EBADF\nslept\n", .flags = WAKE_STDIN | IN_TIME },
	{ "a_stream_closed_inside_an_epoll_set", "close-in-epoll", PREFIX "4;",
	  "epoll_ctl 0\nclose 0\nepoll_wait 0\nepoll_ctl -1 EBADF\nslept\n",
	  .flags = WAKE_STDIN | IN_TIME, .early = PREFIX "4;" },

	DUP("dup", NULL),
	DUP("dup2", "dup2 20\nclose 0\n"),
	DUP("dup2-itself", NULL),
	DUP("dup3", "dup3 21\nclose 0\n"),
	DUP("F_DUPFD", "F_DUPFD 22\nclose 0\n"),
	DUP("F_DUPFD_CLOEXEC", "F_DUPFD_CLOEXEC 23\nclose 0\n"),
	DUP("syscall-dup", NULL),
	DUP("syscall-dup3", "syscall-dup3 24\nclose 0\n"),
	{ "a_dup_that_fails_changes_nothing", "dup-fails", PREFIX "4;5;6;7;",
	  "dup2 -1 EBADF\ndup3 -1 EINVAL\ndup2 -1 EBADF\nfcntl -1 EINVAL\n"
	  "dup -1 EBADF\n" },
	{ "dup2_over_the_stream_delivers_and_ends_it", "dup-over dup2", PREFIX "4;5;",
	  NULL, SEEN },
	{ "dup3_over_the_stream_delivers_and_ends_it", "dup-over dup3", PREFIX "4;5;",
	  NULL, SEEN },
	{ "a_stream_put_over_another_keeps_its_bytes", "dup-stream-over", PREFIX "4;5;",
	  NULL, SEEN },

	{ "a_file_on_a_number_closed_by_syscall", "reuse-file syscall", PREFIX,
	  "reused 1\nfile 18 file1;file2;file3;\nfsync 0\nfile 18 file1;file2;file3;\n"
	  "close 0\n" },
	/* No library sees the close: the bytes may be lost, the file is not harmed. */
	{ "a_file_on_a_number_closed_unseen", "reuse-file raw", PREFIX,
	  "reused 1\nfile 18 file1;file2;file3;\nfsync 0\nfile 18 file1;file2;file3;\n"
	  "close 0\n",
	  .flags = PREFIX_ONLY },
	{ "a_file_on_a_number_closed_and_reused_unseen", "reuse-file-unseen", PREFIX,
	  "reused 1\nfile 0 \n", .flags = PREFIX_ONLY },
	{ "a_file_that_the_keeper_finds_in_place_of_a_stream", "reuse-file-unseen",
	  PREFIX, "reused 1\nfile 0 \n", .flags = PREFIX_ONLY,
	  .env = { "STREAM_FLUSH_DELAY_US=20000" } },
	{ "a_stream_on_a_number_closed_by_syscall", "reuse-socket syscall", PREFIX,
	  "reused 1\nshutdown 0\npair a1;a2;a3;\n" },
	{ "a_stream_on_a_number_closed_unseen", "reuse-socket raw", PREFIX,
	  "reused 1\nshutdown 0\npair a1;a2;a3;\n", .flags = PREFIX_ONLY },
	{ "numbers_reused_at_a_high_rate", "reuse-rate", NULL, "bad 0 0 0 0\n", NONE },
	RACE("a_number_used_again_while_a_stream_s_close_ends", "close"),
	RACE("a_number_used_again_while_a_file_s_close_ends", "fclose"),
	RACE("a_number_used_again_while_an_unknown_one_s_close_ends", "close-unknown"),
	RACE("a_number_closed_and_used_again_around_a_read_of_it", "read"),
	RACE("a_number_closed_and_used_again_around_a_recv_of_it", "recv"),
	RACE("a_number_closed_and_used_again_around_a_recvmsg_of_it", "recvmsg"),
	RACE("a_stream_shut_while_another_thread_writes", "shutdown"),
	{ "both_ends_in_one_thread_blocking", "both-ends", NULL, NULL, NONE },
	{ "both_ends_in_one_thread_without_waiting", "both-ends nowait", NULL, NULL,
	  NONE },
	{ "both_ends_in_one_thread_with_poll", "both-ends-poll", NULL, NULL, NONE },
};

int
main(void)
{
	return scenario_main("descriptors", scenarios,
			     sizeof scenarios / sizeof *scenarios);
}
