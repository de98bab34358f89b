/* Errors: what a write, a flush and a reset tell the application, and when. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t nr_pipes;

static void
count_pipe(int sig)
{
	(void)sig;
	nr_pipes++;
}

/* The harness resets the connection and then wakes us. */
static void
wait_for_reset(int fd)
{
	struct pollfd p = { .fd = fd };

	say("reset now");
	wait_for_harness();
	poll(&p, 1, 30000); /* ERR or HUP */
}

struct seen {
	int resets, pipes, others, sleeps;
};

static void
see(struct seen *seen, long rc)
{
	if (rc >= 0)
		return;
	if (errno == ECONNRESET)
		seen->resets++;
	else if (errno == EPIPE)
		seen->pipes++;
	else
		seen->others++;
}

/*
 * Writes after a reset until EPIPE has come three times. How many writes still
 * succeed is the library's affair (held ones do); that a reset is told at most once,
 * that EPIPE follows and stays, that no data call goes on succeeding is not.
 */
static void
write_until_pipe(int fd, int flags)
{
	struct seen seen = { 0 };
	int calls = 0;

	while (seen.pipes < 3 && calls++ < 12) {
		see(&seen,
		    flags ? send(fd, "late;", 5, MSG_NOSIGNAL) : write(fd, "late;", 5));
		if (calls % 2 == 0)
			usleep(500); /* what is held leaves, and meets the reset */
	}
	say("resets %d pipes %d others %d", seen.resets, seen.pipes, seen.others);
	say("SIGPIPE %s", nr_pipes ? "yes" : "no");
}

/* reset ignored|handled|nosignal|default */
static int
error_reset(int fd, char **args)
{
	if (!strcmp(args[0], "ignored"))
		signal(SIGPIPE, SIG_IGN);
	if (!strcmp(args[0], "handled"))
		signal(SIGPIPE, count_pipe);
	wait_for_reset(fd);
	write_until_pipe(fd, !strcmp(args[0], "nosignal"));
	return 0;
}

/* A flush meets the reset: it is told once, by whoever asks first. */
static int
error_told_once(int fd, char **args)
{
	struct seen seen = { 0 };
	int error = 0, nr_errors = 0;
	socklen_t len = sizeof error;
	char byte;

	signal(SIGPIPE, SIG_IGN);
	wait_for_reset(fd);
	see(&seen, write(fd, "a;", 2));
	see(&seen, write(fd, "b;", 2));
	see(&seen, write(fd, "c;", 2));
	usleep(1000); /* held bytes leave, and find the reset */
	for (int i = 0; i < 3; i++) {
		if (!strcmp(args[0], "read")) {
			see(&seen, read(fd, &byte, 1));
		} else {
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
			nr_errors += error == ECONNRESET;
		}
	}
	say("told %d others %d", seen.resets + nr_errors, seen.others);
	return 0;
}

static int
error_shutdown(int fd, char **args)
{
	(void)args;
	signal(SIGPIPE, count_pipe);
	result("shutdown", shutdown(fd, SHUT_WR));
	result("write", write(fd, "no", 2));
	say("SIGPIPE %d", (int)nr_pipes);
	result("send", send(fd, "no", 2, MSG_NOSIGNAL));
	say("SIGPIPE %d", (int)nr_pipes);
	result("write", write(fd, "", 0));
	result("writev", writev(fd, &(struct iovec){ "no", 2 }, 1));
	say("SIGPIPE %d", (int)nr_pipes);
	return 0;
}

