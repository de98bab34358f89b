/* See peer.h. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../integration/harness_internal.h"

enum { ANSWER_MS = 20000, ARRIVAL_MS = 3000, WINDOW = 1 << 19 };

extern char **environ;

static char directory[64];

static void
die(const char *what)
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
	char var[1200];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
		setenv("STREAM_TEST", peer->way == EAGERLY ? "eager,count" : "count", 1);
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
hear_reader(struct peer *peer, const char **what)
{
	char byte;
	int status;

	*what = NULL;
	if (!ready(peer->up, POLLIN, ANSWER_MS))
		*what = "no answer";
	else if (read(peer->up, &byte, 1) != 1)
		*what = "died";
	if (!*what)
		return;
	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		*what = strsignal(WTERMSIG(status));
	peer->pid = 0;
	close(peer->up);
	close(peer->down);
}

static void
start(struct peer *peer, int memory)
{
	int up[2], down[2];
	const char *what;

	if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC))
		die("pipe");
	snprintf(peer->shared->reader_address, sizeof peer->shared->reader_address,
		 "%s/reader%d", directory, peer->way);
	unlink(peer->shared->reader_address);
	fflush(NULL);
	peer->pid = fork();
	if (peer->pid < 0)
		die("fork");
	if (!peer->pid)
		child(peer, memory, up[1], down[0]);
	close(up[1]);
	close(down[0]);
	peer->up = up[0];
	peer->down = down[1];
	hear_reader(peer, &what);
	if (what)
		die(what);
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

void
peer_stop(struct peer *peer)
{
	int status;

	if (!peer->pid)
		return;
	close(peer->down);
	close(peer->up);
	waitpid(peer->pid, &status, 0);
	count_borrows(peer);
	peer->pid = 0;
}

/* ---- sockets ---- */

static int
make_socket(int transport)
{
	int fd = socket(transport == TCP ? AF_INET : AF_UNIX,
			SOCK_STREAM | SOCK_CLOEXEC, 0);
	int window = WINDOW;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &window, sizeof window);
	return fd;
}

static void
listen_everywhere(struct peer *peer)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof in;

	for (int t = TCP; t < NR_TRANSPORTS; t++)
		peer->listeners[t] = make_socket(t);
	snprintf(peer->shared->address, sizeof peer->shared->address, "%s/fuzz%d",
		 directory, peer->way);
	memcpy(un.sun_path, peer->shared->address, sizeof un.sun_path);
	if (bind(peer->listeners[TCP], (struct sockaddr *)&in, sizeof in) ||
	    bind(peer->listeners[UNIX], (struct sockaddr *)&un, sizeof un) ||
	    listen(peer->listeners[TCP], 8) || listen(peer->listeners[UNIX], 8) ||
	    getsockname(peer->listeners[TCP], (struct sockaddr *)&in, &len))
		die("listen");
	peer->shared->port[0] = in.sin_port;
}

static void
connect_to_reader(struct peer *peer, int transport)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = peer->shared->port[1] };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int failed;

	peer->fd = make_socket(transport);
	memcpy(un.sun_path, peer->shared->reader_address, sizeof un.sun_path);
	failed = transport == TCP
			 ? connect(peer->fd, (struct sockaddr *)&in, sizeof in)
			 : connect(peer->fd, (struct sockaddr *)&un, sizeof un);
	if (failed)
		die("connect");
}

