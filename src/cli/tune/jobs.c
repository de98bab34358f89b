#include "cli/tune/jobs.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How often processes are looked at while they end, and how long SIGKILL may take. */
#define LOOK_SECONDS 0.02
#define KILL_SECONDS 5.0

static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

double
now_seconds(void)
{
	return now_ms() / 1e3;
}

/* ---- processes ---- */

struct process {
	pid_t pid, parent, session;
	bool zombie;
	double waited; /* CPU seconds of children that it has waited for */
	bool ours;     /* it descends from this process */
};

struct herd {
	struct process *at;
	int nr, cap;
};

static void
note_process(pid_t pid, void *arg)
{
	struct herd *h = arg;
	struct process p = { .pid = pid };
	struct text stat = { 0 };
	const char *after;
	char state;
	unsigned long user, system;

	proc_read(pid, "stat", &stat);
	after = strrchr(text_string(&stat), ')'); /* the name may hold anything */
	/* state ppid pgrp session tty tpgid flags 4 faults utime stime cutime cstime */
	if (after && sscanf(after + 1,
			    " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lu %lu",
			    &state, &p.parent, &p.session, &user, &system) == 5) {
		p.zombie = state == 'Z' || state == 'X';
		p.waited = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
		if (h->nr == h->cap) {
			h->cap = h->cap ? 2 * h->cap : 256;
			h->at = have(realloc(h->at, (size_t)h->cap * sizeof *h->at));
		}
		h->at[h->nr++] = p;
	}
	text_fini(&stat);
}

static bool
is_foreign(const struct jobs *j, pid_t pid)
{
	for (const pid_t *f = j->foreign; *f; f++)
		if (*f == pid)
			return true;
	return false;
}

static int
by_pid(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* True if it is a child of this process or of one that is known to be ours. */
static bool
descends(const struct jobs *j, const struct herd *h, const struct process *p)
{
	struct process parent = { .pid = p->parent }, *found;

	if (p->parent == getpid())
		return !is_foreign(j, p->pid);
	found = bsearch(&parent, h->at, (size_t)h->nr, sizeof *h->at, by_pid);
	return found && found->ours;
}

/* Everything that descends from this process: the load's session alone, or all but that. */
static struct herd
look(const struct jobs *j, bool of_load)
{
	struct herd h = { 0 };
	bool more = true;
	int nr = 0;

	proc_each(note_process, &h);
	if (h.nr)
		qsort(h.at, (size_t)h.nr, sizeof *h.at, by_pid);
	while (more) {
		more = false;
		for (int i = 0; i < h.nr; i++)
			if (!h.at[i].ours && descends(j, &h, &h.at[i]))
				more = h.at[i].ours = true;
	}
	for (int i = 0; i < h.nr; i++)
		if (h.at[i].ours &&
		    (j->load.pid && h.at[i].session == j->load.pid) == of_load)
			h.at[nr++] = h.at[i];
	h.nr = nr;
	return h;
}

/* ---- begin and end ---- */

static sigset_t
waited_for(void)
{
	struct sigaction action;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
		if (sigaction(ending[i], NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN) /* nohup's wish */
			sigaddset(&set, ending[i]);
	return set;
}

void
jobs_init(struct jobs *j)
{
	sigset_t set = waited_for();
	struct herd h = { 0 };
	int nr = 0;

	*j = (struct jobs){ 0 };
	/* Who reads our lines may go, and the server is still to be ended. */
	sigaddset(&set, SIGPIPE);
	/* Ignored, children would vanish without a status. */
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	proc_each(note_process, &h);
	j->foreign = have(calloc((size_t)h.nr + 1, sizeof *j->foreign));
	for (int i = 0; i < h.nr; i++)
		if (h.at[i].parent == getpid())
			j->foreign[nr++] = h.at[i].pid;
	free(h.at);
}

void
jobs_fini(struct jobs *j)
{
	free(j->foreign);
	j->foreign = NULL;
}

/* In the child. */
static void
take_output(int number, const char *file)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, number) < 0)
		_exit(END_NOT_EXECUTABLE);
}