/* Nothing of this moves a byte; what was held stays in order around it. */
static int
error_arguments(int fd, char **args)
{
	struct iovec iov[2] = { { "ab", 2 }, { "cd", 2 } };
	struct iovec over[2] = { { "ab", (size_t)-1 >> 1 }, { "cd", 2 } };
	struct iovec around[2] = { { "ab", (size_t)-2 }, { "cd", 4 } };
	struct msghdr all_around = { .msg_iov = around, .msg_iovlen = 2 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2000 };
	struct iovec partly[2] = { { "w9;", 3 }, { NULL, 3 } };
	/* volatile: the compiler must not see how wrong these are */
	struct iovec *volatile bad_vector = (struct iovec *)-1;
	struct msghdr *volatile bad_message = NULL;
	struct mmsghdr *volatile bad_messages = (struct mmsghdr *)-1;
	struct msghdr bad_control = { .msg_iov = iov,
				      .msg_iovlen = 1,
				      .msg_control = bad_vector,
				      .msg_controllen = 64 };
	void *volatile bad = (void *)8;
	volatile int negative = -1, too_many = 1025, far = INT_MIN + fd;

	(void)args;
	result("write 0", write(fd, "x", 0));
	result("send 0", send(fd, "x", 0, 0));
	result("write null 0", write(fd, NULL, 0));
	result("writev 0", writev(fd, iov, 0));
	result("writev -1", writev(fd, iov, negative));
	result("writev 1025", writev(fd, iov, too_many));
	put(fd, "4;");
	result("writev over", writev(fd, over, 2));
	result("writev around", writev(fd, around, 2));
	result("sendmsg around", sendmsg(fd, &all_around, 0));
	result("readv around", readv(fd, around, 2));
	result("sendmsg 2000", sendmsg(fd, &msg, 0));
	result("sendmmsg 0", sendmmsg(fd, NULL, 0, 0));
	put(fd, "5;");
	/* A small one may fault: it is copied where the call is made. */
	result("write bad", write(fd, bad, 1 << 20));
	put(fd, "6;");
	result("send bad", send(fd, bad, 1 << 20, 0));
	result("write closed", write(190, "x", 1));
	result("write far", write(far, "x", 1));
	result("writev far", writev(far, iov, 1));
	result("send pipe", send(0, "x", 1, 0));
	put(fd, "7;");
	result("sendto name", sendto(fd, "8;", 2, 0, NULL, 0));
	result("writev null", writev(fd, bad_vector, 2));
	result("writev partly", writev(fd, partly, 2));
	put(fd, "8;");
	msg.msg_iovlen = 1;
	msg.msg_iov = bad_vector;
	result("sendmsg bad", sendmsg(fd, &msg, 0));
	result("sendmsg null", sendmsg(fd, bad_message, 0));
	result("recvmsg bad", recvmsg(fd, &msg, MSG_DONTWAIT));
	result("recvmsg null", recvmsg(fd, bad_message, MSG_DONTWAIT));
	result("readv null", readv(fd, bad_vector, 1));
	result("pwritev2 flags", pwritev2(fd, iov, 1, -1, 0x4000));
	put(fd, "9;");
	result("sendmmsg bad", sendmmsg(fd, bad_messages, 1, 0));
	result("sendmsg control", sendmsg(fd, &bad_control, 0));
	result("syscall sendmsg", syscall(SYS_sendmsg, fd, bad_message, 0));
	result("syscall recvmsg", syscall(SYS_recvmsg, fd, bad_message, MSG_DONTWAIT));
	result("syscall sendmmsg", syscall(SYS_sendmmsg, fd, bad_messages, 1, 0));
	result("syscall clone3", syscall(SYS_clone3, bad_message, 0));
	put(fd, "10;");
	return 0;
}

/* A time-out that is none is told of, whatever is ready and held. */
static int
error_timeouts(int fd, char **args)
{
	const struct timespec early = { -1, 0 }, negative = { 0, -1 },
			      long_part = { 0, 1000000000 };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct epoll_event event = { .events = EPOLLOUT };
	int epoll = epoll_create1(0);
	struct timeval before = { -1, 0 };
	fd_set out;

	(void)args;
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	put(fd, "4;");
	put(fd, "5;");
	result("ppoll", ppoll(&p, 1, &early, NULL));
	put(fd, "6;");
	result("ppoll", ppoll(&p, 1, &negative, NULL));
	put(fd, "7;");
	result("epoll_pwait2", epoll_pwait2(epoll, &event, 1, &long_part, NULL));
	FD_ZERO(&out);
	FD_SET(fd, &out);
	put(fd, "8;");
	result("pselect", pselect(fd + 1, NULL, &out, NULL, &long_part, NULL));
	put(fd, "9;");
	result("select", select(fd + 1, NULL, &out, NULL, &before));
	result("poll", poll(&p, 1, 1000));
	return 0;
}

enum { ANSWERS = 3 };

/* Answers what comes in two pieces, the last time by its end. */
static void
connect_answer_and_end(const struct sockaddr_un *name, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char bytes[4];

	if (connect(fd, (const struct sockaddr *)name, len) < 0)
		_exit(1);
	for (int i = 0; recv(fd, bytes, sizeof bytes, MSG_WAITALL) == sizeof bytes; i++)
		if (i == ANSWERS || write(fd, "!", 1) != 1)
			break;
	_exit(0);
}

/* child-ended HOW: a child was the peer, and has ended, as its parent hears. */
static int
error_child_ended(int unused, char **args)
{
	int fd, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t); /* the kernel finds a name: unix(7) */
	siginfo_t info;
	char byte;
	pid_t pid;

	(void)unused;
	signal(SIGPIPE, count_pipe);
	if (bind(listener, (struct sockaddr *)&name, len) < 0 || listen(listener, 1) < 0)
		return 1;
	len = sizeof name;
	getsockname(listener, (struct sockaddr *)&name, &len);
	pid = fork();
	if (pid == 0)
		connect_answer_and_end(&name, len);
	fd = accept(listener, NULL, NULL);
	for (int i = 0; i <= ANSWERS; i++) { /* so another piece is expected to follow */
		put(fd, "1;");
		put(fd, "2;");
		if (i < ANSWERS && read(fd, &byte, 1) != 1)
			return 1;
	}
	if (!strcmp(args[0], "waitid"))
		waitid(P_PID, (id_t)pid, &info, WEXITED);
	else if (!strcmp(args[0], "wait"))
		wait(NULL);
	else
		while (waitpid(pid, NULL, WNOHANG) == 0)
			;
	result("write", write(fd, "3;", 2));
	result("write", write(fd, "4;", 2));
	say("SIGPIPE %d", (int)nr_pipes);
	return 0;
}

