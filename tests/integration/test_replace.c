/* exec: what the old program wrote arrives before what the new one writes. */
#include "scenario.h"

#define OVER PREFIX "path;set;4;5;"
#define CASE(name) \
	{ \
		"held_bytes_arrive_before_" name, "exec " name, OVER, "", EXITED(6) \
	}

static const struct scenario scenarios[] = {
	CASE("execve"),
	CASE("execl"),
	CASE("execlp"),
	CASE("execle"),
	CASE("execv"),
	CASE("execvp"),
	CASE("execvpe"),
	CASE("fexecve"),
	CASE("execveat"),
	CASE("syscall-execve"),
	CASE("execve-fresh"),
	{ "an_exec_that_closes_the_stream_delivers_first", "exec-cloexec",
	  PREFIX "4;5;", "", EXITED(0) },
	{ "an_exec_that_fails_changes_nothing", "exec-fails", PREFIX "4;5;6;7;8;9;",
	  "execve -1 ENOENT\nexecv -1 EACCES\nexeclp -1 ENOENT\nfexecve -1 EBADF\n",
	  EXITED(0) },
	{ "an_exec_by_another_thread_delivers_first", "exec-in-thread execve",
	  PREFIX "4;5;", "", EXITED(6) },
};

int
main(void)
{
	return scenario_main("replace", scenarios, sizeof scenarios / sizeof *scenarios);
}
