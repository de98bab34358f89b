/*
 * No sleep at all: what a look that finds nothing, another stream, or a thread's end
 * must send, and what the keeper sends while the program computes.
 */
#include "scenario.h"

#define LOOK(call) \
	{ \
		"bytes_are_out_after_" call, "sleep " call, PREFIX, \
			.flags = IN_TIME, .kinds = BIT(TCP_ACCEPT) \
	}
#define THREAD(call) \
	{ \
		"bytes_are_out_after_" call, "sleep " call, PREFIX "4;5;", \
			.flags = IN_TIME, .early = PREFIX "4;5;", \
			.kinds = BIT(TCP_ACCEPT) \
	}

static const struct scenario scenarios[] = {
	LOOK("look-poll"),
	LOOK("look-ppoll"),
	LOOK("look-select"),
	LOOK("look-epoll_wait"),
	LOOK("look-recv"),
	LOOK("other-write"),
	LOOK("other-read"),

	THREAD("thread-end"),
	THREAD("thread-exit"),
	THREAD("thread-cancelled"),

	/* Without any call the keeper sends them at the delay. */
	{ "bytes_are_out_at_the_delay_while_the_thread_computes", "busy", PREFIX, "",
	  .flags = IN_TIME, .within = 200, .kinds = ACCEPT_KINDS,
	  .env = { "STREAM_FLUSH_DELAY_US=20000" } },
	{ "bytes_are_out_at_the_delay_while_a_real_time_thread_computes", "busy-first",
	  NULL, "", .flags = IN_TIME | MAY_SKIP | PLAIN_BUILD, .within = 150,
	  .kinds = ACCEPT_KINDS, .env = { "STREAM_FLUSH_DELAY_US=20000" } },
};

int
main(void)
{
	return scenario_main("busy", scenarios, sizeof scenarios / sizeof *scenarios);
}
