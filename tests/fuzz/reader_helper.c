/* Helpers that inherit a stream, and the end of the reader itself. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../raw_call.h"
#include "model.h"
#include "reader.h"
#include "reader_worker.h"

enum { PATH = 512 };

extern char **environ;

void
reader_path(char *out, size_t cap)
{
	ssize_t len = readlink("/proc/self/exe", out, cap - 1);

	out[len < 0 ? 0 : len] = '\0';
}

int
helper_writes(struct shared *shared, int stream, int fd, int n)
{
	struct reader r = { .shared = shared,
			    .flow = &shared->flows[stream],
			    .step.stream = (uint8_t)stream };
	const unsigned char *bytes = reader_outgoing(&r, (size_t)n);
	ssize_t value = write(fd, bytes, (size_t)n);

	reader_sent(&r, value);
	return value == n ? 0 : 1;
}

static int
await_child(pid_t pid)
{
	int status = -1;

	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int
by_shell(const struct reader *r, const char *path)
{
	char line[PATH + 64];
	FILE *pipe;

	snprintf(line, sizeof line, "exec '%s' write %d %d %d", path, r->step.stream,
		 reader_fd(r), r->step.n);
	if (r->step.flags == SPAWN_SYSTEM)
		return system(line);
	pipe = popen(line, "r");
	return pipe ? pclose(pipe) : -1;
}

static int
by_exec(const struct reader *r, char *path)
{
	static char *nothing[] = { NULL };
	char write[] = "write", stream[12], fd[12], n[12];
	char *argv[] = { path, write, stream, fd, n, NULL };
	char **env = r->step.flags == SPAWN_NO_LIBRARY ? nothing : environ;
	pid_t pid = -1;

	snprintf(stream, sizeof stream, "%d", r->step.stream);
	snprintf(fd, sizeof fd, "%d", reader_fd(r));
	snprintf(n, sizeof n, "%d", r->step.n);
	if (r->step.flags == SPAWN_VFORK) {
		pid = vfork();
		if (!pid) {
			execve(path, argv, env);
			_exit(127);
		}
	} else if (r->step.flags == SPAWN_FORK) {
		pid = fork();
		if (!pid) {
			execve(path, argv, env);
			_exit(127);
		}
	} else if (posix_spawn(&pid, path, NULL, NULL, argv, env)) {
		return -1;
	}
	return await_child(pid);
}

long
helper_runs(struct reader *r)
{
	char path[PATH];

	if (model_room(r->flow, &r->step) != TAKEN_WHOLE)
		return SKIPPED;
	reader_path(path, sizeof path);
	if (r->step.flags == SPAWN_SYSTEM || r->step.flags == SPAWN_POPEN)
		return by_shell(r, path);
	return by_exec(r, path);
}

/* ---- the reader's own end ---- */

static void
die_unseen(struct shared *shared)
{
	for (int i = 0; i < MAX_STREAMS; i++)
		shared->flows[i].may_lose = 1;
	raw_call(SYS_kill, getpid(), SIGKILL, 0, 0, 0);
}

int
reader_dies(struct reader *r)
{
	if (r->me)
		return SKIPPED;
	workers_end(r->shared);
	r->shared->dying = 1;
	switch (r->step.n) {
	case DIE_EXIT:
		exit(0);
	case DIE_UNDERSCORE:
		_exit(0);
	case DIE_QUICK:
		quick_exit(0);
	case DIE_ABORT:
		abort();
	case DIE_RAISE:
		raise(SIGTERM);
		break;
	case DIE_KILL:
		kill(getpid(), SIGKILL);
		break;
	case DIE_EXEC:
		execl("/bin/true", "true", (char *)NULL);
		break;
	default:
		die_unseen(r->shared);
	}
	_exit(9);
}
