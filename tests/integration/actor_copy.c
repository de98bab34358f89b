/* Other programs started with the stream open in them. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void
reap(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	say("child %#x", status);
}

/* spawn KIND: the child writes "4;5;" on descriptor 9, a copy of the stream. */
static int
copy_spawn(int fd, char **args)
{
	char *child[] = { "actor", KIND_FD, "9", "more", NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 9);
	if (!strcmp(args[0], "posix_spawn"))
		rc = posix_spawn(&pid, actor_path, &actions, NULL, child, environ);
	else
		rc = posix_spawnp(&pid, actor_path, &actions, NULL, child, environ);
	posix_spawn_file_actions_destroy(&actions);
	result(args[0], rc);
	reap(pid);
	put(fd, "p6;");
	put(fd, "p7;");
	return 0;
}

static int
copy_spawn_fails(int fd, char **args)
{
	char *child[] = { "none", NULL };
	pid_t pid;

	(void)args;
	result("posix_spawn",
	       posix_spawn(&pid, "/nonexistent/program", NULL, NULL, child, environ));
	put(fd, "4;");
	put(fd, "5;");
	return 0;
}

/* The child must neither get nor disturb a stream that closes on exec. */
static int
copy_spawn_cloexec(int fd, char **args)
{
	char *child[] = { "true", NULL };
	pid_t pid;

	(void)args;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	put(fd, "4;");
	put(fd, "5;");
	result("posix_spawn",
	       posix_spawn(&pid, "/bin/true", NULL, NULL, child, environ));
	reap(pid);
	put(fd, "p6;");
	return 0;
}

static int
copy_system(int fd, char **args)
{
	char line[64];

	(void)args;
	snprintf(line, sizeof line, "printf 'c4;' >&%d; exit 4", fd);
	result("system", system(line));
	put(fd, "p5;");
	put(fd, "p6;");
	result("system", system("exit 0"));
	put(fd, "p7;");
	return 0;
}

static int
copy_popen(int fd, char **args)
{
	char line[64], answer[16] = "";
	FILE *pipe_end;

	(void)args;
	snprintf(line, sizeof line, "printf 'c4;' >&%d; echo done", fd);
	pipe_end = popen(line, "r");
	if (!pipe_end || !fgets(answer, sizeof answer, pipe_end))
		say("popen failed");
	say("popen says %.4s", answer);
	put(fd, "p5;");
	put(fd, "p6;");
	result("pclose", pclose(pipe_end));
	put(fd, "p7;");
	return 0;
}

static int
copy_daemon(int fd, char **args)
{
	(void)args;
	result("daemon", daemon(1, 1));
	put(fd, "4;");
	put(fd, "5;");
	return 3; /* nobody sees it: the parent has ended with 0 */
}

static int
copy_forkpty(int fd, char **args)
{
	int terminal;
	pid_t pid = forkpty(&terminal, NULL, NULL, NULL);

	(void)args;
	if (pid < 0) {
		say("skip");
		return 0;
	}
	if (pid == 0) {
		put(fd, "c4;");
		_exit(7);
	}
	reap(pid);
	put(fd, "p5;");
	return 0;
}

static void
helper_writes(int over)
{
	int fd = actor_receive_descriptor(over);
	char byte;

	put(fd, "c4;");
	put(fd, "c5;");
	put(over, "k");
	(void)!read(over, &byte, 1);
	put(fd, "c8;");
	_exit(0);
}

/* The stream is passed to a process that was there before it. */
static int
copy_pass(int unused, char **args)
{
	int pair[2], fd;
	char byte;
	pid_t pid;

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	pid = fork();
	if (pid == 0)
		helper_writes(pair[1]);
	fd = actor_open();
	actor_turn(fd);
	result("sendmsg", actor_send_descriptor(pair[0], fd));
	(void)!read(pair[0], &byte, 1);
	put(fd, "p6;");
	put(fd, "p7;");
	put(pair[0], "k");
	reap(pid);
	put(fd, "p9;");
	return 0;
}

/* A descriptor sent over the stream itself, between small writes. */
static int
copy_pass_over(int fd, char **args)
{
	(void)args;
	put(fd, "4;");
	result("sendmsg", actor_send_descriptor(fd, 0));
	put(fd, "5;");
	put(fd, "6;");
	return 0;
}

const struct command copy_commands[] = {
	{ "spawn", copy_spawn, TURN },
	{ "spawn-fails", copy_spawn_fails, TURN },
	{ "spawn-cloexec", copy_spawn_cloexec, TURN },
	{ "system", copy_system, TURN },
	{ "popen", copy_popen, TURN },
	{ "daemon", copy_daemon, TURN },
	{ "forkpty", copy_forkpty, TURN },
	{ "pass", copy_pass, NOTHING },
	{ "pass-over", copy_pass_over, TURN },
	{ 0 },
};
