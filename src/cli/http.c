#include "cli/http.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A listener's queue may be full, and then a connect that does not wait fails: tried again. */
enum { RETRY_MS = 10 };

struct call {
	struct http_get *get;
	int fd; /* -1: not connected */
	struct text request, answer;
	size_t sent;
	int done;
};

/* All of them. */
struct round {
	struct call *calls;
	struct pollfd *polls;
	int nr;
	size_t received; /* bytes of answers that were kept */
};

static void
finish(struct call *c, int error)
{
	c->get->error = error;
	c->done = 1;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Through /proc, a path of any length in any mount namespace is connected to by its descriptor:
 * it is the socket that was looked at, whatever its path has become. */
static void
try_connect(struct call *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (c->fd < 0)
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		/* Others will give theirs back. */
		if (errno != EMFILE && errno != ENFILE)
			finish(c, -errno);
		return;
	}
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d", c->get->socket);
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) == 0) {
		text_add(&c->request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
			 c->get->target);
		if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
			c->get->peer = peer.pid;
	} else if (errno != EAGAIN) {
		finish(c, -errno);
	}
}

static void
send_request(struct call *c)
{
	ssize_t n = send(c->fd, c->request.at + c->sent, c->request.len - c->sent,
			 MSG_NOSIGNAL);

	if (n >= 0)
		c->sent += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		finish(c, -errno);
}

static bool
is_too_long(const struct call *c, const struct round *r)
{
	size_t most = c->get->most ? c->get->most : HTTP_MOST_BYTES;

	return c->answer.len > most || (r->received > HTTP_MOST_ALL &&
					c->answer.len > HTTP_MOST_ALL / (size_t)r->nr);
}

static void
receive_answer(struct call *c, struct round *r)
{
	char part[65536];
	ssize_t n = recv(c->fd, part, sizeof part, 0);

	if (n > 0) {
		text_bytes(&c->answer, part, (size_t)n);
		r->received += (size_t)n;
		if (is_too_long(c, r)) {
			r->received -= c->answer.len;
			text_fini(&c->answer);
			finish(c, -EMSGSIZE);
		}
	} else if (n == 0 && !c->answer.len) {
		finish(c, -ECONNRESET);
	} else if (n == 0) {
		finish(c, 0);
		http_parse(c->get, text_string(&c->answer), c->answer.len);
		text_fini(&c->answer);
	} else if (errno != EAGAIN && errno != EINTR) {
		finish(c, -errno);
	}
}

/* The value of a field of the head, or NULL; a line's end ends it. */
static const char *
field(const char *head, const char *end, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = head; line && line < end; line = strstr(line, "\r\n")) {
		line += line == head ? 0 : 2;
		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " \t");
	}
	return NULL;
}

void
http_parse(struct http_get *get, const char *raw, size_t len)
{
	const char *end = strstr(raw, "\r\n\r\n"), *length;
	char *rest;
	size_t body;

	get->error = -EPROTO;
	if (!end || strncmp(raw, "HTTP/1.", 7) != 0 || len < 12 || raw[8] != ' ')
		return;
	get->status = (int)strtol(raw + 9, NULL, 10);
	length = field(raw, end, "Content-Length");
	if (!length || *length < '0' || *length > '9')
		return;
	errno = 0;
	body = strtoul(length, &rest, 10);
	end += 4;
	if (errno || *rest != '\r' || body != len - (size_t)(end - raw))
		return;
	get->error = get->status == 200 ? 0 : -EREMOTEIO;
	get->len = body;
	get->body = have(malloc(body + 1));
	memcpy(get->body, end, body);
	get->body[body] = '\0';
}

/* One round: waits for what can go on, at most `wait_ms`, and goes on with it. */
static void
go_round(struct round *r, long long wait_ms)
{
	struct pollfd *polls = r->polls;
	int nr_polls = 0;

	for (int i = 0; i < r->nr; i++) {
		struct call *c = &r->calls[i];

		if (!c->done && !c->request.len)
			try_connect(c);
		if (c->done)
			continue;
		if (!c->request.len) {
			wait_ms = wait_ms < RETRY_MS ? wait_ms : RETRY_MS;
			continue;
		}
		polls[nr_polls++] = (struct pollfd){
			c->fd, c->sent < c->request.len ? POLLOUT : POLLIN, 0
		};
	}
	if (poll(polls, (nfds_t)nr_polls, (int)wait_ms) <= 0)
		return;
	for (int i = 0, at = 0; i < r->nr && at < nr_polls; i++) {
		struct call *c = &r->calls[i];

		if (c->done || c->fd != polls[at].fd)
			continue;
		if (polls[at++].revents == 0)
			continue;
		if (c->sent < c->request.len)
			send_request(c);
		else
			receive_answer(c, r);
	}
}

static int
nr_left(const struct round *r)
{
	int left = 0;

	for (int i = 0; i < r->nr; i++)
		left += !r->calls[i].done;
	return left;
}

void
http_run(struct http_get *gets, int nr, int timeout_ms)
{
	struct round r = { .nr = nr };
	double left, deadline = now_ms() + timeout_ms;

	r.calls = have(calloc((size_t)nr + 1, sizeof *r.calls));
	r.polls = have(calloc((size_t)nr + 1, sizeof *r.polls));
	for (int i = 0; i < nr; i++) {
		r.calls[i].get = &gets[i];
		r.calls[i].fd = -1;
		gets[i].status = 0;
		gets[i].body = NULL;
		gets[i].len = 0;
		gets[i].peer = 0;
	}
	while (nr_left(&r) && (left = deadline - now_ms()) > 0)
		go_round(&r, (long long)left + 1);
	for (int i = 0; i < nr; i++) {
		if (!r.calls[i].done)
			finish(&r.calls[i], -ETIMEDOUT);
		text_fini(&r.calls[i].request);
		text_fini(&r.calls[i].answer);
	}
	free(r.calls);
	free(r.polls);
}