static void
settle_socket(struct peer *peer, int transport)
{
	int on = 1;

	fcntl(peer->fd, F_SETFL, O_NONBLOCK);
	if (transport == TCP)
		setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- what the peer does ---- */

static void
send_piece(struct peer *peer, int n, int flags, struct result *result)
{
	static unsigned char bytes[MAX_BYTES];
	struct shared *shared = peer->shared;
	int went = 0;
	ssize_t r = 0;

	for (int i = 0; i < n; i++)
		bytes[i] = program_byte(shared->program.seed,
					shared->peer_sent + (uint64_t)i);
	while (went < n) {
		r = send(peer->fd, bytes + went, (size_t)(n - went),
			 flags | MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN && ready(peer->fd, POLLOUT, ARRIVAL_MS))
			continue;
		if (r < 0)
			break;
		went += (int)r;
	}
	if (r < 0 && errno == EAGAIN)
		shared->late = 1;
	result->value = r < 0 ? -errno : result->value + went;
	shared->peer_sent += (uint64_t)went;
	if (flags & MSG_OOB)
		shared->peer_urgent += went;
}

static void
send_pieces(struct peer *peer, const struct step *step, struct result *result)
{
	int nr = step->pieces ? step->pieces : 1, left = step->n;

	for (int i = 0; i < nr && left && result->value >= 0; i++) {
		int n = i == nr - 1 || left < nr ? left : left / 2;

		send_piece(peer, n, 0, result);
		left -= n;
	}
}

/* Takes what the reader wrote: until all of it came, or the end. Returns 1: all came; 0: the end;
 * -errno. */
static int
drain(struct peer *peer, uint64_t until)
{
	unsigned char bytes[4096];
	ssize_t n;

	while (peer->taken < until) {
		if (!ready(peer->fd, POLLIN, ARRIVAL_MS))
			return -ETIMEDOUT;
		n = recv(peer->fd, bytes, sizeof bytes, 0);
		if (n <= 0)
			return n ? -errno : 0;
		for (ssize_t i = 0; i < n; i++)
			peer->sum = (peer->sum + bytes[i]) * 0x9e3779b1;
		peer->taken += (uint64_t)n;
	}
	return 1;
}

static void
drained(struct peer *peer, uint64_t until, struct result *result)
{
	result->more[0] = drain(peer, until);
	result->more[1] = (int)peer->taken;
	result->content = peer->sum;
}

static void
close_peer(struct peer *peer, bool reset)
{
	struct linger none = { 1, 0 };

	if (reset && peer->shared->program.transport == TCP)
		setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	close(peer->fd);
	peer->fd = -1;
	peer->shared->peer_ended = 1;
}

/* All that the reader wrote is here, and stays: AF_UNIX has no other reset than a close with
 * something unread, and on TCP a write that the library still holds would meet the reset. */
static void
await_unread(struct peer *peer)
{
	uint64_t unread = peer->shared->written - peer->taken;
	int there = 0;

	for (int i = 0; i < ARRIVAL_MS; i++) {
		ioctl(peer->fd, FIONREAD, &there);
		if ((uint64_t)there >= unread)
			return;
		poll(NULL, 0, 1);
	}
	peer->shared->late = 1;
}

static void
act(struct peer *peer, const struct step *step)
{
	struct result *result = &peer->shared->peer;

	*result = (struct result){ 0 };
	if (peer->fd < 0)
		return;
	switch (step->op) {
	case PEER_SENDS:
		send_pieces(peer, step, result);
		break;
	case PEER_SENDS_URGENT:
		send_piece(peer, 1, MSG_OOB, result);
		break;
	case PEER_READS:
		drained(peer, peer->shared->written, result);
		break;
	case PEER_HALF_CLOSES:
		shutdown(peer->fd, SHUT_WR);
		peer->shared->peer_ended = 1;
		break;
	case PEER_CLOSES:
		drained(peer, peer->shared->written, result);
		close_peer(peer, false);
		break;
	default:
		await_unread(peer);
		close_peer(peer, true);
	}
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
	shared->peer_sent = shared->written = 0;
	shared->peer_urgent = shared->peer_ended = shared->late = 0;
	shared->at = 0;
	memset(shared->results, 0, sizeof shared->results);
	shared->end = (struct result){ 0 };
	peer->taken = peer->sum = 0;
}

/* What the reader's close looks like from here. */
static void
look_at_end(struct peer *peer)
{
	if (peer->fd < 0)
		return;
	drained(peer, UINT64_MAX, &peer->shared->end);
	close(peer->fd);
	peer->fd = -1;
}

static void
run(struct peer *peer, const char **what)
{
	const struct program *p = &peer->shared->program;

	if (!p->reader_connects)
		connect_to_reader(peer, p->transport);
	tell_reader(peer);
	hear_reader(peer, what);
	if (*what)
		return;
	if (p->reader_connects)
		peer->fd = accept4(peer->listeners[p->transport], NULL, NULL,
				   SOCK_CLOEXEC);
	settle_socket(peer, p->transport);
	for (;;) {
		hear_reader(peer, what);
		if (*what || peer->shared->at == p->nr_steps)
			break;
		act(peer, &p->steps[peer->shared->at]);
		tell_reader(peer);
	}
	if (!*what)
		look_at_end(peer);
}

bool
peer_run(struct peer *peer, const struct program *p, const char **what)
{
	*what = NULL;
	prepare(peer, p);
	if (!peer->pid)
		start(peer, peer->memory);
	run(peer, what);
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	return !*what;
}

void
peer_init(struct peer *peer, enum way way, const char *dir)
{
	snprintf(directory, sizeof directory, "%s", dir);
	*peer = (struct peer){ .way = way, .fd = -1 };
	peer->memory = memfd_create("fuzz", MFD_CLOEXEC);
	if (peer->memory < 0 || ftruncate(peer->memory, sizeof *peer->shared))
		die("memfd");
	peer->shared = mmap(NULL, sizeof *peer->shared, PROT_READ | PROT_WRITE,
			    MAP_SHARED, peer->memory, 0);
	if (peer->shared == MAP_FAILED)
		die("mmap");
	listen_everywhere(peer);
}
