/* The peer's sockets, and what it does with them: see peer.h. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "model.h"
#include "peer.h"

enum { ARRIVAL_MS = 3000, WINDOW = 1 << 19, MOST_AT_ONCE = 4000 };

static bool
ready(int fd, short events, int ms)
{
	struct pollfd fds = { fd, events, 0 };

	return poll(&fds, 1, ms) > 0;
}

static int
make_socket(int transport)
{
	int fd = socket(transport == TCP ? AF_INET : AF_UNIX,
			SOCK_STREAM | SOCK_CLOEXEC, 0);
	int window = WINDOW;

	if (fd < 0)
		peer_dies("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &window, sizeof window);
	return fd;
}

void
peer_listens(struct peer *peer, const char *directory)
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
		peer_dies("listen");
	peer->shared->port[0] = in.sin_port;
}

static int
connect_to_reader(const struct peer *peer, int transport)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = peer->shared->port[1] };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = make_socket(transport), failed;

	memcpy(un.sun_path, peer->shared->reader_address, sizeof un.sun_path);
	failed = transport == TCP ? connect(fd, (struct sockaddr *)&in, sizeof in)
				  : connect(fd, (struct sockaddr *)&un, sizeof un);
	if (failed)
		peer_dies("connect");
	return fd;
}

static void
settle_socket(int fd, int transport)
{
	int on = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (transport == TCP)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void
peer_connects(struct peer *peer, int stream)
{
	const struct program *p = &peer->shared->program;

	peer->fd[stream] = p->reader_connects ? accept4(peer->listeners[p->transport],
							NULL, NULL, SOCK_CLOEXEC)
					      : connect_to_reader(peer, p->transport);
	settle_socket(peer->fd[stream], p->transport);
}

/* ---- what the peer does ---- */

static void
send_piece(struct peer *peer, int n, int flags, struct result *result)
{
	static unsigned char bytes[MAX_BYTES];
	struct flow *flow = &peer->shared->flows[peer->now];
	uint64_t seed = program_forth(&peer->shared->program, peer->now);
	int fd = peer->fd[peer->now], went = 0;
	ssize_t r = 0;

	for (int i = 0; i < n; i++)
		bytes[i] = program_byte(seed, flow->peer_sent + (uint64_t)i);
	while (went < n) {
		r = send(fd, bytes + went, (size_t)(n - went), flags | MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN && ready(fd, POLLOUT, ARRIVAL_MS))
			continue;
		if (r < 0)
			break;
		went += (int)r;
	}
	if (r < 0 && errno == EAGAIN)
		peer->shared->late = 1;
	/* The error itself is given once, to whatever call came first. */
	result->value = r < 0 ? -EPIPE : result->value + went;
	flow->peer_failed |= r < 0;
	flow->peer_sent += (uint64_t)went;
	if (flags & MSG_OOB)
		flow->peer_urgent += went;
}

static void
send_pieces(struct peer *peer, const struct step *step, struct result *result)
{
	bool at_once = peer->shared->flows[peer->now].waiter;
	int nr = step->pieces && !at_once ? step->pieces : 1, left = step->n;

	/* Who waits gets all of it. */
	if (at_once && left > MOST_AT_ONCE)
		left = MOST_AT_ONCE;

	for (int i = 0; i < nr && left && result->value >= 0; i++) {
		int n = i == nr - 1 || left < nr ? left : left / 2;

		send_piece(peer, n, 0, result);
		left -= n;
	}
}

/* Bytes of the reader's have come. */
static void
take(struct peer *peer, const unsigned char *bytes, size_t n)
{
	int i = peer->now;

	for (size_t at = 0; at < n; at++, peer->taken[i]++)
		if (bytes[at] != program_back(peer->shared, i, peer->taken[i]) &&
		    !peer->wrong[i])
			peer->wrong[i] = (uint32_t)peer->taken[i] + 1;
}

/* Takes what the reader wrote: until all of it came, or the end. Returns 1: all came; 0: the end;
 * -errno. */
