/* Calls by which libc itself reads, writes or hands on a stream, and what a message says of its sender. */
#include "actor.h"

#include <aio.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wordexp.h>

static void
finish(struct aiocb *request)
{
	const struct aiocb *requests[] = { request };

	aio_suspend(requests, 1, NULL);
	result("aio_return", aio_return(request));
}

static int
libc_aio(int fd, char **args)
{
	struct aiocb one = { .aio_fildes = fd, .aio_buf = "a6;", .aio_nbytes = 3 },
		     two = one;
	struct aiocb *requests[] = { &two };

	(void)args;
	put(fd, "4;");
	put(fd, "5;");
	result("aio_write", aio_write(&one));
	finish(&one);
	put(fd, "7;");
	put(fd, "8;");
	two.aio_lio_opcode = LIO_WRITE;
	result("lio_listio", lio_listio(LIO_WAIT, requests, 1, NULL));
	finish(&two);
	put(fd, "9;");
	return 0;
}

/* The kernel's own asynchronous I/O, for which libc has no function. */
static int
libc_submit(int fd, char **args)
{
	struct iocb one = { .aio_fildes = (unsigned)fd,
			    .aio_lio_opcode = IOCB_CMD_PWRITE,
			    .aio_buf = (uintptr_t) "s6;",
			    .aio_nbytes = 3 };
	struct iocb *requests[] = { &one, (struct iocb *)8 };
	struct io_event event;
	aio_context_t context = 0;

	(void)args;
	result("io_setup", syscall(SYS_io_setup, 2, &context));
	put(fd, "4;");
	put(fd, "5;");
	result("io_submit", syscall(SYS_io_submit, context, 1, requests));
	result("io_getevents", syscall(SYS_io_getevents, context, 1, 1, &event, NULL));
	put(fd, "7;");
	put(fd, "8;");
	result("io_submit", syscall(SYS_io_submit, context, 1, requests + 1));
	result("io_submit", syscall(SYS_io_submit, context, 1, (struct iocb **)8));
	put(fd, "9;");
	return 0;
}

static int
libc_backtrace(int fd, char **args)
{
	void *nowhere = NULL;

	(void)args;
	put(fd, "4;");
	put(fd, "5;");
	backtrace_symbols_fd(&nowhere, 1, fd);
	put(fd, "6;");
	return 0;
}

static int
libc_wordexp(int fd, char **args)
{
	char line[64];
	wordexp_t words = { 0 };

	(void)args;
	put(fd, "4;");
	put(fd, "5;");
	snprintf(line, sizeof line, "$(printf 'c6;' >&%d; echo yes)", fd);
	result("wordexp", wordexp(line, &words, 0));
	say("%s", words.we_wordc ? words.we_wordv[0] : "nothing");
	put(fd, "7;");
	put(fd, "8;");
	result("wordexp", wordexp("$(false)", &words, WRDE_NOCMD));
	put(fd, "9;");
	return 0;
}

/* A socket that happens to be given stdout's number: printf writes to it. */
static int
libc_standard(int unused, char **args)
{
	int pair[2], kept = dup(STDOUT_FILENO);
	char got[32] = "";

	(void)unused;
	(void)args;
	close(STDOUT_FILENO);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || pair[0] != STDOUT_FILENO)
		return 1;
	put(STDOUT_FILENO, "1;");
	put(STDOUT_FILENO, "2;");
	put(STDOUT_FILENO, "3;");
	printf("p4;");
	fflush(stdout);
	put(STDOUT_FILENO, "5;");
	result("read", raw_call(SYS_read, pair[1], (long)got, sizeof got - 1, 0, 0));
	say("%s", got);
	return dup2(kept, STDOUT_FILENO) == STDOUT_FILENO ? 0 : 1;
}

static int
tcp_pair(int pair[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof address;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return -1;
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(pair[0], (struct sockaddr *)&address, len) < 0)
		return -1;
	pair[1] = accept(listener, NULL, NULL);
	return close(listener);
}

/* The mark behind which urgent data came is where the server is, not the kernel. */
static int
libc_mark(int unused, char **args)
{
	char got[4] = "";
	int pair[2];

	(void)unused;
	(void)args;
	if (tcp_pair(pair) < 0)
		return 1;
	raw_call(SYS_sendto, pair[0], (long)"abcdefgh", 8, 0, 0);
	raw_call(SYS_sendto, pair[0], (long)"!", 1, MSG_OOB, 0);
	raw_call(SYS_sendto, pair[0], (long)"ijklmnopqrstuvwxyz", 18, 0, 0);
	for (int i = 0; i < 13; i++) {
		say("mark %d", sockatmark(pair[1]));
		result("read", read(pair[1], got, 2));
		say("%s", got);
	}
	return 0;
}

