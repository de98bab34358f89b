/* The rest by another kind of call, and what the calls that ask say of it. */
#include "actor_rest.h"

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 4000, MOST = 100 };

static char bytes[QUEUE];

static ssize_t
by_message(int fd, size_t n)
{
	char control[64];
	struct iovec iov[2] = { { bytes, n / 3 }, { bytes + n / 3, n - n / 3 } };
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = 2,
			      .msg_control = control,
			      .msg_controllen = sizeof control };

	return recvmsg(fd, &msg, 0);
}

static ssize_t
by_messages(int fd, size_t n)
{
	struct iovec iov[2] = { { bytes, n / 2 }, { bytes + n / 2, n / 2 } };
	struct mmsghdr msgs[2] = {
		{ .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = iov + 1, .msg_iovlen = 1 } },
	};
	int nr = recvmmsg(fd, msgs, 2, MSG_DONTWAIT, NULL);

	return nr < 0 ? nr : (ssize_t)(msgs[0].msg_len + (nr > 1 ? msgs[1].msg_len : 0));
}

static ssize_t
by_vector(int fd, size_t n)
{
	struct iovec iov[3] = { { bytes, 1 }, { bytes + 1, 0 }, { bytes + 1, n - 1 } };

	return readv(fd, iov, 3);
}

static ssize_t
by_splice(int fd, size_t n)
{
	int ends[2];
	ssize_t moved, got = 0;

	if (pipe(ends) < 0)
		return -1;
	moved = splice(fd, NULL, ends[1], NULL, n, 0);
	if (moved > 0)
		got = read(ends[0], bytes, (size_t)moved);
	close(ends[0]);
	close(ends[1]);
	return got == moved ? moved : -1;
}

/* Looks first, as TLS libraries and proxies do; both must see the same. */
static ssize_t
by_peek(int fd, size_t n)
{
	ssize_t seen = recv(fd, bytes, n, MSG_PEEK), got;
	size_t at = rest_at;

	rest_expect(bytes, seen);
	rest_at = at;
	got = recv(fd, bytes, (size_t)seen, 0);
	return got == seen ? got : -1;
}

static ssize_t
by_name(int fd, size_t n)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof name;

	return recvfrom(fd, bytes, n, 0, (struct sockaddr *)&name, &len);
}

static ssize_t
by_aio(int fd, size_t n)
{
	struct aiocb request = { .aio_fildes = fd, .aio_buf = bytes, .aio_nbytes = n };
	const struct aiocb *requests[] = { &request };

	if (aio_read(&request) < 0 || aio_suspend(requests, 1, NULL) < 0)
		return -1;
	return aio_return(&request);
}

static ssize_t
by_call(const char *how, int fd, size_t n)
{
	struct iovec iov = { bytes, n };

	if (!strcmp(how, "read"))
		return read(fd, bytes, n);
	if (!strcmp(how, "readv"))
		return by_vector(fd, n);
	if (!strcmp(how, "recv-all"))
		return recv(fd, bytes, n, MSG_WAITALL);
	if (!strcmp(how, "peek"))
		return by_peek(fd, n);
	if (!strcmp(how, "recvfrom"))
		return by_name(fd, n);
	if (!strcmp(how, "recvmsg"))
		return by_message(fd, n);
	if (!strcmp(how, "recvmmsg"))
		return by_messages(fd, n);
	if (!strcmp(how, "preadv2"))
		return preadv2(fd, &iov, 1, -1, 0);
	if (!strcmp(how, "splice"))
		return by_splice(fd, n);
	if (!strcmp(how, "aio_read"))
		return by_aio(fd, n);
	if (!strcmp(how, "syscall-read"))
		return syscall(SYS_read, fd, bytes, n);
	if (!strcmp(how, "syscall-recvfrom"))
		return syscall(SYS_recvfrom, fd, bytes, n, 0, NULL, NULL);
	say("no call %s", how);
	return -1;
}

/* rest-call HOW: small reads and one of the other kind in turns, as after STARTTLS. */
static int
calls_turns(int fd, char **args)
{
	rest_take_few(fd, QUEUE);
	while (rest_at + MOST < QUEUE) {
		rest_expect(bytes, result(args[0], by_call(args[0], fd, MOST)));
		if (rest_at + MOST < QUEUE)
			rest_take(fd, 5, 3);
	}
	result(args[0], by_call(args[0], fd, QUEUE - rest_at));
	return 0;
}

