/* Programs started with the stream open in them, and descriptors that are passed. */
#include "scenario.h"

#define SPAWNED PREFIX "4;5;p6;p7;"

static const struct scenario scenarios[] = {
	{ "posix_spawn_child_writes_behind_held_bytes", "spawn posix_spawn", SPAWNED,
	  "posix_spawn 0\nchild 0x600\n" },
	{ "posix_spawnp_child_writes_behind_held_bytes", "spawn posix_spawnp", SPAWNED,
	  "posix_spawnp 0\nchild 0x600\n" },
	{ "a_posix_spawn_that_fails_changes_nothing", "spawn-fails", PREFIX "4;5;",
	  "posix_spawn 2\n" },
	{ "a_spawned_child_without_the_stream_changes_nothing", "spawn-cloexec",
	  PREFIX "4;5;p6;", "posix_spawn 0\nchild 0\n" },
	{ "a_command_of_wordexp_writes_behind_held_bytes", "wordexp",
	  PREFIX "4;5;c6;7;8;9;", "wordexp 0\nyes\nwordexp 4\n" },
	{ "system_writes_behind_held_bytes", "system", PREFIX "c4;p5;p6;p7;",
	  "system 1024\nsystem 0\n" },
	{ "popen_writes_behind_held_bytes", "popen", PREFIX "c4;p5;p6;p7;",
	  "popen says done\npclose 0\n" },
	{ "a_daemon_goes_on_behind_held_bytes", "daemon", PREFIX "4;5;", "daemon 0\n" },
	{ "forkpty_child_writes_behind_held_bytes", "forkpty", PREFIX "c4;p5;",
	  "child 0x700\n", .flags = MAY_SKIP },
	{ "a_passed_stream_is_written_in_order_by_both", "pass",
	  PREFIX "c4;c5;p6;p7;c8;p9;", "sendmsg 1\nchild 0\n" },
	{ "a_descriptor_passed_over_the_stream_keeps_its_place", "pass-over",
	  PREFIX "4;d5;6;", "sendmsg 1\n", .kinds = UNIX_KINDS },
};

int
main(void)
{
	return scenario_main("copy", scenarios, sizeof scenarios / sizeof *scenarios);
}