static void
become(const struct command *c, pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* Should this command be killed, its children are not to stay. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || dup2(null, 0) < 0)
		_exit(END_NOT_EXECUTABLE);
	take_output(1, c->out);
	take_output(2, c->err);
	if (*c->preload)
		setenv("LD_PRELOAD", c->preload, 1);
	else
		unsetenv("LD_PRELOAD");
	for (const char *const *v = c->variables; v && *v; v += 2)
		setenv(v[0], v[1], 1);
	_exit(launch_exec("tune", c->path, c->argv));
}

static int
start(struct job *job, const struct command *c)
{
	pid_t parent = getpid(), pid;

	if ((truncate(c->out, 0) < 0 || truncate(c->err, 0) < 0) && errno != ENOENT)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become(c, parent);
	*job = (struct job){ .pid = pid };
	return 0;
}

int
jobs_start_server(struct jobs *j, const struct command *c)
{
	j->reaped = 0;
	return start(&j->server, c);
}

int
jobs_start_load(struct jobs *j, const struct command *c)
{
	return start(&j->load, c);
}

static void
reap(struct jobs *j)
{
	struct rusage used;
	pid_t pid;
	int status;

	while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
		if (pid == j->load.pid) {
			j->load.ended = true;
			j->load.status = status;
			continue;
		}
		if (pid == j->server.pid) {
			j->server.ended = true;
			j->server.status = status;
		}
		/* With what it has waited for itself. */
		j->reaped +=
			(double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	}
}

void
jobs_wait(struct jobs *j, double seconds)
{
	struct timespec t = { 0 };
	sigset_t set = waited_for();
	int got;

	if (seconds > 0) {
		t.tv_sec = (time_t)seconds;
		t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	}
	got = sigtimedwait(&set, NULL, &t);
	if (got > 0 && got != SIGCHLD)
		j->nr_stops++;
	reap(j);
}

/* ---- the server ---- */

/* One that has ended and was not waited for yet counts: what it left behind may be younger than
 * the list of processes that was looked at. */
bool
jobs_alive(const struct jobs *j)
{
	struct herd h = look(j, false);

	free(h.at);
	return h.nr > 0;
}

void
jobs_listeners(const struct jobs *j, const char *apart, struct listeners *found)
{
	struct herd h = look(j, false);

	for (int i = 0; i < h.nr; i++)
		if (!h.at[i].zombie)
			listeners_add(found, h.at[i].pid, apart);
	free(h.at);
}

double
jobs_cpu(const struct jobs *j)
{
	struct herd h = look(j, false);
	double sum = j->reaped;

	for (int i = 0; i < h.nr; i++) {
		struct timespec t;
		clockid_t clock;

		/* Its own in nanoseconds: /proc has ticks of 10 ms, more than a quiet run
		 * uses. */
		sum += h.at[i].waited;
		if (clock_getcpuclockid(h.at[i].pid, &clock) == 0 &&
		    clock_gettime(clock, &t) == 0)
			sum += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	}
	free(h.at);
	return sum;
}

void
jobs_end_load(struct jobs *j)
{
	double end = now_seconds() + KILL_SECONDS;

	while (j->load.pid) {
		struct herd h = look(j, true);

		for (int i = 0; i < h.nr; i++)
			kill(h.at[i].pid, SIGKILL);
		if (!h.nr || now_seconds() > end)
			j->load.pid = 0;
		free(h.at);
		if (j->load.pid)
			jobs_wait(j, LOOK_SECONDS);
	}
}

/* One signal to each process whose turn it is: those that `told` does not have. */
static void
tell(const struct herd *h, struct text *told, int signal)
{
	for (int i = 0; i < h->nr; i++) {
		char word[16];

		snprintf(word, sizeof word, " %d ", (int)h->at[i].pid);
		if (signal == SIGTERM &&
		    (h->at[i].parent != getpid() || strstr(text_string(told), word)))
			continue;
		text_add(told, "%s", word);
		kill(h->at[i].pid, signal);
	}
}

bool
jobs_end_server(struct jobs *j, double grace)
{
	double end = now_seconds() + grace;
	struct text told = { 0 };
	bool gone = false;

	while (!gone && now_seconds() < end + KILL_SECONDS) {
		bool kill_now = now_seconds() >= end || j->nr_stops > 1;
		struct herd h = look(j, false);

		tell(&h, &told, kill_now ? SIGKILL : SIGTERM);
		gone = !h.nr;
		free(h.at);
		if (!gone)
			jobs_wait(j, LOOK_SECONDS);
	}
	text_fini(&told);
	return gone;
}
