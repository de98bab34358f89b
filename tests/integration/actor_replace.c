/* The exec family: what was written before it arrives before what comes after it. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char number[16];
static char *new_args[] = { "actor", KIND_FD, number, "more", NULL };
static char *fresh_env[] = { "PATH=/usr/bin:/bin", NULL };

/* What the new program does: two writes on the stream that it inherited. */
static int
replace_more(int fd, char **args)
{
	(void)args;
	put(fd, "4;");
	put(fd, "5;");
	return 6;
}

static void
path_to_self(void)
{
	char dir[512];

	snprintf(dir, sizeof dir, "%s", actor_path);
	*strrchr(dir, '/') = '\0';
	setenv("PATH", dir, 1);
}

/* Looked up in PATH, so it must be the name that the build gave the program. */
static const char *
base_name(void)
{
	return strrchr(actor_path, '/') + 1;
}

static void
exec_list(const char *how)
{
	if (!strcmp(how, "execl"))
		execl(actor_path, "actor", KIND_FD, number, "more", (char *)NULL);
	if (!strcmp(how, "execlp"))
		execlp(base_name(), "actor", KIND_FD, number, "more", (char *)NULL);
	if (!strcmp(how, "execle"))
		execle(actor_path, "actor", KIND_FD, number, "more", (char *)NULL,
		       fresh_env);
}

static void
exec_vector(const char *how)
{
	int self;

	if (!strcmp(how, "execv"))
		execv(actor_path, new_args);
	if (!strcmp(how, "execve"))
		execve(actor_path, new_args, environ);
	if (!strcmp(how, "execve-fresh"))
		execve(actor_path, new_args, fresh_env);
	if (!strcmp(how, "execvp"))
		execvp(base_name(), new_args);
	if (!strcmp(how, "execvpe"))
		execvpe(base_name(), new_args, environ);
	if (!strcmp(how, "syscall-execve"))
		syscall(SYS_execve, actor_path, new_args, environ);
	self = open(actor_path, O_RDONLY | O_CLOEXEC);
	if (!strcmp(how, "fexecve"))
		fexecve(self, new_args, environ);
	if (!strcmp(how, "execveat"))
		execveat(self, "", new_args, environ, AT_EMPTY_PATH);
}

static int
replace_exec(int fd, char **args)
{
	snprintf(number, sizeof number, "%d", fd);
	path_to_self();
	put(fd, "path;");
	put(fd, "set;");
	exec_list(args[0]);
	exec_vector(args[0]);
	result(args[0], -1);
	return 1;
}

/* The stream is closed by the exec itself. */
static int
replace_cloexec(int fd, char **args)
{
	(void)args;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	put(fd, "4;");
	put(fd, "5;");
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int
replace_fails(int fd, char **args)
{
	char *const none[] = { "none", NULL };

	(void)args;
	result("execve", execve("/nonexistent/program", none, environ));
	put(fd, "4;");
	put(fd, "5;");
	result("execv", execv("/", none));
	put(fd, "6;");
	result("execlp", execlp("no-such-program-here", "none", (char *)NULL));
	put(fd, "7;");
	put(fd, "8;");
	result("fexecve", fexecve(ACTOR_LOG + 1, none, environ));
	put(fd, "9;");
	return 0;
}

static void *
thread_execs(void *how)
{
	exec_vector(how);
	return NULL;
}

static int
replace_in_thread(int fd, char **args)
{
	pthread_t thread;

	snprintf(number, sizeof number, "%d", fd);
	pthread_create(&thread, NULL, thread_execs, args[0]);
	spin_ms(20000);
	return 1;
}

const struct command replace_commands[] = {
	{ "more", replace_more, STREAM },
	{ "exec", replace_exec, TURN },
	{ "exec-cloexec", replace_cloexec, TURN },
	{ "exec-fails", replace_fails, TURN },
	{ "exec-in-thread", replace_in_thread, TURN },
	{ 0 },
};
