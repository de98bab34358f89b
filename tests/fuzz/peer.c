/* See peer.h. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../integration/harness_internal.h"

enum { ANSWER_MS = 8000, TICK_MS = 2 };

extern char **environ;

static char directory[64];

void
peer_dies(const char *what)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
	exit(99);
}

static bool
ready(int fd, short events, int ms)
{
	struct pollfd fds = { fd, events, 0 };

	return poll(&fds, 1, ms) > 0;
}

/* ---- the child ---- */

static void
at_exit_path(char *out, size_t cap, const struct peer *peer)
{
	snprintf(out, cap, "%s/%d.json", directory, (int)peer->pid);
}

static void
child(const struct peer *peer, int shared, int up, int down)
{
	const char *library = harness_preload(PRELOADED);
	static const char *const delays[NR_WAYS] = { "", "500", "3000", "30000" };
	const struct rlimit no_core = { 0, 0 };
	char var[1200];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0); /* with its workers */
	setrlimit(RLIMIT_CORE, &no_core);
	for (char **e = environ; *e;) {
		char **next = e + 1;

		if (!strncmp(*e, "STREAM_", 7) || !strncmp(*e, "LD_PRELOAD=", 11)) {
			snprintf(var, sizeof var, "%.*s", (int)strcspn(*e, "="), *e);
			unsetenv(var);
			next = environ;
		}
		e = next;
	}
	if (peer->way != NATIVELY && library) {
		setenv("LD_PRELOAD", library, 1);
		/* Some are slower than the keeper, some are not. */
		setenv("STREAM_FLUSH_DELAY_US", delays[peer->way], 1);
		setenv("STREAM_TEST",
		       peer->way == PRELOADED_AS_IS ? "count" : "eager,count", 1);
		snprintf(var, sizeof var, "%s/%%p.sock", directory);
		setenv("STREAM_METRICS_SOCKET", var, 1);
		snprintf(var, sizeof var, "%s/%%p.json", directory);
		setenv("STREAM_METRICS_AT_EXIT", var, 1);
	}
	/* Above what they are to become, so that none is in another's place. */
	shared = fcntl(shared, F_DUPFD, 20);
	up = fcntl(up, F_DUPFD, 20);
	down = fcntl(down, F_DUPFD, 20);
	dup2(shared, READER_SHARED);
	dup2(up, READER_UP);
	dup2(down, READER_DOWN);
	close_range(READER_FIRST, ~0U, 0);
	execl(harness_actor(), harness_actor(), (char *)NULL);
	_exit(127);
}

static void
count_borrows(struct peer *peer)
{
	char path[128], text[65536];
	const char *at;
	FILE *file;
	size_t n;

	at_exit_path(path, sizeof path, peer);
	file = fopen(path, "r");
	if (!file)
		return;
	n = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	unlink(path);
	text[n] = '\0';
	at = strstr(text, "\"borrows\":");
	if (at)
		peer->borrows += strtol(at + strlen("\"borrows\":"), NULL, 10);
}

/* Waits for the reader's byte, and takes what it writes meanwhile if it asked for that. */
static bool
answered(struct peer *peer)
{
	for (int ms = 0; ms < ANSWER_MS; ms += TICK_MS) {
		if (ready(peer->up, POLLIN, TICK_MS))
			return true;
		if (__atomic_load_n(&peer->shared->draining, __ATOMIC_ACQUIRE))
			peer_drains(peer);
	}
	return false;
}

static void
bury(struct peer *peer)
{
	kill(-peer->pid, SIGKILL);
	waitpid(peer->pid, &peer->status, 0);
	count_borrows(peer);
	peer->pid = 0;
	close(peer->up);
	close(peer->down);
}

/* Of processes that no longer make their steps: what they are doing, or died of. */
static void
show_workers(const struct peer *peer)
{
	char path[64], text[1024];

	for (int i = 0; i < MAX_WORKERS; i++) {
		const struct worker *w = &peer->shared->workers[i];
		FILE *file;

		snprintf(path, sizeof path, "/proc/%d/stat", (int)w->pid);
		file = w->pid ? fopen(path, "r") : NULL;
		if (!file)
			continue;
		if (fgets(text, sizeof text, file))
			printf("# worker %d, home %d, of process %.*s..., which ends with "
			       "its wait status%s",
			       i, w->home, 40, text,
			       strrchr(text, ' ') ? strrchr(text, ' ') : "\n");
		fclose(file);
	}
}

