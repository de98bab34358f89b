/* Blocking reads, accepts, connects and sends. */
#include "actor_sleep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int pair[2], listener, event;
static struct sockaddr_un name;
static char buf[16];

static void
make_pair(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		say("no pair");
}

/* A full one: every send blocks. */
static void
make_full_pair(void)
{
	char bytes[4096] = "";

	make_pair();
	while (send(pair[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

static void
make_event(void)
{
	event = eventfd(0, 0);
}

static int
make_listener(int backlog)
{
	socklen_t len = sizeof name;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	name.sun_family = AF_UNIX;
	/* No path: the kernel finds a free abstract name. */
	bind(fd, (struct sockaddr *)&name, sizeof name.sun_family);
	getsockname(fd, (struct sockaddr *)&name, &len);
	listen(fd, backlog);
	return fd;
}

static void
listen_for_nobody(void)
{
	listener = make_listener(8);
}

/* The one place in its queue is taken: the next connect blocks. */
static void
listen_with_full_queue(void)
{
	int first = socket(AF_UNIX, SOCK_STREAM, 0);

	listener = make_listener(0);
	connect(first, (struct sockaddr *)&name, sizeof name.sun_family + 6);
}

static void
sleep_read(int fd)
{
	result("read", read(fd, buf, sizeof buf));
}

static void
sleep_recv(int fd)
{
	result("recv", recv(fd, buf, 1, 0));
}

static void
sleep_recvfrom(int fd)
{
	result("recvfrom", recvfrom(fd, buf, 1, 0, NULL, NULL));
}

static void
sleep_recvmsg(int fd)
{
	struct iovec iov = { buf, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	result("recvmsg", recvmsg(fd, &msg, 0));
}

static void
sleep_readv(int fd)
{
	struct iovec iov = { buf, 1 };

	result("readv", readv(fd, &iov, 1));
}

static void
sleep_peek(int fd)
{
	result("peek", recv(fd, buf, 1, MSG_PEEK));
}

static void
sleep_recv_all(int fd)
{
	result("recv all", recv(fd, buf, 1, MSG_WAITALL));
}

static void
sleep_read_other(int fd)
{
	(void)fd;
	result("read", read(pair[0], buf, 1));
}

static int written;

static void
write_and_wake(int sig)
{
	(void)sig;
	put(written, "4;");
	put(written, "5;");
	raw_call(SYS_write, pair[1], (long)"x", 1, 0, 0);
}

/* A handler writes while a read sleeps. */
static void
sleep_handled(int fd)
{
	struct sigaction action = { .sa_handler = write_and_wake,
				    .sa_flags = SA_RESTART };
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct timespec forever = { 30, 0 };

	written = fd;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	result("read", read(pair[0], buf, 1));
	result("nanosleep", nanosleep(&forever, NULL));
}

static void
sleep_send_other(int fd)
{
	char bytes[4096] = "";

	(void)fd;
	result("send", send(pair[0], bytes, sizeof bytes, 0));
}

static void
sleep_read_pipe(int fd)
{
	(void)fd;
	result("read", read(0, buf, 1));
}

static void
sleep_readv_pipe(int fd)
{
	struct iovec iov = { buf, 1 };

	(void)fd;
	result("readv", readv(0, &iov, 1));
}

static void
sleep_read_event(int fd)
{
	(void)fd;
	result("read", read(event, buf, 8));
}

static void
sleep_accept(int fd)
{
	(void)fd;
	result("accept", accept(listener, NULL, NULL));
}

static void
sleep_accept4(int fd)
{
	(void)fd;
	result("accept4", accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

static void
sleep_connect(int fd)
{
	int other = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)fd;
	result("connect",
	       connect(other, (struct sockaddr *)&name, sizeof name.sun_family + 6));
}

/* No sleep, but the thread turns to another stream: the awaited one is released. */
static void
turn_to_other_write(int fd)
{
	(void)fd;
	put(pair[0], "other");
	spin_ms(400);
}

static void
turn_to_other_read(int fd)
{
	(void)fd;
	result("recv", recv(pair[0], buf, 1, MSG_DONTWAIT));
	spin_ms(400);
}

const struct sleeping socket_sleeps[] = {
	{ "read", sleep_read, NULL },
	{ "recv", sleep_recv, NULL },
	{ "recvfrom", sleep_recvfrom, NULL },
	{ "recvmsg", sleep_recvmsg, NULL },
	{ "readv", sleep_readv, NULL },
	{ "peek", sleep_peek, NULL },
	{ "recv-all", sleep_recv_all, NULL },
	{ "read-other", sleep_read_other, make_pair },
	{ "handled", sleep_handled, make_pair },
	{ "send-other", sleep_send_other, make_full_pair },
	{ "read-pipe", sleep_read_pipe, NULL },
	{ "readv-pipe", sleep_readv_pipe, NULL },
	{ "read-event", sleep_read_event, make_event },
	{ "accept", sleep_accept, listen_for_nobody },
	{ "accept4", sleep_accept4, listen_for_nobody },
	{ "connect", sleep_connect, listen_with_full_queue },
	{ "other-write", turn_to_other_write, make_pair },
	{ "other-read", turn_to_other_read, make_pair },
	{ 0 },
};