static int
ask_epoll(int fd, const char *mode)
{
	static int set = -1;
	struct epoll_event e = { .events = EPOLLIN };
	int op = EPOLL_CTL_MOD;

	if (!strcmp(mode, "epoll-edge"))
		e.events |= EPOLLET;
	if (!strcmp(mode, "epoll-oneshot"))
		e.events |= EPOLLONESHOT;
	if (set < 0) {
		set = epoll_create1(0);
		op = EPOLL_CTL_ADD;
	}
	/* An edge is asked for anew, so that it is there while anything is unread. */
	if (op == EPOLL_CTL_ADD || strcmp(mode, "epoll-level"))
		epoll_ctl(set, op, fd, &e);
	return epoll_wait(set, &e, 1, 0) == 1 ? (int)e.events : 0;
}

static int
ask_select(int fd)
{
	struct timeval now = { 0 };
	fd_set in;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	return select(fd + 1, &in, NULL, NULL, &now);
}

static int
ask(const char *how, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec now = { 0 };
	int value = -1, low = rest_at % 2 ? 20 : 1;
	socklen_t len = sizeof value;

	if (!strcmp(how, "FIONREAD"))
		ioctl(fd, FIONREAD, &value);
	else if (!strcmp(how, "poll"))
		value = poll(&p, 1, 0) << 8 | p.revents;
	else if (!strcmp(how, "ppoll"))
		value = ppoll(&p, 1, &now, NULL) << 8 | p.revents;
	else if (!strcmp(how, "select"))
		value = ask_select(fd);
	else if (!strncmp(how, "epoll", 5))
		value = ask_epoll(fd, how);
	else if (!strcmp(how, "SO_ERROR"))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
	else if (!strcmp(how, "peek"))
		value = (int)recv(fd, bytes, QUEUE, MSG_PEEK | MSG_DONTWAIT);
	else if (!strcmp(how, "SO_RCVLOWAT"))
		value = setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) << 16 |
			poll(&p, 1, 0) << 8 | p.revents;
	else if (!strcmp(how, "SO_PEEK_OFF"))
		value = setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &low, sizeof low) << 16 |
			(int)recv(fd, bytes, 8, MSG_PEEK | MSG_DONTWAIT);
	else
		say("no question %s", how);
	return value;
}

/* rest-ask HOW: asked now and then, and after each of the last reads, down to none left. */
static int
calls_ask(int fd, char **args)
{
	enum { ALL_FROM = 3900 };

	rest_take_few(fd, QUEUE);
	while (rest_at + 3 <= QUEUE) {
		rest_take(fd, 1, 3);
		if (rest_at % 7 == 0 || rest_at >= ALL_FROM)
			say("%zu %s %d", rest_at, args[0], ask(args[0], fd));
	}
	rest_take(fd, 1, QUEUE - rest_at);
	say("%zu %s %d", rest_at, args[0], ask(args[0], fd));
	return 0;
}

static void
read_to_end(int fd, size_t piece)
{
	ssize_t n;

	while ((n = read(fd, bytes, piece)) > 0)
		rest_expect(bytes, n);
	say("at %zu", rest_at);
	result("read", n);
	result("again", read(fd, bytes, piece));
}

/* rest-end: the peer ends or resets with most of its bytes unread. */
static int
calls_end(int fd, char **args)
{
	put(fd, "for the peer;"); /* unread there, so that AF_UNIX knows a reset too */
	rest_take_few(fd, QUEUE);
	rest_let_peer_act();
	read_to_end(fd, strtoul(args[0], NULL, 10));
	return 0;
}

/* rest-parted: writes after the read that tells that the peer has ended. */
static int
calls_parted(int fd, char **args)
{
	(void)args;
	for (int i = 0; i < 3; i++)
		put(fd, "for the peer;");
	rest_take_few(fd, QUEUE);
	rest_let_peer_act();
	read_to_end(fd, 1000);
	for (int i = 0; i < 3; i++)
		result("send", send(fd, "4;", 2, MSG_NOSIGNAL));
	return 0;
}

