/* The actor's main: its stream, its turn, its log. */
#include "actor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

char actor_path[512];
char *actor_kind, *actor_address;

void
say(const char *format, ...)
{
	char line[512];
	int saved = errno, len;
	va_list args;

	va_start(args, format);
	len = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (len > (int)sizeof line - 2)
		len = sizeof line - 2;
	line[len++] = '\n';
	raw_call(SYS_write, ACTOR_LOG, (long)line, len, 0, 0);
	errno = saved;
}

int64_t
actor_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void
note_time(const char *word)
{
	say("~%s %lld", word, (long long)actor_now_ns());
}

long
result(const char *name, long rc)
{
	if (rc < 0)
		say("%s %ld %s", name, rc, strerrorname_np(errno));
	else
		say("%s %ld", name, rc);
	return rc;
}

void
put(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n = write(fd, text, len);

	if (n != (ssize_t)len)
		say("write of %zu bytes gave %zd %s", len, n,
		    n < 0 ? strerrorname_np(errno) : "");
}

void
spin_ms(int ms)
{
	int64_t end = actor_now_ns() + ms * INT64_C(1000000);

	while (actor_now_ns() < end)
		;
}

long
actor_send_descriptor(int over, int fd)
{
	char room[CMSG_SPACE(sizeof fd)] = "", byte = 'd';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof room };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(over, &msg, 0);
}

int
actor_receive_descriptor(int over)
{
	char room[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof room };
	int fd = -1;

	if (recvmsg(over, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

void
wait_for_harness(void)
{
	char byte;
	ssize_t n;

	do
		n = read(0, &byte, 1);
	while (n < 0 && errno == EINTR);
}

static void
die(const char *what)
{
	say("%s: %s", what, strerrorname_np(errno));
	_exit(99);
}

static socklen_t
make_address(struct sockaddr_storage *where, int is_unix)
{
	struct sockaddr_in *in = (struct sockaddr_in *)where;
	struct sockaddr_un *un = (struct sockaddr_un *)where;

	memset(where, 0, sizeof *where);
	if (is_unix) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%s", actor_address);
		return sizeof *un;
	}
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons((uint16_t)atoi(actor_address));
	return sizeof *in;
}

static int
accept_stream(int is_unix)
{
	struct sockaddr_storage where;
	struct sockaddr_in *in = (struct sockaddr_in *)&where;
	socklen_t len = make_address(&where, is_unix);
	int listener = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0), fd;

	if (bind(listener, (struct sockaddr *)&where, len) < 0)
		die("bind");
	if (is_unix)
		chmod(actor_address, 0777);
	if (listen(listener, 8) < 0)
		die("listen");
	if (getsockname(listener, (struct sockaddr *)&where, &len) < 0)
		die("getsockname");
	say("~port %d", is_unix ? 0 : ntohs(in->sin_port));
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	close(listener);
	return fd;
}

static int
connect_stream(int is_unix)
{
	struct sockaddr_storage where;
	socklen_t len = make_address(&where, is_unix);
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&where, len) < 0)
		die("connect");
	return fd;
}

int
actor_open(void)
{
	int is_unix = strncmp(actor_kind, "unix", 4) == 0;

	if (strcmp(actor_kind, KIND_FD) == 0)
		return atoi(actor_address);
	if (strstr(actor_kind, "accept"))
		return accept_stream(is_unix);
	return connect_stream(is_unix);
}

void
actor_request(int fd)
{
	char c = 0;

	while (c != '\n') {
		if (read(fd, &c, 1) != 1)
			die("read of the request");
	}
}

void
actor_turn(int fd)
{
	actor_request(fd);
	put(fd, "w1;");
	put(fd, "w2;");
	actor_request(fd);
	put(fd, "1:one;");
	put(fd, "2:two;");
	put(fd, "3:three;");
}

static const struct command *
find_command(const char *name)
{
	static const struct command *const tables[] = {
		end_commands,          replace_commands,     copy_commands,
		fork_commands,         descriptor_commands,  order_commands,
		reuse_commands,        error_commands,       big_commands,
		sleep_commands,        signal_commands,      limit_commands,
		interrupt_commands,    number_commands,      many_commands,
		share_commands,        rest_others_commands, rest_calls_commands,
		rest_threads_commands, libc_commands,        pair_commands,
		full_commands,         interleave_commands,  epoll_commands,
		behind_commands,
	};

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		for (const struct command *c = tables[i]; c->name; c++) {
			if (strcmp(c->name, name) == 0)
				return c;
		}
	}
	return NULL;
}

int
actor_run(char **args)
{
	const struct command *command = find_command(args[0]);
	int fd = -1;

	if (!command) {
		say("no command %s", args[0]);
		return 98;
	}
	if (command->opening != NOTHING)
		fd = actor_open();
	if (command->opening == TURN)
		actor_turn(fd);
	return command->run(fd, args + 1);
}

int
main(int argc, char **argv)
{
	ssize_t len = readlink("/proc/self/exe", actor_path, sizeof actor_path - 1);

	if (argc < 4 || len < 0)
		return 97;
	actor_kind = argv[1];
	actor_address = argv[2];
	return actor_run(argv + 3);
}