static void
hear_reader(struct peer *peer, const char **what)
{
	char byte;

	*what = NULL;
	if (!answered(peer)) {
		*what = "no answer";
		show_workers(peer);
	} else if (read(peer->up, &byte, 1) != 1) {
		*what = "died";
	}
	if (!*what)
		return;
	bury(peer);
	if (WIFSIGNALED(peer->status) && WTERMSIG(peer->status) != SIGKILL)
		*what = strsignal(WTERMSIG(peer->status));
}

static void
start(struct peer *peer, int memory)
{
	int up[2], down[2];
	const char *what;

	if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC))
		peer_dies("pipe");
	snprintf(peer->shared->reader_address, sizeof peer->shared->reader_address,
		 "%s/reader%d", directory, peer->way);
	unlink(peer->shared->reader_address);
	fflush(NULL);
	peer->pid = fork();
	if (peer->pid < 0)
		peer_dies("fork");
	if (!peer->pid)
		child(peer, memory, up[1], down[0]);
	close(up[1]);
	close(down[0]);
	peer->up = up[0];
	peer->down = down[1];
	hear_reader(peer, &what);
	if (what)
		peer_dies(what);
}

void
peer_stop(struct peer *peer)
{
	if (!peer->pid)
		return;
	close(peer->down);
	close(peer->up);
	waitpid(peer->pid, &peer->status, 0);
	count_borrows(peer);
	peer->pid = 0;
}

/* ---- a program ---- */

static void
tell_reader(const struct peer *peer)
{
	if (write(peer->down, "", 1) != 1)
		return; /* it is dead, which the next wait finds */
}

static void
prepare(struct peer *peer, const struct program *p)
{
	struct shared *shared = peer->shared;

	shared->program = *p;
	shared->late = shared->draining = shared->dying = 0;
	shared->at = 0;
	memset(shared->flows, 0, sizeof shared->flows);
	memset(shared->results, 0, sizeof shared->results);
	memset(shared->end, 0, sizeof shared->end);
	memset(peer->taken, 0, sizeof peer->taken);
	memset(peer->wrong, 0, sizeof peer->wrong);
}

static void
connect_all(struct peer *peer, const char **what)
{
	const struct program *p = &peer->shared->program;

	*what = NULL;
	for (int i = 0; i < p->nr_streams && !*what; i++) {
		if (!p->reader_connects)
			peer_connects(peer, i);
		if (i == 0)
			tell_reader(peer);
		hear_reader(peer, what);
		if (!*what && p->reader_connects)
			peer_connects(peer, i);
	}
}

/* The reader ended where the program says so. */
static bool
was_to_die(const struct peer *peer)
{
	return peer->shared->dying && !peer->pid;
}

static void
run(struct peer *peer, const char **what)
{
	const struct program *p = &peer->shared->program;

	connect_all(peer, what);
	while (!*what) {
		hear_reader(peer, what);
		if (*what || peer->shared->at == p->nr_steps)
			break;
		peer_acts(peer, &p->steps[peer->shared->at]);
		tell_reader(peer);
	}
	if (*what && was_to_die(peer)) {
		peer->shared->results[peer->shared->at].value = peer->status;
		*what = NULL;
	}
	if (!*what)
		peer_looks_at_end(peer);
}

/* Whoever has called pthread_cancel() once gets no more of the library's hot paths. */
static bool
has_cancelled(const struct program *p)
{
	for (int i = 0; i < p->nr_steps; i++)
		if (p->steps[i].how == CANCELLED)
			return true;
	return false;
}

bool
peer_run(struct peer *peer, const struct program *p, const char **what)
{
	*what = NULL;
	prepare(peer, p);
	if (!peer->pid)
		start(peer, peer->memory);
	run(peer, what);
	for (int i = 0; i < MAX_STREAMS; i++) {
		if (peer->fd[i] >= 0)
			close(peer->fd[i]);
		peer->fd[i] = -1;
	}
	if (has_cancelled(p))
		peer_stop(peer);
	return !*what;
}

void
peer_init(struct peer *peer, enum way way, const char *dir)
{
	snprintf(directory, sizeof directory, "%s", dir);
	*peer = (struct peer){ .way = way, .fd = { -1, -1 } };
	peer->memory = memfd_create("fuzz", MFD_CLOEXEC);
	if (peer->memory < 0 || ftruncate(peer->memory, sizeof *peer->shared))
		peer_dies("memfd");
	peer->shared = mmap(NULL, sizeof *peer->shared, PROT_READ | PROT_WRITE,
			    MAP_SHARED, peer->memory, 0);
	if (peer->shared == MAP_FAILED)
		peer_dies("mmap");
	peer_listens(peer, directory);
}
