#include "metrics/server.h"
#include "base/sys.h"
#include "metrics/answer.h"
#include "metrics/standby.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#define MS INT64_C(1000000)
enum {
	HEAD_MS = 2000,
	IDLE_MS = 2000,
	WHOLE_MS = 30000,
	PAUSE_MS = 100,
	AWAY_MS = 1000, /* by which a client has sent what it was about to send */
	CHECK_MS = 1000
};

enum { WASTE_MAX = 4 << 20, NR_AWAY = 8 };

enum phase { FREE, READING, ANSWERING, LINGERING };

struct client {
	enum phase phase;
	int fd;
	int64_t since_ns; /* accepted */
	int64_t moved_ns; /* last byte taken, by either side */
	size_t head_len;
	struct out out;    /* head of the answer, or all of a plain one */
	struct body *body; /* what follows it; NULL: nothing */
	size_t sent;
	size_t wasted; /* read and forgotten */
	char head[HEAD_MAX];
};

struct server {
	int fd, wake;
	int64_t now_ns;
	int64_t accept_ns; /* not before: accepting failed for want of something */
	int64_t check_ns;  /* not before: the look whether somebody stands by */
	int64_t wake_ns;   /* not before: somebody sent everybody our signal */
	int away[NR_AWAY]; /* turned away, oldest first: left open for a moment */
	unsigned nr_away;
	int64_t away_ns; /* when the newest of them was */
	struct answers answers;
	struct client clients[SERVER_CLIENTS];
};

static void
drop(struct client *c)
{
	sys_close(c->fd);
	if (c->body)
		answer_put(c->body);
	c->body = NULL;
	c->phase = FREE;
}

/* A Unix socket closed with unread bytes in it resets its peer, which may then not look for the
 * answer: so what still comes is read and forgotten, for a while and not for ever. */
static bool
at_end(int fd, size_t *wasted)
{
	char waste[4096];
	ssize_t nr = 0;

	for (int i = 0; i < 16 && *wasted < WASTE_MAX; i++) {
		nr = sys_read(fd, waste, sizeof waste);
		if (nr <= 0)
			break;
		*wasted += (size_t)nr;
	}
	return nr == 0 || (nr < 0 && nr != -EAGAIN && nr != -EINTR) ||
	       *wasted >= WASTE_MAX;
}

static size_t
body_len(const struct client *c)
{
	return c->body ? c->body->out.len : 0;
}

/* Gives the client what it will take. */
static void
answer(struct server *s, struct client *c)
{
	size_t head = c->out.len, all = head + body_len(c);

	while (c->sent < all) {
		size_t in_head = c->sent < head ? head - c->sent : 0;
		size_t in_body = c->sent < head ? 0 : c->sent - head;
		struct iovec iov[2] = { { c->out.text + c->sent, in_head },
					{ NULL, 0 } };
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t nr;

		if (!in_head)
			iov[0].iov_base = NULL;
		if (c->body) {
			iov[1].iov_base = c->body->out.text + in_body;
			iov[1].iov_len = body_len(c) - in_body;
		}
		nr = sys_sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (nr == -EAGAIN || nr == -EINTR)
			return;
		if (nr <= 0) {
			drop(c);
			return;
		}
		c->sent += (size_t)nr;
		c->moved_ns = s->now_ns;
	}
	sys_call(SYS_shutdown, c->fd, SHUT_WR, 0, 0, 0, 0);
	c->phase = LINGERING;
	c->moved_ns = s->now_ns;
	if (at_end(c->fd, &c->wasted))
		drop(c);
}

static void
refuse(struct server *s, struct client *c, int status, bool head)
{
	out_clear(&c->out);
	answer_plain(&c->out, status, head);
	c->sent = 0;
	c->phase = ANSWERING;
	c->moved_ns = s->now_ns;
	if (c->out.failed)
		drop(c);
	else
		answer(s, c);
}

