/* Much data, full kernel buffers, writes that are cut short. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)

static volatile sig_atomic_t nr_alarms;

static void
count_alarm(int sig)
{
	(void)sig;
	nr_alarms++;
}

/* Byte i of the stream behind the turn is a function of i: a slip shows. */
static char
pattern(size_t i)
{
	return (char)('a' + (i * 7 + i / 251 + i / 65521) % 26);
}

static char *
make_pattern(size_t from, size_t len)
{
	char *bytes = malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(from + i);
	return bytes;
}

static int
big_write(int fd, char **args)
{
	char *bytes = make_pattern(0, 3 * MIB);

	(void)args;
	put(fd, "4;");
	result("write", write(fd, bytes, MIB));
	put(fd, "5;");
	put(fd, "6;");
	result("send", send(fd, bytes + MIB, MIB, MSG_NOSIGNAL));
	put(fd, "7;");
	result("write", write(fd, bytes + 2 * MIB, 32768));
	put(fd, "8;");
	result("write", write(fd, bytes, 32767));
	result("write", write(fd, bytes, 32769));
	put(fd, "9;");
	free(bytes);
	return 0;
}

/* 1 to 64 pieces, IOV_MAX pieces, empty ones among them. */
static int
big_vectors(int fd, char **args)
{
	static struct iovec iov[IOV_MAX];
	char *bytes = make_pattern(0, 65536);

	(void)args;
	for (int n = 1; n <= 64; n++) {
		for (int i = 0; i < n; i++) {
			iov[i].iov_base = bytes + i * 16;
			iov[i].iov_len = (size_t)(i % 5);
		}
		result("writev", writev(fd, iov, n));
		put(fd, ";");
	}
	for (int i = 0; i < IOV_MAX; i++) {
		iov[i].iov_base = bytes + i * 64;
		iov[i].iov_len = 64;
	}
	put(fd, "max;");
	result("writev", writev(fd, iov, IOV_MAX));
	result("sendmsg",
	       sendmsg(fd, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = IOV_MAX },
		       0));
	put(fd, "end;");
	free(bytes);
	return 0;
}

