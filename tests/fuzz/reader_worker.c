/* Threads and processes: how they begin and end. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../raw_call.h"
#include "reader.h"
#include "reader_worker.h"

extern char **environ;

/* ---- threads ---- */

struct beginner {
	struct shared *shared;
	int me;
};

static void *
thread_main(void *arg)
{
	struct beginner b = *(struct beginner *)arg;
	int old;

	free(arg);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	worker_runs(b.shared, b.me);
	if (b.shared->workers[b.me].order == END_EXIT + 1)
		pthread_exit(NULL);
	return NULL;
}

static struct worker *
vacancy(struct reader *r)
{
	struct worker *w = &r->shared->workers[r->step.n & (MAX_WORKERS - 1)];

	return w->state == NOBODY && w != r->shared->workers ? w : NULL;
}

static int
begin_thread(struct reader *r)
{
	struct worker *w = vacancy(r);
	struct beginner *b;
	pthread_t thread;
	int home = r->shared->workers[r->me].home;

	if (!w)
		return SKIPPED;
	b = malloc(sizeof *b);
	*b = (struct beginner){ r->shared, (int)(w - r->shared->workers) };
	*w = (struct worker){
		.state = WORKING, .home = home, .is_thread = 1, .maker = home
	};
	if (pthread_create(&thread, NULL, thread_main, b)) {
		w->state = NOBODY;
		return -1;
	}
	w->thread = (uint64_t)thread;
	return 0;
}

/* ---- processes ---- */

void
worker_exits(struct shared *shared, int me)
{
	switch (shared->workers[me].order - 1) {
	case END_RETURN:
		quick_exit(2);
	case END_EXIT:
		exit(3);
	default:
		_exit(4);
	}
}

static pid_t
fork_by(int how)
{
	switch (how) {
	case FORK_UNDERSCORE:
		return _Fork();
	case FORK_BY_SYSCALL:
		return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	default:
		return fork();
	}
}

static int
begin_process(struct reader *r)
{
	struct worker *w = vacancy(r);
	pid_t pid;
	int me;

	if (!w || (r->shared->workers[r->me].is_thread && r->step.flags != FORK))
		return SKIPPED;
	me = (int)(w - r->shared->workers);
	r->shared->hands[me] = *r->hands;
	*w = (struct worker){ .state = WORKING,
			      .home = me,
			      .maker = r->shared->workers[r->me].home };
	pid = fork_by(r->step.flags);
	if (!pid) {
		worker_runs(r->shared, me);
		worker_exits(r->shared, me);
	}
	w->pid = pid;
	if (pid < 0)
		w->state = NOBODY;
	return pid < 0 ? -1 : 0;
}

/* ---- how they end ---- */

/* Nobody but this process has the stream. */
static bool
alone(const struct shared *shared, int home, int stream)
{
	for (int i = 0; i < MAX_WORKERS; i++) {
		const struct worker *w = &shared->workers[i];
		const struct hands *hands = &shared->hands[w->home];

		if (w->state == WORKING && w->home != home &&
		    (hands->fd[stream] >= 0 || hands->dup[stream] >= 0))
			return false;
	}
	return true;
}

/* What the process alone knows of may be lost. */
static void
expect_loss(struct shared *shared, int home)
{
	const struct hands *hands = &shared->hands[home];

	for (int i = 0; i < MAX_STREAMS; i++)
		if ((hands->fd[i] >= 0 || hands->dup[i] >= 0) && alone(shared, home, i))
			shared->flows[i].may_lose = 1;
}

static int
end_thread(struct reader *r, struct worker *w, int who)
{
	if (w->state == WORKING)
		worker_lets_end(r->shared, who, r->step.flags);
	pthread_join((pthread_t)w->thread, NULL);
	w->state = NOBODY;
	return 0;
}

