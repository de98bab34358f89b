/* Everything that reaches the socket by another way keeps its place behind a hold. */
#include "scenario.h"

/* The same order with other settings; the native run says what comes. */
#define WITH(what, one, two) \
	{ "every_call_keeps_its_place_with_" what, "calls", .env = { one, two } }, \
		{ "files_keep_their_place_with_" what, "files", .env = { one, two } }, \
		{ "big_writes_keep_their_place_with_" what, "big-write", \
		  .kinds = ACCEPT_KINDS, .env = { one, two } }, \
	{ \
		"vectors_of_every_length_with_" what, "vectors", .kinds = TCP_KINDS, \
								 .env = { one, \
									  two } \
	}

/* Both ends in one thread. */
#define WITHIN(kind) \
	{ \
		"a_look_at_the_other_end_finds_every_byte_" kind, "pair " kind, \
			.kinds = BIT(NO_STREAM), .flags = NO_GREETING | MAY_SKIP \
	}
#define FORKED(kind) \
	{ \
		"in_a_child_with_both_ends_of_a_" kind, "pair-forked " kind, \
			.kinds = BIT(NO_STREAM), .flags = NO_GREETING \
	}
#define HEIR(kind, how) \
	{ \
		"in_a_child_that_begins_with_" how "_" kind, \
			"pair-forked " kind " " how, .kinds = BIT(NO_STREAM), \
						     .flags = NO_GREETING \
	}
#define SECOND(kind, how) \
	{ \
		"in_a_second_child_that_begins_with_" how "_" kind, \
			"pair-forked " kind " " how " again", .kinds = BIT(NO_STREAM), \
							      .flags = NO_GREETING \
	}
#define ENDED(kind, how) \
	{ \
		"the_other_end_by_" how "_" kind, "pair-ends " kind " " how, \
			.kinds = BIT(NO_STREAM), .flags = NO_GREETING | MAY_SKIP \
	}

