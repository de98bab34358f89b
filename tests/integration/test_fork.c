/* After every kind of fork, held bytes arrive once and both sides write in order. */
#include <signal.h>

#include "scenario.h"

#define ONCE PREFIX "p6;p7;"
#define BOTH PREFIX "c4;c5;p6;p7;"
#define LEFT "child 0x700\n"
/* AddressSanitizer says a line about a stack that it does not know. */
#define FOREIGN_STACK .flags = PLAIN_BUILD
#define TURNS_BY_PIPE \
	"p00;c00;p01;c01;p02;c02;p03;c03;p04;c04;p05;c05;p06;c06;p07;c07;p08;c08;" \
	"p09;c09;p10;c10;p11;c11;p12;c12;p13;c13;p14;c14;p15;c15;p16;c16;p17;c17;" \
	"p18;c18;p19;c19;"
#define TURNS_BY_MEMORY \
	"p00;c01;p02;c03;p04;c05;p06;c07;p08;c09;p10;c11;p12;c13;p14;c15;p16;c17;" \
	"p18;c19;p20;c21;p22;c23;p24;c25;p26;c27;p28;c29;p30;c31;p32;c33;p34;c35;" \
	"p36;c37;p38;c39;"

#define FORKS(kind) \
	{ kind "_child_exits_and_sends_nothing", "fork " kind " exit", ONCE, LEFT }, \
		{ kind "_child__exits_and_sends_nothing", "fork " kind " _exit", ONCE, \
		  LEFT }, \
		{ kind "_child_quick_exits_and_sends_nothing", \
		  "fork " kind " quick_exit", ONCE, LEFT }, \
		{ kind "_child_closes_and_sends_nothing", "fork " kind " close", ONCE, \
		  LEFT }, \
		{ kind "_child_dies_and_sends_nothing", "fork " kind " raise", ONCE, \
		  "child 0xf\n" }, \
		{ kind "_child_writes_and_exits", "fork " kind " write-exit", BOTH, \
		  LEFT }, \
		{ kind "_child_writes_and__exits", "fork " kind " write-_exit", BOTH, \
		  LEFT }, \
		{ kind "_child_writes_after_the_parent", "fork-parent-first " kind, \
		  PREFIX "p4;p5;c6;c7;", "" }, \
		{ kind "_then_turns_by_pipe", "turns-by-pipe " kind, \
		  PREFIX TURNS_BY_PIPE, "child 0\n" }, \
		{ kind "_then_turns_by_memory", "turns-by-memory " kind, \
		  PREFIX TURNS_BY_MEMORY, "child 0\n" }, \
	{ \
		kind "_twice", "fork-twice " kind, PREFIX "c4;g5;g6;p7;", \
			"child 0\nchild 0\n" \
	}

static const struct scenario scenarios[] = {
	FORKS("fork"),
	FORKS("_Fork"),
	FORKS("syscall-fork"),
	{ "vfork_children_that__exit_send_nothing", "vfork _exit",
	  PREFIX "p6;p7;p6;p7;p6;p7;", LEFT LEFT LEFT },
	{ "vfork_children_that_exec_write_in_order", "vfork exec",
	  PREFIX "4;5;p6;p7;4;5;p6;p7;4;5;p6;p7;",
	  "child 0x600\nchild 0x600\nchild 0x600\n" },
	{ "vfork_children_that_dup_close_and_exec", "vfork dup2",
	  PREFIX "4;5;p6;p7;4;5;p6;p7;4;5;p6;p7;",
	  "child 0x600\nchild 0x600\nchild 0x600\n" },
	{ "clone_child__exits_and_sends_nothing", "clone copy _exit", ONCE, LEFT,
	  FOREIGN_STACK },
	{ "clone_child_exits_and_sends_nothing", "clone copy exit", ONCE, LEFT,
	  FOREIGN_STACK },
	{ "clone_child_writes", "clone copy write-_exit", BOTH, LEFT, FOREIGN_STACK },
	{ "clone_child_in_our_memory__exits", "clone vm _exit", ONCE, LEFT,
	  FOREIGN_STACK },
	{ "clone_child_in_our_memory_writes", "clone vm write-_exit", BOTH, LEFT,
	  FOREIGN_STACK },
	{ "clone_child_with_a_thread_pointer_of_its_own__exits", "clone tls _exit",
	  ONCE, LEFT, FOREIGN_STACK },
	/* A fork that no library can see: its child starts with empty tables. */
	{ "raw_clone_child__exits_and_sends_nothing", "fork raw-clone _exit", ONCE,
	  LEFT },
	{ "raw_clone_child_exits_and_sends_nothing", "fork raw-clone exit", ONCE, LEFT },
	{ "forks_while_another_thread_writes", "fork-while-writing fork",
	  .kinds = ACCEPT_KINDS },
	{ "forks_while_another_thread_writes_and_the_keeper_works",
	  "fork-while-writing fork", .kinds = ACCEPT_KINDS,
	  .env = { "STREAM_FLUSH_DELAY_US=200" } },
	{ "_Forks_while_another_thread_writes", "fork-while-writing _Fork",
	  .kinds = ACCEPT_KINDS },
};

int
main(void)
{
	return scenario_main("fork", scenarios, sizeof scenarios / sizeof *scenarios);
}
