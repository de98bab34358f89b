/* What another library sees that is preloaded behind the one under test. */
#include "actor.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROUNDS 20

static int file;

/* This program again, with libbehind.so behind what is preloaded. */
static void
begin_again(char **args)
{
	const char *old = getenv("LD_PRELOAD");
	char preload[2048];

	snprintf(preload, sizeof preload, "%s %.*s/.libs/libbehind.so", old ? old : "",
		 (int)(strrchr(actor_path, '/') - actor_path), actor_path);
	setenv("LD_PRELOAD", preload, 1);
	execl(actor_path, actor_path, actor_kind, actor_address, "behind", args[0],
	      "told", (char *)NULL);
	say("no exec");
}

/* A stream, and its other end, which no library has seen. */
static int
connected(long *peer)
{
	struct sockaddr_in where = { .sin_family = AF_INET };
	socklen_t len = sizeof where;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (struct sockaddr *)&where, len);
	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&where, &len);
	*peer = raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);
	raw_call(SYS_connect, *peer, (long)&where, sizeof where, 0, 0);
	fd = accept(listener, NULL, NULL);
	close(listener);
	return fd;
}

static void
reads(int fd, int way)
{
	char to[5000];

	if (way == 0)
		read(fd, to, sizeof to);
	else
		recv(fd, to, sizeof to, 0);
}

static void
writes(int fd, int way)
{
	struct iovec iov = { "answer", 6 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	off_t from = 0;
	int on = 1;

	if (way == 0)
		write(fd, "answer", 6);
	else if (way == 1)
		send(fd, "answer", 6, 0);
	else if (way == 2)
		writev(fd, &iov, 1);
	else if (way == 3)
		sendmsg(fd, &msg, 0);
	else
		sendfile(fd, file, &from, 6);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void
answer(int flags)
{
	for (int way = 0; way < 5; way++) {
		long peer;
		int fd = connected(&peer);
		char bytes[16];

		fcntl(fd, F_SETFL, flags);
		for (int i = 0; i < ROUNDS; i++) {
			raw_call(SYS_write, peer, (long)"?", 1, 0, 0);
			reads(fd, way % 2);
			writes(fd, way);
			if (raw_call(SYS_read, peer, (long)bytes, sizeof bytes, 0, 0) !=
			    6)
				say("no answer");
		}
		close(fd);
		raw_call(SYS_close, peer, 0, 0, 0, 0);
	}
}

static void *
sleeps(void *nothing)
{
	pause();
	return nothing;
}

/* behind alone|among: all calls that may be made on a quick way, as the only thread or with another. */
static int
behind(int fd, char **args)
{
	void (*told)(char *text, size_t size);
	char text[512];
	pthread_t thread;

	(void)fd;
	if (!args[1])
		begin_again(args);
	*(void **)&told = dlsym(RTLD_DEFAULT, "behind_told");
	if (!told)
		return 1;
	file = memfd_create("answer", 0);
	write(file, "answer", 6);
	if (!strcmp(args[0], "among"))
		pthread_create(&thread, NULL, sleeps, NULL);
	told(text, sizeof text);
	answer(0);
	answer(O_NONBLOCK);
	told(text, sizeof text);
	say("told%s", text);
	_exit(0);
}

const struct command behind_commands[] = {
	{ "behind", behind, NOTHING },
	{ 0 },
};