static int
end_process(struct reader *r, struct worker *w, int who)
{
	int status = 0;

	if (r->step.flags == END_KILLED) {
		expect_loss(r->shared, w->home);
		raw_call(SYS_kill, w->pid, SIGKILL, 0, 0, 0);
	} else {
		worker_lets_end(r->shared, who, r->step.flags);
	}
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < MAX_WORKERS; i++)
		if (r->shared->workers[i].home == w->home)
			r->shared->workers[i].state = NOBODY;
	return status;
}

static int
end_worker(struct reader *r)
{
	int who = r->step.n & (MAX_WORKERS - 1), home = r->shared->workers[r->me].home;
	struct worker *w = &r->shared->workers[who];

	if (!who || who == r->me || w->state == NOBODY || w->state == WAITING ||
	    w->maker != home)
		return SKIPPED;
	return w->is_thread ? end_thread(r, w, who) : end_process(r, w, who);
}

/* ---- exec and spawn ---- */

static void
forget_closed(struct hands *hands)
{
	int *fds[] = { &hands->fd[0], &hands->fd[1], &hands->dup[0], &hands->dup[1],
		       &hands->epoll };

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (*fds[i] >= 0 && raw_call(SYS_fcntl, *fds[i], F_GETFD, 0, 0, 0) < 0)
			*fds[i] = -1;
}

void
worker_resumes(struct shared *shared, int me)
{
	forget_closed(&shared->hands[shared->workers[me].home]);
	shared->at++;
	worker_passes(shared);
	worker_runs(shared, me);
}

static bool
has_threads(const struct reader *r)
{
	const struct worker *workers = r->shared->workers;

	for (int i = 0; i < MAX_WORKERS; i++)
		if (workers[i].state != NOBODY && workers[i].is_thread &&
		    workers[i].home == workers[r->me].home)
			return true;
	return false;
}

static int
replace(struct reader *r)
{
	static char *nothing[] = { NULL };
	char me[12], resume[] = "resume", path[512];
	char *argv[] = { path, resume, me, NULL };

	if (has_threads(r) || (r->step.n == EXEC_NO_LIBRARY && !r->me))
		return SKIPPED;
	snprintf(me, sizeof me, "%d", r->me);
	reader_path(path, sizeof path);
	r->shared->results[r->shared->at] = (struct result){ 0 };
	return execve(r->step.n == EXEC_FAILS ? "/nowhere" : path, argv,
		      r->step.n == EXEC_NO_LIBRARY ? nothing : environ);
}

/* ---- by SCM_RIGHTS ---- */

static int
send_fd(int over, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof fd)];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	memset(control, 0, sizeof control);
	msg.msg_control = control;
	msg.msg_controllen = sizeof control;
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(over, &msg, 0) == 1 ? 0 : -1;
}

static int
receive_fd(int over)
{
	char byte, control[CMSG_SPACE(sizeof over)];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof control };
	int fd;

	if (recvmsg(over, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

static int
pass(struct reader *r)
{
	int pair[2], passed, old = r->hands->fd[r->step.stream], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	passed = send_fd(pair[0], old) ? -1 : receive_fd(pair[1]);
	err = errno;
	close(pair[0]);
	close(pair[1]);
	errno = err;
	if (passed < 0)
		return -1;
	r->hands->fd[r->step.stream] = passed;
	if (r->step.n && r->hands->dup[r->step.stream] < 0)
		r->hands->dup[r->step.stream] = old;
	else
		close(old);
	return passed;
}

static long
multiply(struct reader *r)
{
	switch (r->step.op) {
	case DO_THREAD:
		return begin_thread(r);
	case DO_FORK:
		return begin_process(r);
	case DO_END:
		return end_worker(r);
	case DO_EXEC:
		return replace(r);
	case DO_SPAWN:
		return helper_runs(r);
	case DO_PASS:
		return pass(r);
	default:
		return reader_dies(r);
	}
}

void
reader_multiplies(struct reader *r)
{
	long value;

	errno = 0;
	value = multiply(r);
	if (value == SKIPPED)
		r->result.value = SKIPPED;
	else
		reader_returned(r, value);
}
