/* Numbers that are closed unseen and used again; both ends in one process. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void
read_all(int fd, const char *name)
{
	char got[256] = "";
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, got + len, sizeof got - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	say("%s %s", name, got);
}

static void
say_file(int fd)
{
	char got[64] = "";
	ssize_t n = pread(fd, got, sizeof got - 1, 0);

	say("file %zd %s", n, got);
}

/* So that the stream's number is the lowest free one once it is closed. */
static void
occupy_below(int fd)
{
	long other;

	do
		other = raw_call(SYS_dup, 0, 0, 0, 0, 0);
	while (other >= 0 && other < fd);
	raw_call(SYS_close, other, 0, 0, 0, 0);
}

static void
close_unseen(int fd, const char *how)
{
	occupy_below(fd);
	if (!strcmp(how, "raw"))
		raw_call(SYS_close, fd, 0, 0, 0, 0);
	else
		syscall(SYS_close, fd);
}

/* reuse-file raw|syscall: a file takes the number; no held byte lands in it. */
static int
reuse_file(int fd, char **args)
{
	int file;

	close_unseen(fd, args[0]);
	file = memfd_create("file", 0);
	say("reused %d", file == fd);
	put(file, "file1;");
	put(file, "file2;");
	put(file, "file3;");
	say_file(file);
	result("fsync", fsync(file));
	say_file(file);
	result("close", close(file));
	return 0;
}

/* Looks at the file after the end of its parent, and so of its parent's flushes. */
static void
watch_file(int file, pid_t parent)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	char got[64] = "";
	long n;

	for (int i = 0; i < 3000; i++) {
		if (raw_call(SYS_getppid, 0, 0, 0, 0, 0) != parent)
			break;
		raw_call(SYS_nanosleep, (long)&ms, 0, 0, 0, 0);
	}
	n = raw_call(SYS_pread64, file, (long)got, sizeof got - 1, 0, 0);
	say("file %ld %s", n, got);
	raw_call(SYS_exit_group, 0, 0, 0, 0, 0);
}

/* Neither the close nor the open is seen, and bytes of the old stream may be held:
 * not the keeper (while we compute) and not the exit may send them to the file. */
static int
reuse_file_unseen(int fd, char **args)
{
	pid_t parent = getpid();
	int file;

	(void)args;
	close_unseen(fd, "raw");
	file = (int)raw_call(SYS_memfd_create, (long)"file", 0, 0, 0, 0);
	say("reused %d", file == fd);
	if (raw_call(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
		watch_file(file, parent);
	spin_ms(60);
	return 0;
}

/* reuse-socket raw|syscall: another stream takes the number. */
static int
reuse_socket(int fd, char **args)
{
	int pair[2];

	close_unseen(fd, args[0]);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	say("reused %d", pair[0] == fd);
	put(pair[0], "a1;");
	put(pair[0], "a2;");
	put(pair[0], "a3;");
	result("shutdown", shutdown(pair[0], SHUT_WR));
	read_all(pair[1], "pair");
	return 0;
}

static int
check_round(int round)
{
	char want[64], got[64] = "";
	size_t len = 0;
	ssize_t n;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	snprintf(want, sizeof want, "%dx;%dy;%dz;", round, round, round);
	for (const char *part = want; *part; part += strcspn(part, ";") + 1)
		n = write(pair[0], part, strcspn(part, ";") + 1);
	close(pair[0]);
	while ((n = read(pair[1], got + len, sizeof got - 1 - len)) > 0)
		len += (size_t)n;
	close(pair[1]);
	return strcmp(got, want) ? -1 : 0;
}

static void *
many_rounds(void *bad)
{
	for (int i = 0; i < 2000; i++) {
		if (check_round(i) < 0)
			++*(int *)bad;
	}
	return NULL;
}

/* Four threads, so that the numbers wander between them. */
static int
reuse_rate(int unused, char **args)
{
	pthread_t threads[4];
	int bad[4] = { 0 };

	(void)unused;
	(void)args;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, many_rounds, &bad[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("bad %d %d %d %d", bad[0], bad[1], bad[2], bad[3]);
	return 0;
}

/* One end asks; what the other answers in pieces is awaited. */
static void
answer_in_pieces(const int pair[2])
{
	char got[32];

	put(pair[1], "question;");
	result("recv", recv(pair[0], got, sizeof got, 0));
	put(pair[0], "a1;");
	put(pair[0], "a2;");
	put(pair[0], "a3;");
}

/* both-ends [nowait]: the answer is whole when the thread turns to the other end. */
static int
reuse_both_ends(int unused, char **args)
{
	int pair[2];
	char got[32];

	(void)unused;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	for (int round = 0; round < 4; round++) {
		ssize_t n;

		answer_in_pieces(pair);
		n = recv(pair[1], got, sizeof got, args[0] ? MSG_DONTWAIT : 0);
		say("answer %.*s", n < 0 ? 0 : (int)n, got);
	}
	result("close", close(pair[0]));
	read_all(pair[1], "rest");
	return 0;
}

/* poll with no time to wait says that the other end is readable, and it is. */
static int
reuse_both_ends_poll(int unused, char **args)
{
	struct pollfd p = { .events = POLLIN };
	int pair[2];
	char got[32];

	(void)unused;
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	p.fd = pair[1];
	for (int round = 0; round < 4; round++) {
		answer_in_pieces(pair);
		result("poll", poll(&p, 1, 0));
		say("revents %d", p.revents);
		result("read", read(pair[1], got, sizeof got));
		result("poll", poll(&p, 1, 0));
	}
	return 0;
}

const struct command reuse_commands[] = {
	{ "reuse-file", reuse_file, TURN },
	{ "reuse-file-unseen", reuse_file_unseen, TURN },
	{ "reuse-socket", reuse_socket, TURN },
	{ "reuse-rate", reuse_rate, NOTHING },
	{ "both-ends", reuse_both_ends, NOTHING },
	{ "both-ends-poll", reuse_both_ends_poll, NOTHING },
	{ 0 },
};
