/* fork of every kind: the child sends nothing that the parent wrote. */
#include "actor.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int stream;

static void
reap(pid_t pid)
{
	int status;

	do
		errno = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR);
	say("child %#x", status);
}

static void
child_ends(const char *how)
{
	if (!strncmp(how, "write-", 6)) {
		put(stream, "c4;");
		put(stream, "c5;");
		how += 6;
	}
	if (!strcmp(how, "exit"))
		exit(7);
	if (!strcmp(how, "quick_exit"))
		quick_exit(7);
	if (!strcmp(how, "close"))
		close(stream);
	if (!strcmp(how, "raise"))
		raise(SIGTERM);
	_exit(7);
}

static pid_t
make_child(const char *how)
{
	if (!strcmp(how, "fork"))
		return fork();
	if (!strcmp(how, "_Fork"))
		return _Fork();
	if (!strcmp(how, "syscall-fork"))
		return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!strcmp(how, "raw-clone")) /* seen by no library at all */
		return (pid_t)raw_call(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	say("no fork %s", how);
	return -1;
}

/* fork KIND CHILD: then the parent waits and writes on. */
static int
fork_and_end(int fd, char **args)
{
	pid_t pid;

	stream = fd;
	pid = make_child(args[0]);
	if (pid == 0)
		child_ends(args[1]);
	reap(pid);
	put(fd, "p6;");
	put(fd, "p7;");
	return 0;
}

/* The parent writes while the child lives, and ends before it. */
static int
fork_parent_first(int fd, char **args)
{
	int gate[2];
	char byte;

	stream = fd;
	if (pipe(gate) < 0)
		return 1;
	if (make_child(args[0]) == 0) {
		close(gate[1]);
		(void)!read(gate[0], &byte, 1);
		put(fd, "c6;");
		put(fd, "c7;");
		return 0;
	}
	put(fd, "p4;");
	put(fd, "p5;");
	return 0;
}

/* vfork's child may only exec or _exit. */
static int
fork_vfork(int fd, char **args)
{
	char number[16];
	pid_t pid;

	snprintf(number, sizeof number, "%d", fd);
	for (int i = 0; i < 3; i++) {
		pid = vfork();
		if (pid == 0 && !strcmp(args[0], "dup2")) {
			dup2(fd, 9); /* as Python's subprocess does in one */
			close(fd);
			execl(actor_path, "actor", KIND_FD, "9", "more", (char *)NULL);
		}
		if (pid == 0 && !strcmp(args[0], "exec"))
			execl(actor_path, "actor", KIND_FD, number, "more",
			      (char *)NULL);
		if (pid == 0)
			_exit(7);
		reap(pid);
		put(fd, "p6;");
		put(fd, "p7;");
	}
	return 0;
}

static int
clone_child(void *how)
{
	child_ends(how);
	return 0;
}

/* clone KIND CHILD, with a function; "vm" shares memory as vfork does; "tls" too, and its thread pointer
 * has nothing below it, as Chromium's zygote does it. */
static int
fork_clone(int fd, char **args)
{
	size_t size = 256 * 1024;
	char *stack = mmap(NULL, 3 * size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int flags = SIGCHLD;
	pid_t pid;

	stream = fd;
	mprotect(stack + size, size, PROT_NONE);
	if (strcmp(args[0], "copy") != 0)
		flags |= CLONE_VM | CLONE_VFORK;
	if (!strcmp(args[0], "tls"))
		flags |= CLONE_SETTLS;
	pid = clone(clone_child, stack + size, flags, args[1], NULL, stack + 2 * size,
		    NULL);
	if (pid < 0)
		result("clone", pid);
	reap(pid);
	put(fd, "p6;");
	put(fd, "p7;");
	return 0;
}

static void
take_turns_by_pipe(int fd, int in, int out, const char *who)
{
	char byte = 0, text[16];

	for (int i = 0; i < 20; i++) {
		(void)!read(in, &byte, 1);
		snprintf(text, sizeof text, "%s%02d", who, i);
		put(fd, text);
		put(fd, ";");
		(void)!write(out, &byte, 1);
	}
}

/* Parent and child write in turns; a pipe says whose turn it is. */
static int
fork_turns_by_pipe(int fd, char **args)
{
	int to_child[2], to_parent[2];
	pid_t pid;

	if (pipe(to_child) < 0 || pipe(to_parent) < 0)
		return 1;
	(void)!write(to_parent[1], "", 1);
	pid = make_child(args[0]);
	if (pid == 0) {
		take_turns_by_pipe(fd, to_child[0], to_parent[1], "c");
		return 0;
	}
	take_turns_by_pipe(fd, to_parent[0], to_child[1], "p");
	reap(pid);
	return 0;
}

/* The same by shared memory: no call tells a library that the turn passes. */
static int
fork_turns_by_memory(int fd, char **args)
{
	atomic_int *turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = make_child(args[0]);
	int mine = pid == 0;
	char text[16];

	for (int i = 0; i < 40; i++) {
		if (i % 2 != mine)
			continue;
		while (atomic_load(turn) != i)
			sched_yield();
		snprintf(text, sizeof text, "%s%02d", mine ? "c" : "p", i);
		put(fd, text);
		put(fd, ";");
		atomic_store(turn, i + 1);
	}
	if (pid)
		reap(pid);
	return 0;
}

/* A daemon's double fork: the grandchild goes on with the stream. */
static int
fork_twice(int fd, char **args)
{
	pid_t pid = make_child(args[0]);

	if (pid == 0) {
		put(fd, "c4;");
		pid = make_child(args[0]);
		if (pid == 0) {
			put(fd, "g5;");
			put(fd, "g6;");
			_exit(0);
		}
		reap(pid);
		_exit(0);
	}
	reap(pid);
	put(fd, "p7;");
	return 0;
}

static void *
write_records(void *nothing)
{
	char text[16];

	(void)nothing;
	for (int i = 0; i < 20000; i++) {
		snprintf(text, sizeof text, "%06d;", i);
		put(stream, text);
	}
	return NULL;
}

/* forks while another thread writes; no child may send a byte of it. */
static int
fork_while_writing(int fd, char **args)
{
	pthread_t thread;

	stream = fd;
	pthread_create(&thread, NULL, write_records, NULL);
	for (int i = 0; i < 30; i++) {
		pid_t pid = make_child(args[0]);

		if (pid == 0 && i % 2)
			exit(0);
		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	pthread_join(thread, NULL);
	put(fd, "end;");
	return 0;
}

const struct command fork_commands[] = {
	{ "fork", fork_and_end, TURN },
	{ "fork-parent-first", fork_parent_first, TURN },
	{ "vfork", fork_vfork, TURN },
	{ "clone", fork_clone, TURN },
	{ "turns-by-pipe", fork_turns_by_pipe, TURN },
	{ "turns-by-memory", fork_turns_by_memory, TURN },
	{ "fork-twice", fork_twice, TURN },
	{ "fork-while-writing", fork_while_writing, TURN },
	{ 0 },
};
