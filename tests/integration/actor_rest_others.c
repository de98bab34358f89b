/* Somebody else reads the rest: another program, process, number, or stdio. */
#include "actor_rest.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUEUE = 4000 };

static void
reap(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	say("child %#x", status);
}

/* rest-from POSITION: what a program does that inherited the stream. */
static int
others_rest_from(int fd, char **args)
{
	rest_at = strtoul(args[0], NULL, 10);
	rest_take(fd, 5, 3);
	rest_take_all(fd, QUEUE);
	return 6;
}

static char number[16], position[16];
static char *new_args[] = { "actor", KIND_FD, number, "rest-from", position, NULL };

static void
prepare_exec(int fd)
{
	snprintf(number, sizeof number, "%d", fd);
	snprintf(position, sizeof position, "%zu", rest_at);
}

static int
others_exec(int fd, char **args)
{
	rest_take_few(fd, QUEUE);
	prepare_exec(fd);
	if (!strcmp(args[0], "execve"))
		execve(actor_path, new_args, environ);
	if (!strcmp(args[0], "fails"))
		result("execve", execve("/nonexistent/program", new_args, environ));
	if (!strcmp(args[0], "syscall"))
		syscall(SYS_execve, actor_path, new_args, environ);
	rest_take_all(fd, QUEUE);
	return 0;
}

static pid_t
make_child(const char *how)
{
	if (!strcmp(how, "_Fork"))
		return _Fork();
	if (!strcmp(how, "syscall-fork"))
		return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	return fork();
}

/* fork KIND WHO: the child or the parent reads the rest. */
static int
others_fork(int fd, char **args)
{
	pid_t pid;

	rest_take_few(fd, QUEUE);
	pid = make_child(args[0]);
	if (pid == 0) {
		if (!strcmp(args[1], "child"))
			rest_take_all(fd, QUEUE);
		_exit(0);
	}
	reap(pid);
	if (!strcmp(args[1], "parent")) {
		rest_take(fd, 4, 3);
		rest_take_all(fd, QUEUE);
	}
	return 0;
}

static int
others_vfork(int fd, char **args)
{
	pid_t pid;

	(void)args;
	rest_take_few(fd, QUEUE);
	prepare_exec(fd);
	pid = vfork();
	if (pid == 0) {
		execve(actor_path, new_args, environ);
		_exit(1);
	}
	reap(pid);
	return 0;
}

static int
others_spawn(int fd, char **args)
{
	pid_t pid;

	(void)args;
	rest_take_few(fd, QUEUE);
	prepare_exec(fd);
	if (posix_spawn(&pid, actor_path, NULL, NULL, new_args, environ) != 0)
		say("posix_spawn failed");
	reap(pid);
	return 0;
}

/* A shell's command reads 100 bytes, one by one; the rest is ours again. */
static int
others_system(int fd, char **args)
{
	char line[128];

	(void)args;
	rest_take_few(fd, QUEUE);
	snprintf(line, sizeof line, "dd bs=1 count=100 <&%d >/dev/null 2>&1", fd);
	result("system", system(line));
	rest_at += 100;
	rest_take(fd, 4, 3);
	rest_take_all(fd, QUEUE);
	return 0;
}

/* To a process that was there before the stream. */
static int
others_pass(int unused, char **args)
{
	int pair[2], fd;
	pid_t pid;

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		fd = actor_receive_descriptor(pair[1]);
		rest_at = FEW;
		rest_take(fd, 4, 3);
		rest_take_all(fd, QUEUE);
		_exit(0);
	}
	fd = actor_open();
	rest_take_few(fd, QUEUE);
	/* Said only if it failed: the other process speaks too. */
	if (actor_send_descriptor(pair[0], fd) != 1)
		result("sendmsg", -1);
	reap(pid);
	return 0;
}

static int
duplicate(int fd, const char *how)
{
	if (!strcmp(how, "dup"))
		return dup(fd);
	if (!strcmp(how, "dup2"))
		return dup2(fd, 100);
	if (!strcmp(how, "dup3"))
		return dup3(fd, 100, O_CLOEXEC);
	if (!strcmp(how, "F_DUPFD"))
		return fcntl(fd, F_DUPFD, 50);
	return (int)syscall(SYS_dup, fd);
}

static int
others_duplicate(int fd, char **args)
{
	int copy;

	rest_take_few(fd, QUEUE);
	copy = result(args[0], duplicate(fd, args[0]));
	for (int i = 0; i < 20; i++) {
		rest_take(copy, 3, 3);
		rest_take(fd, 4, 5);
	}
	close(fd);
	rest_take(copy, 4, 3);
	rest_take_all(copy, QUEUE);
	return 0;
}

static int
others_stdio(int fd, char **args)
{
	char bytes[QUEUE];
	FILE *f;

	(void)args;
	rest_take_few(fd, QUEUE);
	f = fdopen(fd, "r");
	for (int i = 0; i < 10; i++)
		rest_expect(bytes, (ssize_t)fread(bytes, 1, 7, f));
	rest_expect(bytes, (ssize_t)fread(bytes, 1, QUEUE - rest_at, f));
	say("at %zu", rest_at);
	return 0;
}

enum { ROUNDS = 200, EACH = 12 };

/* In round i the parent reads if i is even, the child if it is odd. */
static int
is_mine(int i, pid_t pid)
{
	return i % 2 == (pid == 0);
}

static int
end_rounds(int fd, pid_t pid)
{
	if (pid == 0)
		_exit(0);
	reap(pid);
	rest_take_all(fd, QUEUE);
	return 0;
}

/* Two processes take turns, synchronised by pipes. */
static int
others_pipes(int fd, char **args)
{
	int to[2][2];
	char byte = 'x';
	pid_t pid;

	(void)args;
	rest_take_few(fd, QUEUE);
	if (pipe(to[0]) < 0 || pipe(to[1]) < 0)
		return 1;
	pid = fork();
	for (int i = 0; i < ROUNDS; i++) {
		if (is_mine(i, pid)) {
			rest_take(fd, EACH / 3, 3);
			(void)!write(to[i % 2][1], &byte, 1);
		} else {
			(void)!read(to[i % 2][0], &byte, 1);
			rest_at += EACH;
		}
	}
	return end_rounds(fd, pid);
}

/* Likewise by memory alone, so no call tells a library whose turn it is. */
static int
others_memory(int fd, char **args)
{
	volatile int *round = mmap(NULL, sizeof *round, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	(void)args;
	rest_take_few(fd, QUEUE);
	pid = fork();
	for (int i = 0; i < ROUNDS; i++) {
		if (is_mine(i, pid)) {
			rest_take(fd, EACH / 3, 3);
			*round = i + 1;
		} else {
			while (*round <= i)
				raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
			rest_at += EACH;
		}
	}
	return end_rounds(fd, pid);
}

const struct command rest_others_commands[] = {
	{ "rest-from", others_rest_from, STREAM },
	{ "rest-exec", others_exec, STREAM },
	{ "rest-fork", others_fork, STREAM },
	{ "rest-vfork", others_vfork, STREAM },
	{ "rest-spawn", others_spawn, STREAM },
	{ "rest-system", others_system, STREAM },
	{ "rest-pass", others_pass, NOTHING },
	{ "rest-duplicate", others_duplicate, STREAM },
	{ "rest-stdio", others_stdio, STREAM },
	{ "rest-pipes", others_pipes, STREAM },
	{ "rest-memory", others_memory, STREAM },
	{ 0 },
};