static void
small_buffer(int fd)
{
	int size = 16384;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static ssize_t
write_piece(int fd, size_t *at, size_t end, size_t piece)
{
	char bytes[4096];
	ssize_t n;

	piece = piece < end - *at ? piece : end - *at;
	for (size_t i = 0; i < piece; i++)
		bytes[i] = pattern(*at + i);
	n = write(fd, bytes, piece);
	if (n > 0)
		*at += (size_t)n;
	return n;
}

/* nonblocking poll|epoll PIECE: refused writes are tried again once writable. */
static int
big_nonblocking(int fd, char **args)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	size_t at = 0, end = 2 * MIB, piece = (size_t)atoi(args[1]);
	int ep = epoll_create1(0), refused = 0, stuck = 0;

	small_buffer(fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	while (at < end && !stuck) {
		ssize_t n = write_piece(fd, &at, end, piece);

		if (n < 0 && errno != EAGAIN)
			return (int)result("write", n);
		if (n > 0)
			continue;
		if (!refused++)
			say("full");
		if (!strcmp(args[0], "poll"))
			stuck = poll(&p, 1, 30000) != 1;
		else
			stuck = epoll_wait(ep, &ev, 1, 30000) != 1;
	}
	say("wrote %zu refused %s stuck %d", at, refused ? "yes" : "no", stuck);
	return 0;
}

/* How much fits until the buffer stays full, with nobody reading: what the peer's kernel acknowledges late makes room
 * again. The library does not see us wait. */
static int
big_fill(int fd, char **args)
{
	size_t at = 0, piece = (size_t)atoi(args[0]);
	struct timespec moment;
	int quiet = 0;
	ssize_t n;

	small_buffer(fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (quiet++ < 3) {
		while ((n = write_piece(fd, &at, 64 * MIB, piece)) > 0)
			quiet = 0;
		moment = (struct timespec){ .tv_nsec = 120000000 };
		raw_call(SYS_ppoll, 0, 0, (long)&moment, 0, 0);
	}
	result("write", n);
	say("~filled %zu", at);
	result("poll", poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 0));
	fcntl(fd, F_SETFL, 0);
	say("full");
	put(fd, "end;");
	return 0;
}

/* blocking PIECE: every write blocks until the slow reader makes room. */
static int
big_blocking(int fd, char **args)
{
	size_t at = 0, end = 2 * MIB, piece = (size_t)atoi(args[0]);
	int nr_short = 0;

	small_buffer(fd);
	say("full");
	while (at < end) {
		size_t before = at;
		ssize_t n = write_piece(fd, &at, end, piece);

		if (n < 0)
			return (int)result("write", n);
		nr_short += at != end && at - before != piece;
	}
	say("wrote %zu short %d", at, nr_short);
	return 0;
}

/* Full, and still full a while later: window probes drain a little more at first. */
static void
fill_blocking(int fd)
{
	char bytes[1024];
	int quiet = 0;

	memset(bytes, 'f', sizeof bytes);
	small_buffer(fd);
	while (quiet++ < 3) {
		while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
			quiet = 0;
		while (send(fd, bytes, 1, MSG_DONTWAIT) > 0)
			quiet = 0;
		usleep(120000);
	}
}

/* A full socket, nobody reads: the time-out ends the write, with EAGAIN. */
static int
big_send_timeout(int fd, char **args)
{
	struct timeval limit = { .tv_usec = 100000 };
	int64_t from;

	(void)args;
	fill_blocking(fd);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	from = actor_now_ns();
	result("write", write(fd, "late;", 5));
	say("waited %s", actor_now_ns() - from >= 90000000 ? "yes" : "no");
	result("write", write(fd, "late;", 5));
	result("send", send(fd, "late;", 5, MSG_DONTWAIT));
	return 0;
}

/* A signal without SA_RESTART cuts a blocked write: EINTR, or a short count. */
static int
big_interrupted(int fd, char **args)
{
	struct sigaction action = { .sa_handler = count_alarm };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	char *bytes = make_pattern(0, 16 * MIB);
	ssize_t n;

	(void)args;
	fill_blocking(fd);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	result("small write", write(fd, "late;", 5));
	n = write(fd, bytes, 16 * MIB);
	say("big write %s", n < 0 ? strerrorname_np(errno) : "short");
	result("writev", writev(fd, &(struct iovec){ bytes, 10 }, 1));
	say("signals %s", nr_alarms ? "yes" : "no");
	say("~sent %zd", n > 0 ? n : 0);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 0 } }, NULL);
	free(bytes);
	return 0;
}

/* A non-blocking connect, written to at once and again when it stands. */
static int
big_connecting(int unused, char **args)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct pollfd p = { .events = POLLOUT };
	socklen_t len = sizeof in;
	char got[64] = "";
	int listener = socket(AF_INET, SOCK_STREAM, 0), peer;

	(void)unused;
	(void)args;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (struct sockaddr *)&in, sizeof in);
	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&in, &len);
	p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	result("connect", connect(p.fd, (struct sockaddr *)&in, sizeof in));
	result("poll", poll(&p, 1, 30000));
	result("write", write(p.fd, "1;", 2));
	result("write", write(p.fd, "2;", 2));
	result("connect", connect(p.fd, (struct sockaddr *)&in, sizeof in));
	result("write", write(p.fd, "3;", 2));
	result("write", write(p.fd, "4;", 2));
	result("shutdown", shutdown(p.fd, SHUT_WR));
	peer = accept(listener, NULL, NULL);
	for (ssize_t n = 1, at = 0; n > 0; at += n)
		n = read(peer, got + at, sizeof got - 1 - (size_t)at);
	say("peer got %s", got);
	return 0;
}

const struct command big_commands[] = {
	{ "big-write", big_write, TURN },
	{ "vectors", big_vectors, TURN },
	{ "nonblocking", big_nonblocking, TURN },
	{ "fill", big_fill, TURN },
	{ "blocking", big_blocking, TURN },
	{ "send-timeout", big_send_timeout, TURN },
	{ "interrupted", big_interrupted, TURN },
	{ "connecting", big_connecting, NOTHING },
	{ 0 },
};