static void
respond(struct server *s, struct client *c, size_t len)
{
	struct request req;
	int status = request_parse(c->head, len, &req);
	struct body *body;

	if (status != 200) {
		refuse(s, c, status, req.head);
		return;
	}
	body = answer_get(&s->answers, &req);
	if (!body) {
		refuse(s, c, 503, req.head);
		return;
	}
	out_clear(&c->out);
	answer_head(&c->out, 200, answer_type(&req), body->out.len);
	if (req.head)
		answer_put(body);
	else
		c->body = body;
	c->sent = 0;
	c->phase = ANSWERING;
	c->moved_ns = s->now_ns;
	if (c->out.failed)
		drop(c);
	else
		answer(s, c);
}

static void
read_head(struct server *s, struct client *c)
{
	ssize_t nr = sys_read(c->fd, c->head + c->head_len, HEAD_MAX - c->head_len);
	size_t before = c->head_len, len;

	if (nr == -EAGAIN || nr == -EINTR)
		return;
	if (nr < 0 || (nr == 0 && !c->head_len)) {
		drop(c);
		return;
	}
	if (nr == 0) {
		refuse(s, c, 400, false);
		return;
	}
	c->head_len += (size_t)nr;
	len = request_end(c->head, c->head_len, before);
	if (len)
		respond(s, c, len);
	else if (c->head_len == HEAD_MAX)
		refuse(s, c, 431, false);
}

/* A place for one more client: a free one, or that of one who has its answer, or of the one
 * that has taken longest to ask. NULL: all are being answered. */
static struct client *
make_room(struct server *s)
{
	struct client *best = NULL;

	for (struct client *c = s->clients; c < s->clients + SERVER_CLIENTS; c++) {
		if (c->phase == FREE)
			return c;
		if (c->phase == ANSWERING)
			continue;
		if (!best || (c->phase == LINGERING && best->phase == READING) ||
		    (c->phase == best->phase && c->since_ns < best->since_ns))
			best = c;
	}
	if (best && best->phase == READING)
		refuse(s, best, 408, false);
	if (best && best->phase != FREE)
		drop(best);
	return best;
}

static void
close_away(struct server *s, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		sys_close(s->away[i]);
	s->nr_away -= nr;
	memmove(s->away, s->away + nr, s->nr_away * sizeof s->away[0]);
}

/* All are busy. The answer is small enough for an empty socket. The client may not have sent its
 * request yet, and would find the connection broken if it were closed now. */
static void
turn_away(struct server *s, int fd)
{
	struct out out = { 0 };
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	answer_plain(&out, 503, false);
	iov = (struct iovec){ out.text, out.len };
	if (!out.failed)
		sys_sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	out_free(&out);
	sys_call(SYS_shutdown, fd, SHUT_WR, 0, 0, 0, 0);
	if (s->nr_away == NR_AWAY)
		close_away(s, 1);
	s->away[s->nr_away++] = fd;
	s->away_ns = s->now_ns;
}

