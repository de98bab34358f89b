/* Closing, copying and replacing descriptors. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The peer must see the end while we live: it answers by waking us. */
static void
wait_until_seen(void)
{
	note_time("sleep");
	wait_for_harness();
	say("slept");
}

static void
close_somehow(int fd, const char *how)
{
	if (!strcmp(how, "close"))
		result(how, close(fd));
	if (!strcmp(how, "close_range"))
		result(how, close_range((unsigned)fd, (unsigned)fd, 0));
	if (!strcmp(how, "close_range-wide"))
		result(how, close_range(3, 150, 0));
	if (!strcmp(how, "syscall-close"))
		result(how, syscall(SYS_close, fd));
	if (!strcmp(how, "syscall-close_range"))
		result(how, syscall(SYS_close_range, fd, fd, 0));
	if (!strcmp(how, "fclose"))
		result(how, fclose(fdopen(fd, "r+")));
	if (!strcmp(how, "shutdown-wr"))
		result(how, shutdown(fd, SHUT_WR));
	if (!strcmp(how, "shutdown-rdwr"))
		result(how, shutdown(fd, SHUT_RDWR));
	if (!strcmp(how, "shutdown-rd"))
		result(how, shutdown(fd, SHUT_RD));
}

static int
desc_close(int fd, char **args)
{
	put(fd, "4;");
	put(fd, "5;");
	close_somehow(fd, args[0]);
	if (!strncmp(args[0], "shutdown", 8))
		result("write", send(fd, "6;", 2, MSG_NOSIGNAL));
	else
		result("write", write(fd, "6;", 2));
	result("close", close(fd));
	wait_until_seen();
	return 0;
}

/* close with SO_LINGER 0: what was written, then a reset. */
static int
desc_close_reset(int fd, char **args)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	int on = 1;

	(void)args;
	/* Without it some would wait for an ACK, and the reset throw them away. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	result("setsockopt", setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
	put(fd, "4;");
	put(fd, "5;");
	result("close", close(fd));
	wait_until_seen();
	return 0;
}

/* closefrom takes the log too: the exit status says the rest. */
static int
desc_closefrom(int fd, char **args)
{
	(void)args;
	put(fd, "4;");
	put(fd, "5;");
	closefrom(3);
	return write(fd, "6;", 2) < 0 && errno == EBADF ? 7 : 8;
}

static void *
closes_it(void *fd)
{
	result("close", close(*(int *)fd));
	return NULL;
}

static int
desc_close_from_thread(int fd, char **args)
{
	pthread_t thread;

	(void)args;
	pthread_create(&thread, NULL, closes_it, &fd);
	pthread_join(thread, NULL);
	result("write", write(fd, "6;", 2));
	wait_until_seen();
	return 0;
}

static int
duplicate(int fd, const char *how)
{
	if (!strcmp(how, "dup"))
		return dup(fd);
	if (!strcmp(how, "dup2"))
		return dup2(fd, 20);
	if (!strcmp(how, "dup2-itself"))
		return dup2(fd, fd);
	if (!strcmp(how, "dup3"))
		return dup3(fd, 21, O_CLOEXEC);
	if (!strcmp(how, "F_DUPFD"))
		return fcntl(fd, F_DUPFD, 22);
	if (!strcmp(how, "F_DUPFD_CLOEXEC"))
		return fcntl(fd, F_DUPFD_CLOEXEC, 23);
	if (!strcmp(how, "syscall-dup"))
		return (int)syscall(SYS_dup, fd);
	if (!strcmp(how, "syscall-dup3"))
		return (int)syscall(SYS_dup3, fd, 24, 0);
	return (int)raw_call(SYS_dup, fd, 0, 0, 0, 0);
}

/* dup KIND: both numbers write, in order; one closes, the other goes on. */
static int
desc_dup(int fd, char **args)
{
	int copy = duplicate(fd, args[0]);

	result(args[0], copy);
	put(copy, "d4;");
	put(copy, "d5;");
	put(fd, "6;");
	put(fd, "7;");
	put(copy, "d8;");
	put(fd, "9;");
	if (copy != fd)
		result("close", close(fd));
	put(copy, "d10;");
	put(copy, "d11;");
	return 0;
}

static int
desc_dup_fails(int fd, char **args)
{
	(void)args;
	result("dup2", dup2(fd, -1));
	put(fd, "4;");
	result("dup3", dup3(fd, fd, 0));
	put(fd, "5;");
	result("dup2", dup2(fd, 1 << 20));
	put(fd, "6;");
	result("fcntl", fcntl(fd, F_DUPFD, 1 << 20));
	put(fd, "7;");
	result("dup", dup(-1));
	return 0;
}

/* Something else is put over the stream's number. */
static int
desc_dup_over(int fd, char **args)
{
	int null = open("/dev/null", O_RDWR);

	put(fd, "4;");
	put(fd, "5;");
	if (!strcmp(args[0], "dup2"))
		result("dup2", dup2(null, fd));
	else
		result("dup3", dup3(null, fd, O_CLOEXEC));
	put(fd, "not for the peer;");
	put(fd, "nor this;");
	wait_until_seen();
	return 0;
}

/* Another stream is put over it: held bytes keep to their own stream. */
static int
desc_dup_stream_over(int fd, char **args)
{
	int pair[2];
	char got[64] = "";

	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	put(pair[0], "a1;");
	put(pair[0], "a2;");
	put(pair[0], "a3;");
	put(fd, "4;");
	put(fd, "5;");
	result("dup2", dup2(pair[0], fd));
	put(fd, "a4;");
	put(fd, "a5;");
	result("close", close(fd));
	result("close", close(pair[0]));
	for (ssize_t n = 1, at = 0; n > 0; at += n)
		n = read(pair[1], got + at, sizeof got - 1 - (size_t)at);
	say("pair %s", got);
	wait_until_seen();
	return 0;
}

/* An epoll set must not keep, or lose, a stream that is closed with bytes held. */
static int
desc_close_in_epoll(int fd, char **args)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };
	int ep = epoll_create1(0);

	(void)args;
	result("epoll_ctl", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	put(fd, "4;");
	result("close", close(fd));
	result("epoll_wait", epoll_wait(ep, &ev, 1, 0));
	result("epoll_ctl", epoll_ctl(ep, EPOLL_CTL_DEL, fd, &ev));
	wait_until_seen();
	return 0;
}

const struct command descriptor_commands[] = {
	{ "close", desc_close, TURN },
	{ "close-reset", desc_close_reset, TURN },
	{ "closefrom", desc_closefrom, TURN },
	{ "close-from-thread", desc_close_from_thread, TURN },
	{ "dup", desc_dup, TURN },
	{ "dup-fails", desc_dup_fails, TURN },
	{ "dup-over", desc_dup_over, TURN },
	{ "dup-stream-over", desc_dup_stream_over, TURN },
	{ "close-in-epoll", desc_close_in_epoll, TURN },
	{ 0 },
};
