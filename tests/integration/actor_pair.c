/* Both ends of a stream in one thread: what was written to one is there for whatever looks at the other. */
#include "actor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static bool forks_between; /* connect and accept */

/* The child has one end: the other is yet to be accepted. */
static void
fork_and_wait(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
}

/* Connects to the listener, which it closes. */
static int
meet_at(int ends[2], int listener, const union address *address, socklen_t len)
{
	int on = 1, family = address->any.sa_family;

	ends[0] = socket(family, SOCK_STREAM, 0);
	if (connect(ends[0], &address->any, len) < 0)
		return -1;
	if (forks_between)
		fork_and_wait();
	ends[1] = accept(listener, NULL, NULL);
	for (int i = 0; i < 2 && family == AF_INET; i++)
		setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return close(listener);
}

/* The kernel chooses the address. */
static int
meet(int ends[2], int family, socklen_t len)
{
	union address address = { .in = { .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	int listener = socket(family, SOCK_STREAM, 0);

	address.any.sa_family = (sa_family_t)family;
	if (bind(listener, &address.any, len) < 0 || listen(listener, 1) < 0)
		return -1;
	len = sizeof address;
	if (getsockname(listener, &address.any, &len) < 0)
		return -1;
	return meet_at(ends, listener, &address, len);
}

/* An AF_INET socket is connected to one of AF_INET6. */
static int
meet_mixed(int ends[2])
{
	union address address = { .in6 = { .sin6_family = AF_INET6 } };
	socklen_t len = sizeof address.in6;
	int listener = socket(AF_INET6, SOCK_STREAM, 0);

	if (bind(listener, &address.any, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, &address.any, &len) < 0) {
		say("skip: no IPv6 here");
		return -1;
	}
	address.in = (struct sockaddr_in){ .sin_family = AF_INET,
					   .sin_port = address.in6.sin6_port,
					   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return meet_at(ends, listener, &address, sizeof address.in);
}

static int
both_ends(const char *kind, int ends[2])
{
	if (!strcmp(kind, "tcp"))
		return meet(ends, AF_INET, sizeof(struct sockaddr_in));
	if (!strcmp(kind, "mixed"))
		return meet_mixed(ends);
	if (!strcmp(kind, "unix"))
		return meet(ends, AF_UNIX, sizeof(sa_family_t));
	return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

static void
say_in(int fd)
{
	char got[64];

	result("recv", recv(fd, got, sizeof got, MSG_DONTWAIT));
}

static void
put_three(int fd)
{
	put(fd, "1;");
	put(fd, "2;");
	put(fd, "3;");
}

static void
look_by_read(int from, int at)
{
	char got[64];
	struct iovec iov = { got, sizeof got };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	put_three(from);
	result("read", read(at, got, sizeof got));
	put_three(from);
	result("readv", readv(at, &iov, 1));
	put_three(from);
	result("recvmsg", recvmsg(at, &msg, MSG_DONTWAIT));
	put_three(from);
	result("peek", recv(at, got, sizeof got, MSG_PEEK));
	result("recv", recv(at, got, 3, 0));
	put(from, "4;");
	say_in(at);
}

static void
look_by_question(int from, int at)
{
	struct pollfd p = { .fd = at, .events = POLLIN };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct timeval now = { 0, 0 };
	int unread = -1, set = epoll_create1(0);
	fd_set in;

	put_three(from);
	result("FIONREAD", ioctl(at, FIONREAD, &unread));
	say("%d unread", unread);
	say_in(at);
	put_three(from);
	result("poll", poll(&p, 1, 0));
	say_in(at);
	put_three(from);
	FD_ZERO(&in);
	FD_SET(at, &in);
	result("select", select(at + 1, &in, NULL, NULL, &now));
	say_in(at);
	epoll_ctl(set, EPOLL_CTL_ADD, at, &event);
	for (int i = 0; i < 3; i++) {
		put_three(from);
		result("epoll_wait", epoll_wait(set, &event, 1, 0));
		result("epoll_wait", epoll_wait(set, &event, 1, 0));
	}
	say_in(at);
	close(set);
}

static void
look_at_both(const int ends[2])
{
	for (int i = 0; i < 4; i++) {
		look_by_read(ends[i % 2], ends[!(i % 2)]);
		look_by_question(ends[i % 2], ends[!(i % 2)]);
	}
}

static int
pair_looks(int unused, char **args)
{
	int ends[2];

	(void)unused;
	if (both_ends(args[0], ends) < 0)
		return 1;
	look_at_both(ends);
	return 0;
}

/* pair-ends KIND HOW: the other end is closed, with bytes unread or at their end, shut, or read by a
 * duplicate of its number. */
static int
pair_ends(int unused, char **args)
{
	struct pollfd p = { .events = 0 };
	int ends[2], copy;

	(void)unused;
	if (both_ends(args[0], ends) < 0)
		return 1;
	put_three(ends[0]);
	say_in(ends[1]);
	put_three(ends[0]);
	put_three(ends[1]);
	if (!strcmp(args[1], "dup")) {
		copy = dup(ends[1]);
		put_three(ends[0]);
		say_in(copy);
		put_three(ends[0]);
		say_in(copy);
		return 0;
	}
	if (!strcmp(args[1], "end"))
		say_in(ends[1]);
	if (!strcmp(args[1], "shutdown"))
		result("shutdown", shutdown(ends[1], SHUT_RD));
	else
		result("close", close(ends[1]));
	result("write", send(ends[0], "4;", 2, MSG_NOSIGNAL));
	p.fd = ends[0];
	if (strcmp(args[1], "shutdown"))
		poll(&p, 1, 30000); /* for the reset, by TCP */
	result("write", send(ends[0], "5;", 2, MSG_NOSIGNAL));
	result("write", send(ends[0], "6;", 2, MSG_NOSIGNAL));
	say_in(ends[0]);
	return 0;
}

/* The other end is met here for the first time. */
static void
first_of_the_other(const int ends[2], const char *how)
{
	int unread = -1;

	put_three(ends[0]);
	put_three(ends[0]);
	put_three(ends[0]);
	if (!strcmp(how, "FIONREAD")) {
		result("FIONREAD", ioctl(ends[1], FIONREAD, &unread));
		say("%d unread", unread);
	} else if (!strcmp(how, "dup")) {
		say_in(dup(ends[1]));
	} else {
		result("close", close(ends[1]));
		result("write", send(ends[0], "4;", 2, MSG_NOSIGNAL));
		result("write", send(ends[0], "5;", 2, MSG_NOSIGNAL));
	}
}

/* pair-forked KIND [HOW [again]]: in a child that has got both ends, and has them alone; again: a
 * child before it, made before the connection was accepted, has had one of them. */
static int
pair_forked(int unused, char **args)
{
	int ends[2], closed[2], status = -1;
	char byte;
	pid_t pid;

	(void)unused;
	forks_between = args[1] && args[2];
	if (both_ends(args[0], ends) < 0 || pipe2(closed, O_CLOEXEC) < 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		close(closed[1]);
		raw_call(SYS_read, closed[0], (long)&byte, 1, 0, 0);
		if (args[1])
			first_of_the_other(ends, args[1]);
		else
			look_at_both(ends);
		_exit(0);
	}
	close(ends[0]);
	close(ends[1]);
	close(closed[1]);
	waitpid(pid, &status, 0);
	return status;
}

/* What the other end gets before and after the write that MSG_MORE has announced. False: it took so long
 * that the kernel may have lost its patience. */
static bool
announce(const int ends[2], ssize_t got[2])
{
	char text[64];
	int64_t start = actor_now_ns();

	send(ends[0], "4;", 2, MSG_MORE);
	got[0] = recv(ends[1], text, sizeof text, MSG_DONTWAIT);
	if (actor_now_ns() - start > 100000000)
		return false;
	send(ends[0], "5;", 2, 0);
	got[1] = recv(ends[1], text, sizeof text, MSG_DONTWAIT);
	return true;
}

/* pair-more KIND */
static int
pair_more(int unused, char **args)
{
	int ends[2];
	ssize_t got[2];
	char text[64];

	(void)unused;
	for (int rounds = 0; rounds < 3;) {
		if (both_ends(args[0], ends) < 0)
			return 1;
		put_three(ends[0]); /* what follows does not stand alone */
		recv(ends[1], text, sizeof text, 0);
		put_three(ends[0]);
		if (announce(ends, got)) {
			say("recv %zd %zd", got[0], got[1]);
			rounds++;
		}
		close(ends[0]);
		close(ends[1]);
	}
	return 0;
}

const struct command pair_commands[] = {
	{ "pair-more", pair_more, NOTHING },
	{ "pair", pair_looks, NOTHING },
	{ "pair-ends", pair_ends, NOTHING },
	{ "pair-forked", pair_forked, NOTHING },
	{ 0 },
};
