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

static const struct scenario scenarios[] = {
	FORKS("fork"),
	FORKS("_Fork"),
	FORKS("syscall-clone"),
};

int
main(void)
{
	return scenario_main("interrupts", scenarios,
			     sizeof scenarios / sizeof *scenarios);
}