static void
accept_clients(struct server *s)
{
	for (int i = 0; i < 2 * SERVER_CLIENTS; i++) {
		int fd = sys_accept(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct client *c;

		if (fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED)
			return;
		if (fd < 0) {
			s->accept_ns = s->now_ns + PAUSE_MS * MS;
			return;
		}
		c = make_room(s);
		if (!c) {
			turn_away(s, fd);
			continue;
		}
		c->fd = fd;
		c->phase = READING;
		c->since_ns = c->moved_ns = s->now_ns;
		c->head_len = c->wasted = 0;
		/* Most have asked already. */
		read_head(s, c);
	}
}

static int64_t
deadline(const struct client *c)
{
	int64_t whole = c->since_ns + WHOLE_MS * MS, idle = c->moved_ns + IDLE_MS * MS;

	if (c->phase == READING)
		return c->since_ns + HEAD_MS * MS;
	return idle < whole ? idle : whole;
}

static void
expire(struct server *s)
{
	if (s->now_ns >= s->away_ns + AWAY_MS * MS)
		close_away(s, s->nr_away);
	for (struct client *c = s->clients; c < s->clients + SERVER_CLIENTS; c++) {
		if (c->phase == FREE || s->now_ns < deadline(c))
			continue;
		if (c->phase == READING)
			refuse(s, c, 408, false);
		else
			drop(c);
	}
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* Fills `fds`: [0] the wake-up, [1] the listening socket, [2...] the clients. Returns the
 * time to wait in ms; -1: for ever. */
static int
prepare(struct server *s, struct pollfd *fds)
{
	int64_t until = answers_tidy(&s->answers, s->now_ns), left;

	fds[0] = (struct pollfd){ .fd = s->now_ns < s->wake_ns ? -1 : s->wake,
				  .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = s->now_ns < s->accept_ns ? -1 : s->fd,
				  .events = POLLIN };
	if (s->nr_away)
		until = earlier(until, s->away_ns + AWAY_MS * MS);
	if (fds[0].fd < 0)
		until = earlier(until, s->wake_ns);
	if (fds[1].fd < 0)
		until = earlier(until, s->accept_ns);
	for (int i = 0; i < SERVER_CLIENTS; i++) {
		struct client *c = &s->clients[i];
		short events = c->phase == ANSWERING ? POLLOUT : POLLIN;

		fds[2 + i] = (struct pollfd){ .fd = c->phase == FREE ? -1 : c->fd,
					      .events = events };
		if (c->phase != FREE)
			until = earlier(until, deadline(c));
	}
	if (!until)
		return -1;
	left = (until - s->now_ns + MS - 1) / MS;
	return left < 0 ? 0 : (int)left;
}

static void
serve(struct server *s, const uint32_t *stop)
{
	struct pollfd fds[2 + SERVER_CLIENTS];

	s->now_ns = sys_now_ns();
	while (!__atomic_load_n(stop, __ATOMIC_SEQ_CST)) {
		int nr = sys_poll(fds, 2 + SERVER_CLIENTS, prepare(s, fds));

		s->now_ns = sys_now_ns();
		if (nr < 0 && nr != -EINTR)
			return;
		/* Not stopped, yet the signal is pending: it was sent to the whole process, and
		 * is not ours to take away. */
		if (nr > 0 && fds[0].revents)
			s->wake_ns = s->now_ns + PAUSE_MS * MS;
		for (int i = 0; nr > 0 && i < SERVER_CLIENTS; i++) {
			struct client *c = &s->clients[i];

			if (!fds[2 + i].revents)
				continue;
			if (c->phase == READING)
				read_head(s, c);
			else if (c->phase == ANSWERING)
				answer(s, c);
			else if (c->phase == LINGERING && at_end(c->fd, &c->wasted))
				drop(c);
		}
		expire(s);
		if (nr > 0 && fds[1].revents)
			accept_clients(s);
		if (s->now_ns >= s->check_ns) {
			standby_check(s->fd);
			s->check_ns = s->now_ns + CHECK_MS * MS;
		}
	}
}

static int
wake_fd(void)
{
	uint64_t mask = UINT64_C(1) << (SERVER_WAKE - 1);

	return (int)sys_call(SYS_signalfd4, -1, (long)&mask, sizeof mask,
			     SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0);
}

void
server_run(int fd, const uint32_t *stop)
{
	struct server *s;

	s = sys_map(sizeof *s, 0);
	if (!s) {
		count_internal(INTERNAL_MEMORY);
		return;
	}
	s->fd = fd;
	s->wake = wake_fd();
	if (s->wake < 0)
		count_internal(INTERNAL_DESCRIPTOR);
	else
		serve(s, stop);
	for (struct client *c = s->clients; c < s->clients + SERVER_CLIENTS; c++) {
		if (c->phase != FREE)
			drop(c);
		out_free(&c->out);
	}
	close_away(s, s->nr_away);
	answers_free(&s->answers);
	sys_unmap(s, sizeof *s);
}