static volatile int far_step;

static void *
write_and_stay(void *fd)
{
	put(*(int *)fd, "1;");
	put(*(int *)fd, "2;");
	put(*(int *)fd, "3;");
	far_step = 1;
	while (far_step == 1)
		;
	return NULL;
}

/* A read of a number 2^31 below a stream's, on which another thread holds. */
static int
error_far(int unused, char **args)
{
	char got[8];
	int pair[2];
	pthread_t thread;

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 1;
	for (int i = 0; i < 4; i++) {
		put(pair[1], "0;");
		result("read", read(pair[0], got, 2));
	}
	if (pthread_create(&thread, NULL, write_and_stay, &pair[0]) != 0)
		return 1;
	while (!far_step)
		;
	result("read far", read((int)(INT_MIN + (unsigned)pair[0]), got, 1));
	far_step = 2;
	pthread_join(thread, NULL);
	result("recv", recv(pair[1], got, 6, MSG_DONTWAIT));
	return 0;
}

/* Rights whose length says more than the message has; behind it is nothing. */
static long
rights_beyond_their_message(int fd)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cmsghdr *rights = (struct cmsghdr *)(pages + 4096 - 64);
	struct msghdr msg = { .msg_control = rights, .msg_controllen = 64 };

	munmap(pages + 4096, 4096);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = 1 << 20;
	return sendmsg(fd, &msg, 0);
}

/* Memory that may not be read, handed to calls that are answered by the kernel alone. */
static int
error_nowhere(int fd, char **args)
{
	void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct msghdr rights = { .msg_control = (void *)-1, .msg_controllen = 64 };
	struct mmsghdr messages;
	int un[2], inet = socket(AF_INET, SOCK_DGRAM, 0);

	(void)args;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, un);
	result("sendmmsg", sendmmsg(fd, page, 1, 0));
	put(fd, "4;");
	result("sendmmsg inet", sendmmsg(inet, page, 1, 0));
	result("sendmmsg unix", sendmmsg(un[0], page, 1, 0));
	result("rights", sendmsg(un[0], &rights, 0));
	result("rights too long", rights_beyond_their_message(un[0]));
	put(fd, "5;");
	result("raw sendmsg", syscall(SYS_sendmsg, fd, page, 0));
	result("raw recvmsg", syscall(SYS_recvmsg, fd, page, MSG_DONTWAIT));
	put(fd, "6;");
	result("raw writev", syscall(SYS_writev, fd, page, 1));
	result("raw readv", syscall(SYS_readv, fd, page, 1));
	put(fd, "7;");
	rights.msg_control = page;
	messages.msg_hdr = rights;
	result("raw sendmsg rights", syscall(SYS_sendmsg, fd, &rights, 0));
	result("sendmmsg rights", sendmmsg(fd, &messages, 1, 0));
	result("raw clone3", syscall(SYS_clone3, page, 64));
	put(fd, "8;");
	inet = socket(AF_INET6, SOCK_STREAM, 0);
	result("no value",
	       setsockopt(inet, IPPROTO_IPV6, IPV6_TCLASS, NULL, sizeof(int)));
	put(fd, "9;");
	return 0;
}

/* Writes on a socket that is no stream yet, or whose connect is under way. */
static int
error_unconnected(int unused, char **args)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int un = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	(void)unused;
	(void)args;
	signal(SIGPIPE, count_pipe);
	result("write inet", write(fd, "x", 1));
	result("write unix", write(un, "x", 1));
	result("send inet", send(fd, "x", 1, MSG_NOSIGNAL));
	say("SIGPIPE %d", (int)nr_pipes);
	result("listen", listen(fd, 1));
	result("write listening", send(fd, "x", 1, MSG_NOSIGNAL));
	result("read listening", read(fd, &byte, 1));
	return 0;
}

const struct command error_commands[] = {
	{ "reset", error_reset, TURN },
	{ "told-once", error_told_once, TURN },
	{ "shutdown", error_shutdown, TURN },
	{ "arguments", error_arguments, TURN },
	{ "timeouts", error_timeouts, TURN },
	{ "child-ended", error_child_ended, NOTHING },
	{ "nowhere", error_nowhere, TURN },
	{ "far", error_far, NOTHING },
	{ "unconnected", error_unconnected, NOTHING },
	{ 0 },
};