/* rest-timeout: what is there, then EAGAIN, and nothing lost. */
static int
calls_timeout(int fd, char **args)
{
	struct timeval tv = { .tv_usec = 20000 };

	(void)args;
	result("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	rest_take_few(fd, QUEUE);
	read_to_end(fd, 3);
	result("all", recv(fd, bytes, 10, MSG_WAITALL));
	return 0;
}

/* rest-all: more is asked for than is there; it comes while the call sleeps. */
static int
calls_all(int fd, char **args)
{
	ssize_t n;

	(void)args;
	rest_take_few(fd, QUEUE);
	note_time("peer");
	n = recv(fd, bytes, QUEUE, MSG_WAITALL);
	result("recv", n);
	rest_expect(bytes, n);
	rest_take_all(fd, QUEUE + 400);
	return 0;
}

/* How the actor ends with a part read, or all. */
static int
end_by(int fd, const char *how)
{
	if (!strcmp(how, "close"))
		result("close", close(fd));
	else if (!strcmp(how, "_exit"))
		_exit(0);
	else if (!strcmp(how, "quick_exit"))
		quick_exit(0);
	else if (!strcmp(how, "raise"))
		raise(SIGTERM);
	else if (!strcmp(how, "exec"))
		execl("/bin/true", "true", (char *)NULL);
	else if (!strcmp(how, "wait")) {
		note_time("waits");
		wait_for_harness();
	} else if (!strcmp(how, "shutdown"))
		result("shutdown", shutdown(fd, SHUT_RDWR));
	return 0;
}

/* rest-leave BYTES HOW: an end for the peer if all was read, else a reset on TCP. */
static int
calls_leave(int fd, char **args)
{
	size_t wanted = strtoul(args[0], NULL, 10);

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	rest_take_few(fd, QUEUE);
	while (rest_at + 3 < wanted)
		rest_take(fd, 1, 3);
	rest_take(fd, 1, wanted - rest_at);
	return end_by(fd, args[1]);
}

/* rest-shut: reading is shut with a part read. */
static int
calls_shut(int fd, char **args)
{
	(void)args;
	rest_take_few(fd, QUEUE);
	result("SHUT_RD", shutdown(fd, SHUT_RD));
	read_to_end(fd, 3);
	put(fd, "still writable;");
	return 0;
}

/* rest-stall BYTES HOW: reads so much of a full queue, then leaves the stream alone. */
static int
calls_stall(int fd, char **args)
{
	enum { STALL_MS = 500 };
	size_t wanted = strtoul(args[0], NULL, 10);
	struct timespec pause = { .tv_nsec = STALL_MS * 1000000L };
	struct itimerval once = { .it_value = { .tv_usec = STALL_MS * 1000L } };
	int ends[2];

	rest_let_peer_act(); /* it has filled the queue */
	while (rest_at < wanted)
		rest_take(fd, 1, 8);
	note_time("taken");
	if (!strcmp(args[1], "computes")) {
		spin_ms(STALL_MS);
	} else if (!strcmp(args[1], "poll")) {
		poll(NULL, 0, STALL_MS);
	} else if (!strcmp(args[1], "nanosleep")) {
		nanosleep(&pause, NULL);
	} else if (pipe(ends) == 0) {
		signal(SIGALRM, SIG_DFL); /* which ends the process */
		setitimer(ITIMER_REAL, &once, NULL);
		(void)!read(ends[0], bytes, 1);
	}
	return 0;
}

static void
peer_sends(int peer, const char *text, size_t n, int descriptor)
{
	char room[CMSG_SPACE(sizeof descriptor)] = "";
	struct iovec iov = { (void *)text, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (descriptor >= 0) {
		msg.msg_control = room;
		msg.msg_controllen = sizeof room;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof descriptor);
		memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
	}
	raw_call(SYS_sendmsg, peer, (long)&msg, 0, 0, 0);
}

/* rest-descriptor: a peek ends behind a message with descriptors, and does not once a byte
 * of that was taken: then the kernel has thrown the descriptors away. */
static int
calls_descriptor(int unused, char **args)
{
	static const char text[] = "0000000;0000001;0000002;0000003;0000004;0000005;";
	int pair[2];
	ssize_t n;

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	peer_sends(pair[1], text, 12, -1);
	peer_sends(pair[1], text + 12, 20, 0);
	peer_sends(pair[1], text + 32, 16, -1);
	rest_take(pair[0], 3, 3);
	n = recv(pair[0], bytes, sizeof bytes, MSG_PEEK);
	say("%zd before it", n);
	rest_take(pair[0], 2, 3);
	n = recv(pair[0], bytes, sizeof bytes, MSG_PEEK);
	say("%zd in it", n);
	rest_take_all(pair[0], 48);
	return 0;
}

const struct command rest_calls_commands[] = {
	{ "rest-call", calls_turns, STREAM },
	{ "rest-ask", calls_ask, STREAM },
	{ "rest-end", calls_end, STREAM },
	{ "rest-parted", calls_parted, STREAM },
	{ "rest-timeout", calls_timeout, STREAM },
	{ "rest-all", calls_all, STREAM },
	{ "rest-leave", calls_leave, STREAM },
	{ "rest-shut", calls_shut, STREAM },
	{ "rest-stall", calls_stall, STREAM },
	{ "rest-descriptor", calls_descriptor, NOTHING },
	{ 0 },
};
