/* A handler forks in the middle of a write or a read, and the call goes on in both processes. */
#include "scenario.h"

#define NONE .kinds = BIT(NO_STREAM), .flags = NO_GREETING
#define FORKS(kind) \
	{ "a_handler_forks_in_writes_by_" kind, "handler-forks-in-writes " kind, "", \
	  "sound\n", NONE }, \
	{ \
		"a_handler_forks_in_reads_by_" kind, "handler-forks-in-reads " kind, \
			"", "sound\n", NONE, \
			.env = { "STREAM_TEST=eager" } \
	}

/* At each instruction; sanitizers add many. Without metrics, for which a thread may have to be made. */
#define STEPPED(what, race) \
	{ \
		"a_handler_s_child_uses_another_stream_in_" what, "interleave " race, \
			"", "over\n", .kinds = BIT(NO_STREAM), \
				      .flags = NO_GREETING | PLAIN_BUILD, \
				      .env = { "STREAM_METRICS_SOCKET=off" } \
	}

static const struct scenario scenarios[] = {
	FORKS("fork"),
	FORKS("_Fork"),
	FORKS("syscall-clone"),
	STEPPED("a_write_that_is_held", "fork-append"),
	STEPPED("a_write_that_is_sent", "fork-answer"),
	STEPPED("a_read_of_what_was_read_ahead", "fork-take"),
};

int
main(void)
{
	return scenario_main("interrupts", scenarios,
			     sizeof scenarios / sizeof *scenarios);
}