static const struct scenario scenarios[] = {
	{ "stdio_opened_for_writing", "fdopen w", PREFIX "4;5;f6;7;f8;9;10;f11;",
	  "fclose 0\nwrite -1 EBADF\n" },
	{ "stdio_opened_for_both", "fdopen r+", PREFIX "4;5;f6;7;f8;9;10;f11;",
	  "fclose 0\nwrite -1 EBADF\n" },
	{ "dprintf_keeps_its_place", "dprintf", PREFIX "4;5;d6;4;5;d6;4;5;d6;4;5;d6;",
	  "dprintf 3\ndprintf 3\ndprintf 3\ndprintf 3\n" },
	{ "asynchronous_writes_keep_their_place", "aio", PREFIX "4;5;a6;7;8;a6;9;",
	  "aio_write 0\naio_return 3\nlio_listio 0\naio_return 3\n" },
	{ "submitted_writes_keep_their_place", "submit", PREFIX "4;5;s6;7;8;9;",
	  "io_setup 0\nio_submit 1\nio_getevents 1\nio_submit -1 EFAULT\n"
	  "io_submit -1 EFAULT\n" },
	{ "backtrace_symbols_fd_keeps_its_place", "backtrace" },
	{ "each_write_has_its_time_stamp", "stamps", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING | MAY_SKIP },
	{ "calls_before_any_constructor", "early", .log = "-----0-\n",
	  .kinds = BIT(NO_STREAM), .flags = NO_GREETING | PLAIN_BUILD },
	{ "printf_to_a_stream_on_its_number_keeps_its_place", "standard",
	  .log = "read 11\n1;2;3;p4;5;\n", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },
	{ "freopen_ends_the_stream", "freopen", PREFIX "4;f5;6;7;",
	  "freopen ok\nslept\n", .flags = WAKE_STDIN | IN_TIME,
	  .early = PREFIX "4;f5;6;7;" },
	{ "sendfile_and_splice_keep_their_place", "files",
	  PREFIX "FILE1;4;5;FILE2;6;SPLICED;7;8;FILE2;9;",
	  "sendfile 6\nsendfile 6\nsplice 8\nsyscall sendfile 6\n" },
	{ "every_write_call_keeps_its_place", "calls",
	  PREFIX "v4;v5;s6;t7;m8;m9;v4;v5;v4;v5;n10;y11;y12;13;more;and more;last;14;",
	  "writev 6\nsend 3\nsendto 3\nsendmsg 6\nsendmmsg 2\nlengths 3 3\npwritev2 6\n"
	  "send 4\nsyscall write 4\nsyscall sendto 4\nsend more 5\nsend more 9\n"
	  "pwrite -1 ESPIPE\n" },
	{ "a_copy_of_its_own_by_pidfd_getfd_keeps_its_place", "pidfd_getfd",
	  PREFIX "4;f5;6;f7;8;f9;", .flags = MAY_SKIP },
	{ "a_copy_of_its_own_by_syscall_keeps_its_place", "pidfd_getfd syscall",
	  PREFIX "4;f5;6;f7;8;f9;", .flags = MAY_SKIP },
	{ "urgent_data_keeps_its_place", "urgent", PREFIX "4;!5;6;more!7;",
	  "send oob 1\nsend oob 5\n", .kinds = TCP_KINDS, .flags = OOB_INLINE },
	{ "options_between_writes_answer_as_natively", "options",
	  PREFIX "4;5;6;7;8;9;10;11;12;13;" },
	{ "an_ioctl_finds_every_byte_in_the_kernel", "ioctl", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },
	WITHIN("socketpair"),
	WITHIN("unix"),
	WITHIN("tcp"),
	FORKED("socketpair"),
	FORKED("unix"),
	FORKED("tcp"),
	HEIR("socketpair", "close"),
	HEIR("socketpair", "FIONREAD"),
	HEIR("socketpair", "dup"),
	HEIR("tcp", "FIONREAD"),
	HEIR("tcp", "dup"),
	SECOND("unix", "FIONREAD"),
	SECOND("unix", "dup"),
	SECOND("unix", "close"),
	SECOND("tcp", "FIONREAD"),
	SECOND("tcp", "dup"),
	WITHIN("mixed"),
	ENDED("socketpair", "close"),
	ENDED("unix", "close"),
	ENDED("tcp", "close"),
	ENDED("socketpair", "end"),
	ENDED("tcp", "end"),
	ENDED("mixed", "end"),
	ENDED("socketpair", "shutdown"),
	ENDED("unix", "shutdown"),
	ENDED("socketpair", "dup"),
	ENDED("tcp", "dup"),
	{ "the_other_end_gets_nothing_while_more_is_announced", "pair-more tcp",
	  .log = "recv 6 4\nrecv 6 4\nrecv 6 4\n", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },
	{ "on_a_unix_socket_MSG_MORE_withholds_nothing", "pair-more socketpair",
	  .log = "recv 8 2\nrecv 8 2\nrecv 8 2\n", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },
	{ "messages_tell_who_wrote_them", "sender", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING | MAY_SKIP },
	{ "messages_keep_their_boundaries", "boundaries", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING },

	WITH("small_chunks", "STREAM_REQUEST_CHUNK_SIZE=1024",
	     "STREAM_RESPONSE_CHUNK_SIZE=1024"),
	WITH("large_chunks", "STREAM_REQUEST_CHUNK_SIZE=1M",
	     "STREAM_RESPONSE_CHUNK_SIZE=1M"),
	WITH("no_pool", "STREAM_BUFFER_POOL_ENABLED=0", NULL),
	WITH("a_tiny_pool", "STREAM_BUFFER_POOL_MAX_BYTES=4096", NULL),
	WITH("no_memory_for_a_pool", "STREAM_BUFFER_POOL_MAX_BYTES=0", NULL),
	WITH("the_default_delay", "STREAM_FLUSH_DELAY_US=", NULL),
	WITH("no_delay", "STREAM_FLUSH_DELAY_US=0", NULL),
	WITH("no_library_work", "STREAM_ENABLED=0", NULL),
};

int
main(void)
{
	return scenario_main("order", scenarios, sizeof scenarios / sizeof *scenarios);
}