/* The kernel tells when each write left, where it is asked to. */
static int
libc_stamps(int unused, char **args)
{
	int pair[2], on = 1,
		     stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
			      SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
	char room[256];
	struct msghdr msg = { .msg_control = room };

	(void)unused;
	(void)args;
	if (tcp_pair(pair) < 0)
		return 1;
	setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (setsockopt(pair[1], SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) <
	    0) {
		say("skip");
		return 0;
	}
	for (int i = 0; i < 6; i++)
		put(pair[1], "12345;");
	do
		msg.msg_controllen = sizeof room;
	while (result("stamp", recvmsg(pair[1], &msg, MSG_ERRQUEUE | MSG_DONTWAIT)) ==
	       0);
	return 0;
}

/* A socket that is no longer connected takes nothing. */
static int
libc_disconnect(int fd, char **args)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int on = 1;

	(void)args;
	/* What Nagle would hold back would be thrown away. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	put(fd, "4;");
	put(fd, "5;");
	result("connect", connect(fd, &nobody, sizeof nobody));
	result("write", write(fd, "6;", 2));
	result("write", send(fd, "7;", 2, MSG_NOSIGNAL));
	return 0;
}

static void
say_sender(int fd)
{
	char bytes[32] = "", room[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = { bytes, sizeof bytes - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof room };
	struct ucred who = { 0 };

	if (raw_call(SYS_recvmsg, fd, (long)&msg, MSG_DONTWAIT, 0, 0) <= 0)
		return;
	if (CMSG_FIRSTHDR(&msg))
		memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof who);
	say("%s of %d %d", bytes, (int)who.uid, (int)who.gid);
}

/* Who sent it is told by the kernel, which asks when it is sent. */
static int
libc_sender(int unused, char **args)
{
	int pair[2], on = 1;

	(void)unused;
	(void)args;
	if (getuid() != 0) {
		say("skip");
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
		return 1;
	put(pair[0], "1;");
	say_sender(pair[1]);
	put(pair[0], "2;");
	put(pair[0], "3;");
	result("setresgid", setresgid(1234, -1, -1));
	put(pair[0], "4;");
	put(pair[0], "5;");
	result("setresuid", setresuid(1000, -1, -1));
	put(pair[0], "6;");
	put(pair[0], "7;");
	/* By whoever sees to it when this thread does not. */
	spin_ms(50);
	result("setresuid", syscall(SYS_setresuid, 0, -1, -1));
	put(pair[0], "8;");
	put(pair[0], "9;");
	result("setresgid", setresgid(0, -1, -1));
	for (int i = 0; i < 8; i++)
		say_sender(pair[1]);
	return 0;
}

/* A sanitizer's build touches its shadow, which is not there before the sanitizer. */
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
static char early_calls[256];

/* Before any constructor, a preloaded library's too. */
static void
call_early(void)
{
	const int on = 1;
	long r[] = { setsockopt(-1, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on),
		     setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on),
		     write(-1, "", 1),
		     read(-1, &(char){ 0 }, 1),
		     close(-1),
		     close(open("/dev/null", O_WRONLY)),
		     fcntl(-1, F_GETFD) };

	for (size_t i = 0; i < sizeof r / sizeof *r; i++)
		early_calls[i] = r[i] < 0 ? '-' : '0';
}
static void (*const before_constructors)(void)
	__attribute__((section(".preinit_array"), used)) = call_early;
#else
static const char early_calls[] = "skip";
#endif

static int
libc_early(int unused, char **args)
{
	(void)unused;
	(void)args;
	say("%s", early_calls);
	return 0;
}

const struct command libc_commands[] = {
	{ "aio", libc_aio, TURN },
	{ "backtrace", libc_backtrace, TURN },
	{ "wordexp", libc_wordexp, TURN },
	{ "standard", libc_standard, NOTHING },
	{ "mark", libc_mark, NOTHING },
	{ "disconnect", libc_disconnect, TURN },
	{ "sender", libc_sender, NOTHING },
	{ "submit", libc_submit, TURN },
	{ "stamps", libc_stamps, NOTHING },
	{ "early", libc_early, NOTHING },
	{ 0 },
};
