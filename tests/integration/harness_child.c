/* Starting the actor: its pipes, its limits, its environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

extern char **environ;

#define MAX_ENV 512
#define MAX_ARGS 16

struct child_env {
	char *vars[MAX_ENV];
	size_t nr;
};

static void
env_add(struct child_env *env, const char *var)
{
	size_t name = strcspn(var, "=") + 1;

	for (size_t i = 0; i < env->nr; i++) {
		if (strncmp(env->vars[i], var, name) == 0) {
			env->vars[i] = (char *)var;
			return;
		}
	}
	if (env->nr < MAX_ENV - 1)
		env->vars[env->nr++] = (char *)var;
}

/* The tester's own STREAM_ variables and preloads must not leak into either half. */
static void
env_build(struct child_env *env, const struct run *run)
{
	static char socket_var[160], preload_var[1024];
	const char *preload = harness_preload(run->options.half);

	memset(env, 0, sizeof *env);
	for (char **e = environ; *e; e++) {
		if (strncmp(*e, "STREAM_", 7) && strncmp(*e, "LD_PRELOAD=", 11))
			env_add(env, *e);
	}
	/* %p: what the actor spawns is a family of its own and needs its own path. */
	snprintf(socket_var, sizeof socket_var, "STREAM_METRICS_SOCKET=%s/%%p.sock",
		 run->dir);
	env_add(env, socket_var);
	/* So long that the keeper cannot hide a flush that is missing. */
	env_add(env, "STREAM_FLUSH_DELAY_US=1000000");
	for (const char *const *e = run->options.env; e && *e; e++)
		env_add(env, *e);
	if (preload) {
		snprintf(preload_var, sizeof preload_var, "LD_PRELOAD=%s", preload);
		env_add(env, preload_var);
	}
}

static void
args_build(const char *args[MAX_ARGS], const struct run *run, const char *address)
{
	size_t nr = 0;

	args[nr++] = harness_actor();
	args[nr++] = kind_name(run->options.kind);
	args[nr++] = address;
	args[nr++] = run->options.command;
	for (const char *const *a = run->options.args; a && *a && nr < MAX_ARGS - 1; a++)
		args[nr++] = *a;
	args[nr] = NULL;
}

/* Same limits and signals for every run, whoever started the tests. */
static void
child_settle(void)
{
	struct rlimit core = { 0, 0 }, files;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = 1024;
	setrlimit(RLIMIT_NOFILE, &files);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
}

static void
child_exec(const char *const *args, char **env, int in, int log, int err)
{
	int null = open("/dev/null", O_WRONLY);

	child_settle();
	if (dup2(in, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0 ||
	    dup2(log, ACTOR_LOG) < 0)
		_exit(126);
	close_range(3, ACTOR_LOG - 1, 0);
	close_range(ACTOR_LOG + 1, ~0U, 0);
	execve(args[0], (char *const *)args, env);
	_exit(127);
}

static void
make_pipe(int ends[2])
{
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

void
child_start(struct run *run, const char *address)
{
	const char *args[MAX_ARGS];
	static struct child_env env;
	int in[2], log[2], err[2];

	env_build(&env, run);
	args_build(args, run, address);
	make_pipe(in);
	make_pipe(log);
	make_pipe(err);
	run->pid = fork();
	assert_true(run->pid >= 0);
	if (run->pid == 0)
		child_exec(args, env.vars, in[0], log[1], err[1]);
	setpgid(run->pid, run->pid);
	close(in[0]);
	close(log[1]);
	close(err[1]);
	run->control = in[1];
	run->log_fd = log[0];
	run->err_fd = err[0];
	run->exit_fd = pidfd_open(run->pid, 0);
	assert_true(run->exit_fd >= 0);
}