static int
drain(struct peer *peer, uint64_t until)
{
	static unsigned char bytes[65536];
	int fd = peer->fd[peer->now];
	ssize_t n;

	while (peer->taken[peer->now] < until) {
		if (!ready(fd, POLLIN, ARRIVAL_MS))
			return -ETIMEDOUT;
		n = recv(fd, bytes, sizeof bytes, 0);
		if (n <= 0)
			return n ? -errno : 0;
		take(peer, bytes, (size_t)n);
	}
	return 1;
}

/* How many are too few or too many, and where the first wrong one is. What was lost with a process
 * that was killed is no matter, as long as the rest is right. */
static void
judge(struct peer *peer, struct result *result)
{
	struct flow *flow = &peer->shared->flows[peer->now];

	result->more[1] = (int)(peer->taken[peer->now] - flow->written);
	if (flow->may_lose && result->more[1] < 0)
		result->more[1] = 0;
	result->content = peer->wrong[peer->now];
	if (flow->peer_failed) {
		flow->slow |= !model_sent(flow);
		result->more[2] = flow->slow ? RESET_WAITING : RESET;
	}
}

static void
drained(struct peer *peer, uint64_t until, struct result *result)
{
	struct flow *flow = &peer->shared->flows[peer->now];

	result->more[0] = drain(peer, until);
	flow->peer_failed |= result->more[0] == -ECONNRESET;
	if (flow->may_lose)
		result->more[0] = 0;
	judge(peer, result);
	flow->load = 0;
}

void
peer_drains(struct peer *peer)
{
	static unsigned char bytes[65536];
	ssize_t n;

	for (peer->now = 0; peer->now < MAX_STREAMS; peer->now++)
		while (peer->fd[peer->now] >= 0 &&
		       (n = recv(peer->fd[peer->now], bytes, sizeof bytes,
				 MSG_DONTWAIT)) > 0)
			take(peer, bytes, (size_t)n);
}

static void
close_peer(struct peer *peer, bool reset)
{
	struct linger none = { 1, 0 };
	int *fd = &peer->fd[peer->now];

	if (reset && peer->shared->program.transport == TCP)
		setsockopt(*fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	close(*fd);
	*fd = -1;
	peer->shared->flows[peer->now].peer_ended = 1;
}

/* All that the reader wrote is here, and stays: AF_UNIX has no other reset than a close with
 * something unread, and on TCP a write that the library still holds would meet the reset. */
static void
await_unread(struct peer *peer)
{
	uint64_t unread =
		peer->shared->flows[peer->now].written - peer->taken[peer->now];
	int there = 0;

	for (int i = 0; i < ARRIVAL_MS; i++) {
		ioctl(peer->fd[peer->now], FIONREAD, &there);
		if ((uint64_t)there >= unread)
			return;
		poll(NULL, 0, 1);
	}
	peer->shared->late = 1;
}

void
peer_acts(struct peer *peer, const struct step *step)
{
	struct result *result = &peer->shared->peer;
	const struct flow *flow = &peer->shared->flows[step->stream];

	*result = (struct result){ 0 };
	peer->now = step->stream;
	if (peer->fd[peer->now] < 0)
		return;
	switch (step->op) {
	case PEER_SENDS:
		send_pieces(peer, step, result);
		break;
	case PEER_SENDS_URGENT:
		send_piece(peer, 1, MSG_OOB, result);
		break;
	case PEER_READS:
		drained(peer, flow->written, result);
		break;
	case PEER_HALF_CLOSES:
		shutdown(peer->fd[peer->now], SHUT_WR);
		peer->shared->flows[peer->now].peer_ended = 1;
		break;
	case PEER_CLOSES:
		drained(peer, flow->written, result);
		close_peer(peer, false);
		break;
	default:
		/* Whether something is unread has to be the same. */
		if (flow->guessed)
			drained(peer, flow->written, result);
		await_unread(peer);
		close_peer(peer, true);
	}
}

/* What the reader's close looks like from here. */
void
peer_looks_at_end(struct peer *peer)
{
	for (peer->now = 0; peer->now < peer->shared->program.nr_streams; peer->now++) {
		int *fd = &peer->fd[peer->now];

		if (*fd < 0)
			continue;
		drained(peer, UINT64_MAX, &peer->shared->end[peer->now]);
		close(*fd);
		*fd = -1;
	}
}
