/* Sandboxes, identities, name spaces, small and huge limits, another library. */
#include <signal.h>

#include "scenario.h"

#define ON PREFIX "4;5;6;"
#define BEFORE PREFIX "before;before;4;5;6;"
#define BURST "4;5;6;4;5;6;"
#define BURSTS PREFIX BURST BURST BURST BURST BURST
#define SKIP .flags = MAY_SKIP
#define TIGHT .flags = MAY_SKIP | ONE_LINE | PLAIN_BUILD
/* A sanitizer makes system calls of its own when a thread ends. */
#define FILTERED .flags = PLAIN_BUILD

static const struct scenario scenarios[] = {
	{ "writes_work_in_strict_seccomp", "strict", ON, "prctl 0\n", EXITED(7),
	  .kinds = ACCEPT_KINDS },
	{ "writes_work_behind_a_filter_set_by_prctl", "filter prctl", BEFORE,
	  "still here\n", EXITED(7), FILTERED },
	{ "writes_work_behind_a_filter_set_by_syscall", "filter syscall", BEFORE,
	  "still here\n", EXITED(7), FILTERED },
	{ "exit_works_behind_a_filter", "filter prctl exit", BEFORE, "still here\n",
	  EXITED(7), FILTERED },

	{ "the_identity_can_change", "identity", PREFIX "e1;e2;e3;e4;4;5;6;4;5;6;end;",
	  "seteuid 0\nseteuid 0\nsetgroups 0\nsetgid 0\nsetuid 0\nsetuid -1 EPERM\n",
	  SKIP },
	{ "the_identity_can_change_by_syscall", "identity syscall",
	  PREFIX "e1;e2;e3;e4;4;5;6;4;5;6;end;",
	  "seteuid 0\nseteuid 0\nsetgroups 0\nsetgid 0\nsetuid 0\nsetuid -1 EPERM\n",
	  SKIP },
	/* vsftpd's child hung, as it was copied between the keeper's birth and its first step. With a
	 * sanitizer helper threads are libc's, which then waits in a copy for what is not there. */
	{ "a_copy_made_early_sets_its_identity", "early-copies", ON, "copies 0\n",
	  EXITED(7), .flags = PLAIN_BUILD },
	{ "unshare_is_not_in_the_way_of_a_thread", "unshare", ON "7;8;" },
	{ "a_host_s_tcp_notsent_lowat_counts", "notsent",
	  .log = "getsockopt 0\nshutdown 0\nclose 0\nat once 1\n",
	  .kinds = BIT(NO_STREAM), .flags = NO_GREETING | MAY_SKIP },
	{ "setns_is_not_in_the_way_of_a_thread", "setns", BEFORE },
	{ "capset_answers_as_natively", "capset", BEFORE },

	/* Five ways of twenty, with and without O_NONBLOCK. */
	{ "a_library_behind_sees_each_native_call", "behind alone",
	  .log = "told read 120 write 40 recv 80 send 40 writev 40 sendmsg 40 "
		 "sendfile 40 setsockopt 200\n",
	  .kinds = BIT(NO_STREAM), .flags = NO_GREETING | PLAIN_BUILD },
	{ "a_library_behind_sees_each_native_call_of_a_thread", "behind among",
	  .log = "told read 120 write 40 recv 80 send 40 writev 40 sendmsg 40 "
		 "sendfile 40 setsockopt 200\n",
	  .kinds = BIT(NO_STREAM), .flags = NO_GREETING | PLAIN_BUILD },

	{ "threads_with_the_smallest_stack_write", "small-stack",
	  PREFIX "4;5;6;4;5;6;4;5;6;4;5;6;end;",
	  "stacksize 0\npthread_create 0\npthread_create 0\npthread_create 0\n"
	  "pthread_create 0\n",
	  .flags = PLAIN_BUILD },
	{ "the_highest_limit_of_descriptors", "limit nofile max root write-on", ON,
	  .status = EXITED(7) },
	{ "a_billion_descriptors", "limit nofile 1000000000 root write-on",
	  .status = EXITED(7), SKIP },
	{ "a_limit_of_few_descriptors", "limit nofile 201 root write-on", ON,
	  .status = EXITED(7), TIGHT },
	{ "little_address_space", "limit as 48000000 root sleep-on", BURSTS,
	  .status = EXITED(7), TIGHT },
	{ "very_little_address_space", "limit as 12000000 root sleep-on", BURSTS,
	  .status = EXITED(7), TIGHT },
	{ "little_data", "limit data 4000000 root sleep-on", BURSTS,
	  .status = EXITED(7), TIGHT },
	{ "no_thread_can_be_made", "limit nproc 0 nobody sleep-on", BURSTS,
	  .status = EXITED(7), TIGHT },
	{ "no_file_may_grow", "limit fsize 0 root write-on", ON, .status = EXITED(7) },
	{ "nothing_may_be_locked_in_memory", "limit memlock 0 root write-on", ON,
	  .status = EXITED(7) },
	{ "descriptors_0_to_2_are_closed", "closed 012 write-on", ON,
	  .status = EXITED(7) },
	{ "a_stream_is_descriptor_0", "closed 012 sleep-on", BURSTS, "stream 0\n",
	  EXITED(7), .kinds = TCP_KINDS & ~ACCEPT_KINDS },
	{ "a_stream_is_descriptor_1", "closed 012 sleep-on", BURSTS, "stream 1\n",
	  EXITED(7), .kinds = ACCEPT_KINDS },
	{ "a_stream_is_descriptor_2", "closed 12 sleep-on", BURSTS, "stream 2\n",
	  EXITED(7), .kinds = ACCEPT_KINDS },
};

int
main(void)
{
	return scenario_main("limits", scenarios, sizeof scenarios / sizeof *scenarios);
}
