/* Programs with many streams or threads, and the client: see subject.h. */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- one thread, epoll, nothing that waits ---- */

enum { MOST_IN = 4096, MOST_OUT = 1 << 20, READ_PIECE = 64 };

struct connection {
	int fd;
	bool over; /* closed as soon as all is out */
	size_t nr_in, nr_out, sent;
	char in[MOST_IN], out[MOST_OUT];
};

static void
queue(struct connection *c, const void *buf, size_t n)
{
	ssize_t went = 0;

	if (c->nr_out == c->sent)
		went = write(c->fd, buf, n);
	if (went < 0 && errno != EAGAIN)
		fail("write");
	if (went < 0)
		went = 0;
	if (c->nr_out == c->sent)
		c->nr_out = c->sent = 0;
	if (c->nr_out + n > MOST_OUT) {
		errno = ENOBUFS;
		fail("queue");
	}
	memcpy(c->out + c->nr_out, (const char *)buf + went, n - (size_t)went);
	c->nr_out += n - (size_t)went;
}

static void
queue_reply(struct connection *c, const struct request *request)
{
	size_t len = (size_t)request->len, at = 0;
	char *body = room(len + 1), head[REPLY_HEAD + 8];

	for (size_t i = 0; i < len; i++)
		body[i] = pattern(request->number, i);
	snprintf(head, sizeof head, "%07d:", request->number);
	queue(c, head, REPLY_HEAD);
	for (int i = 0; i < NR_PIECES && at < len; i++, at += PIECE)
		queue(c, body + at, len - at < PIECE ? len - at : PIECE);
	if (at < len)
		queue(c, body + at, len - at);
	free(body);
}

/* Takes whole requests off what was read. */
static void
answer_all(struct connection *c)
{
	struct request request;
	size_t len;

	while (c->nr_in >= REQUEST_HEAD && !c->over) {
		if (sscanf(c->in, "%7d %7d\n", &request.number, &request.len) != 2) {
			errno = EBADMSG;
			fail("request");
		}
		len = REQUEST_HEAD + (size_t)request.number % 50;
		if (c->nr_in < len)
			return;
		for (size_t i = REQUEST_HEAD; i < len; i++) {
			if (c->in[i] != pattern(request.number, i - REQUEST_HEAD)) {
				errno = EBADMSG;
				fail("bytes");
			}
		}
		memmove(c->in, c->in + len, c->nr_in -= len);
		c->over = !request.len;
		if (!c->over)
			queue_reply(c, &request);
	}
}

static void
readable(struct connection *c)
{
	ssize_t got;

	while (c->nr_in + READ_PIECE <= MOST_IN) {
		got = read(c->fd, c->in + c->nr_in, READ_PIECE);
		if (got < 0 && errno == EAGAIN)
			return;
		if (got < 0)
			fail("read");
		if (got == 0) {
			c->over = true;
			return;
		}
		c->nr_in += (size_t)got;
		answer_all(c);
	}
}

static void
writable(struct connection *c)
{
	ssize_t went;

	if (c->sent == c->nr_out)
		return;
	went = write(c->fd, c->out + c->sent, c->nr_out - c->sent);
	if (went < 0 && errno != EAGAIN)
		fail("write");
	if (went > 0)
		c->sent += (size_t)went;
}

static void
watch(int epoll, int op, int fd, struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.ptr = c;
	if (c && c->sent < c->nr_out)
		event.events |= EPOLLOUT;
	if (epoll_ctl(epoll, op, fd, &event) < 0)
		fail("epoll_ctl");
}

static void
accept_to(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	struct connection *c = room(sizeof *c);

	if (fd < 0)
		fail("accept");
	memset(c, 0, offsetof(struct connection, in));
	c->fd = fd;
	watch(epoll, EPOLL_CTL_ADD, fd, c);
}

int
run_epoll(int nr)
{
	int listener = listen_tcp(SOCK_NONBLOCK), epoll = epoll_create1(0), nr_ready;
	struct epoll_event ready[8];

	watch(epoll, EPOLL_CTL_ADD, listener, NULL);
	while (nr > 0) {
		nr_ready = epoll_wait(epoll, ready, 8, -1);
		if (nr_ready < 0)
			fail("epoll_wait");
		for (int i = 0; i < nr_ready; i++) {
			struct connection *c = ready[i].data.ptr;

			if (!c) {
				accept_to(epoll, listener);
				continue;
			}
			if (ready[i].events & EPOLLIN)
				readable(c);
			writable(c);
			if (!c->over || c->sent < c->nr_out) {
				watch(epoll, EPOLL_CTL_MOD, c->fd, c);
				continue;
			}
			if (close(c->fd) < 0)
				fail("close");
			free(c);
			nr--;
		}
	}
	return 0;
}

/* ---- two threads a connection, a condition variable between them ---- */

enum { MOST_QUEUED = 64 };

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct request queue[MOST_QUEUED];
	unsigned head, tail;
	bool over;
	int fd;
} work = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *
replies(void *unused)
{
	pthread_mutex_lock(&work.mutex);
	for (;;) {
		while (work.head == work.tail && !work.over)
			pthread_cond_wait(&work.changed, &work.mutex);
		if (work.head == work.tail)
			break;
		/* With the mutex, so that only one writes at a time. */
		put_reply(work.fd, &work.queue[work.head % MOST_QUEUED]);
		work.head++;
		pthread_cond_broadcast(&work.changed);
	}
	pthread_mutex_unlock(&work.mutex);
	return unused;
}

/* Every third reply is this thread's, behind what the other may still hold. */
static void
hand_out(const struct request *request)
{
	bool own = request->number % 3 == 0;

	pthread_mutex_lock(&work.mutex);
	while (work.tail - work.head == MOST_QUEUED || (own && work.head != work.tail))
		pthread_cond_wait(&work.changed, &work.mutex);
	if (own)
		put_reply(work.fd, request);
	else
		work.queue[work.tail++ % MOST_QUEUED] = *request;
	pthread_cond_broadcast(&work.changed);
	pthread_mutex_unlock(&work.mutex);
}

int
run_threads(int nr)
{
	int listener = listen_tcp(0);
	struct request request;
	pthread_t thread;

	while (nr-- > 0) {
		work.fd = accept_one(listener);
		work.over = false;
		if ((errno = pthread_create(&thread, NULL, replies, NULL)))
			fail("pthread_create");
		while (get_request(work.fd, &request) && request.len)
			hand_out(&request);
		pthread_mutex_lock(&work.mutex);
		work.over = true;
		pthread_cond_broadcast(&work.changed);
		pthread_mutex_unlock(&work.mutex);
		pthread_join(thread, NULL);
		if (close(work.fd) < 0)
			fail("close");
	}
	return 0;
}

/* ---- the connecting side ---- */

int
run_client(int nr, int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct request request = { 0 };
	char byte;

	while (nr-- > 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0), first;

		if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
			fail("connect");
		for (int i = 0; i < 3; i++) {
			request = (struct request){ request.number + 1, 40 };
			put_request(fd, &request);
			get_reply(fd, &request);
		}
		first = request.number + 1;
		for (int i = 0; i < 20; i++)
			put_request(fd, &(struct request){ first + i, 100 + i });
		for (int i = 0; i < 20; i++)
			get_reply(fd, &(struct request){ first + i, 100 + i });
		request.number += 21;
		put_request(fd, &(struct request){ request.number, 0 });
		if (shutdown(fd, SHUT_WR) < 0)
			fail("shutdown");
		if (read(fd, &byte, 1) != 0)
			fail("end");
		if (close(fd) < 0)
			fail("close");
	}
	return 0;
}
