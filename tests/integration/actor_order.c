/* Calls that reach the socket by another way than write: in order with what is held. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/sockios.h>
#include <unistd.h>

static int
order_fdopen(int fd, char **args)
{
	FILE *f = fdopen(fd, args[0]);

	put(fd, "4;");
	put(fd, "5;");
	fprintf(f, "f%d;", 6);
	fflush(f);
	put(fd, "7;");
	fputs("f8;", f);
	fflush(f);
	put(fd, "9;");
	put(fd, "10;");
	fputs("f11;", f);
	result("fclose", fclose(f));
	result("write", write(fd, "no", 2));
	return 0;
}

static int
order_dprintf(int fd, char **args)
{
	(void)args;
	for (int i = 0; i < 4; i++) {
		put(fd, "4;");
		put(fd, "5;");
		result("dprintf", dprintf(fd, "d%d;", 6));
	}
	return 0;
}

static int
order_freopen(int fd, char **args)
{
	FILE *f = fdopen(fd, "w");

	(void)args;
	put(fd, "4;");
	fputs("f5;", f);
	fflush(f);
	put(fd, "6;");
	put(fd, "7;");
	f = freopen("/dev/null", "w", f);
	say("freopen %s", f ? "ok" : "failed");
	fputs("not for the peer;", f);
	fflush(f);
	note_time("sleep");
	wait_for_harness();
	say("slept");
	return 0;
}

static int
file_with(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	(void)!write(fd, text, strlen(text));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void
splice_text(int fd, const char *text)
{
	int ends[2];

	if (pipe(ends) < 0)
		return;
	(void)!write(ends[1], text, strlen(text));
	result("splice", splice(ends[0], NULL, fd, NULL, strlen(text), 0));
	close(ends[0]);
	close(ends[1]);
}

static int
order_files(int fd, char **args)
{
	int file = file_with("FILE1;FILE2;");
	off_t from = 6;

	(void)args;
	result("sendfile", sendfile(fd, file, NULL, 6));
	put(fd, "4;");
	put(fd, "5;");
	result("sendfile", sendfile(fd, file, &from, 6));
	put(fd, "6;");
	splice_text(fd, "SPLICED;");
	put(fd, "7;");
	put(fd, "8;");
	result("syscall sendfile", syscall(SYS_sendfile, fd, file, NULL, 6));
	put(fd, "9;");
	return 0;
}

static ssize_t
send_message(int fd, const char *a, const char *b, int flags)
{
	struct iovec iov[2] = { { (void *)a, strlen(a) }, { (void *)b, strlen(b) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(fd, &msg, flags);
}

static int
order_calls(int fd, char **args)
{
	struct iovec iov[2] = { { "v4;", 3 }, { "v5;", 3 } };
	struct mmsghdr many[2] = {
		{ .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = iov + 1, .msg_iovlen = 1 } },
	};

	(void)args;
	result("writev", writev(fd, iov, 2));
	result("send", send(fd, "s6;", 3, 0));
	result("sendto", sendto(fd, "t7;", 3, MSG_NOSIGNAL, NULL, 0));
	result("sendmsg", send_message(fd, "m8;", "m9;", 0));
	result("sendmmsg", sendmmsg(fd, many, 2, 0));
	say("lengths %u %u", many[0].msg_len, many[1].msg_len);
	result("pwritev2", pwritev2(fd, iov, 2, -1, 0));
	result("send", send(fd, "n10;", 4, MSG_DONTWAIT));
	result("syscall write", syscall(SYS_write, fd, "y11;", 4));
	result("syscall sendto", syscall(SYS_sendto, fd, "y12;", 4, 0, NULL, 0));
	put(fd, "13;");
	result("send more", send(fd, "more;", 5, MSG_MORE));
	result("send more", send(fd, "and more;", 9, MSG_MORE));
	put(fd, "last;");
	result("pwrite", pwrite(fd, "no", 2, 0));
	put(fd, "14;");
	return 0;
}

static int
order_urgent(int fd, char **args)
{
	(void)args;
	put(fd, "4;");
	result("send oob", send(fd, "!", 1, MSG_OOB));
	put(fd, "5;");
	put(fd, "6;");
	result("send oob", send(fd, "more!", 5, MSG_OOB));
	put(fd, "7;");
	return 0;
}

static void
look_at_options(int fd)
{
	int value = -1;
	socklen_t len = sizeof value;

	result("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len));
	say("error %d", value);
	result("SO_TYPE", getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
	say("type %d", value);
	len = sizeof value;
	if (!getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len))
		say("nodelay %d", value);
	else
		say("nodelay %s", strerrorname_np(errno));
	result("FIONREAD", ioctl(fd, FIONREAD, &value));
	say("unread %d", value);
	result("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &value));
	result("F_GETFL", fcntl(fd, F_GETFL));
}

/* Between small writes options are set and asked: same values as natively. */
static int
order_options(int fd, char **args)
{
	int on = 1, off = 0;

	(void)args;
	look_at_options(fd);
	put(fd, "4;");
	put(fd, "5;");
	result("NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	look_at_options(fd);
	put(fd, "6;");
	put(fd, "7;");
	result("NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off));
	put(fd, "8;");
	result("CORK", setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
	put(fd, "9;");
	put(fd, "10;");
	result("CORK", setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off));
	look_at_options(fd);
	result("FIONBIO", ioctl(fd, FIONBIO, &on));
	put(fd, "11;");
	put(fd, "12;");
	look_at_options(fd);
	result("F_SETFL", fcntl(fd, F_SETFL, 0));
	put(fd, "13;");
	look_at_options(fd);
	return 0;
}

/* An ioctl is answered by the kernel: it has every byte by then, so the peer has too. */
static int
order_ioctl(int unused, char **args)
{
	int pair[2], queued, unread;

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	for (int i = 0; i < 3; i++) {
		put(pair[0], "four");
		put(pair[0], "four");
		put(pair[0], "four");
		result("SIOCOUTQ", ioctl(pair[0], SIOCOUTQ, &queued));
		result("FIONREAD", ioctl(pair[1], FIONREAD, &unread));
		say("unread %d", unread);
	}
	return 0;
}

/* What has message boundaries keeps them: it is no stream. */
static int
order_boundaries(int unused, char **args)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_DGRAM };
	char got[16];
	int pair[2];

	(void)unused;
	(void)args;
	for (int t = 0; t < 2; t++) {
		if (socketpair(AF_UNIX, types[t], 0, pair) < 0)
			return 1;
		for (int i = 0; i < 3; i++)
			put(pair[0], "message");
		for (int i = 0; i < 3; i++)
			result("recv", recv(pair[1], got, sizeof got, MSG_DONTWAIT));
		result("recv", recv(pair[1], got, sizeof got, MSG_DONTWAIT));
	}
	return 0;
}

/* pidfd_getfd [syscall]: a copy of one's own. */
static int
order_pidfd(int fd, char **args)
{
	int self_fd = pidfd_open(getpid(), 0), copy;

	put(fd, "4;");
	copy = args[0] ? (int)syscall(SYS_pidfd_getfd, self_fd, fd, 0)
		       : pidfd_getfd(self_fd, fd, 0);
	if (copy < 0) {
		say("skip");
		return 0;
	}
	put(copy, "f5;");
	put(fd, "6;");
	put(copy, "f7;");
	put(fd, "8;");
	put(copy, "f9;");
	return 0;
}

const struct command order_commands[] = {
	{ "pidfd_getfd", order_pidfd, TURN },
	{ "fdopen", order_fdopen, TURN },
	{ "dprintf", order_dprintf, TURN },
	{ "freopen", order_freopen, TURN },
	{ "files", order_files, TURN },
	{ "calls", order_calls, TURN },
	{ "urgent", order_urgent, TURN },
	{ "options", order_options, TURN },
	{ "boundaries", order_boundaries, NOTHING },
	{ "ioctl", order_ioctl, NOTHING },
	{ 0 },
};
