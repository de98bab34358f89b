/* What happens to a stream whose peer does not read: the kernel has refused a write. */
#include "actor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE 700
#define NR_MORE 20
#define FULL_NS 120000000 /* many ticks of the kernel's clock, which shows the causes */

static long accepted; /* bytes that write has taken */

/* What comes next of the one long pattern: its length as write returned it. */
static ssize_t
write_piece(int fd)
{
	char piece[PIECE];
	ssize_t n;

	for (int i = 0; i < PIECE; i++)
		piece[i] = (char)('a' + (accepted + i) % 23);
	n = write(fd, piece, sizeof piece);
	accepted += n > 0 ? n : 0;
	return n;
}

/* Until it stays full: the peer's kernel has room of its own, and acknowledges late, which makes room again. The library
 * does not see us wait. */
static void
fill(int fd)
{
	struct timespec moment;
	int size = 32768, rounds = 0, quiet;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	do {
		while (write_piece(fd) > 0)
			;
		rounds++;
		quiet = 0;
		do {
			moment = (struct timespec){ 0, FULL_NS };
			raw_call(SYS_ppoll, 0, 0, (long)&moment, 0, 0);
		} while (write_piece(fd) <= 0 && ++quiet < 3);
	} while (quiet < 3);
	say("~accepted %ld", accepted);
	say("~rounds %d", rounds);
	say("full");
	wait_for_harness();
}

/* The peer reads again. */
static void
go_on(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	poll(&pfd, 1, 30000);
	for (int i = 0; i < NR_MORE; i++) {
		ssize_t n = write_piece(fd);

		if (n != PIECE)
			result("write", n);
	}
	say("~accepted %ld", accepted);
}

static int
passed_to_ourselves(int fd)
{
	int pair[2], got;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	result("sendmsg", actor_send_descriptor(pair[0], fd));
	close(fd);
	got = actor_receive_descriptor(pair[1]);
	close(pair[0]);
	close(pair[1]);
	return got;
}

static void
child_goes_on(int fd)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		go_on(fd);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say("child %#x", status);
}

static void
fork_and_go_on(int fd)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	go_on(fd);
}

static void
exec_and_go_on(int fd)
{
	char number[16], done[24];

	snprintf(number, sizeof number, "%d", fd);
	snprintf(done, sizeof done, "%ld", accepted);
	execl(actor_path, "actor", KIND_FD, number, "full-again", done, (char *)NULL);
}

/* Twice: the second time the connection is known to be gone. */
static void
write_twice(int fd)
{
	signal(SIGPIPE, SIG_IGN);
	result("write", write_piece(fd));
	result("write", write_piece(fd));
}

/* full HOW: the buffer is full, the harness has looked, and HOW happens. */
static int
full(int fd, char **args)
{
	const char *how = args[0];

	fill(fd);
	if (!strcmp(how, "exit"))
		return 0;
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(how, "exec"))
		exec_and_go_on(fd);
	if (!strcmp(how, "fork"))
		fork_and_go_on(fd);
	if (!strcmp(how, "child"))
		child_goes_on(fd);
	if (!strcmp(how, "dup"))
		go_on(dup(fd));
	if (!strcmp(how, "pass"))
		go_on(passed_to_ourselves(fd));
	if (!strcmp(how, "close"))
		result("close", close(fd));
	if (!strcmp(how, "shutdown"))
		result("shutdown", shutdown(fd, SHUT_WR));
	if (!strcmp(how, "shutdown") || !strcmp(how, "reset"))
		write_twice(fd);
	say("done");
	wait_for_harness();
	return 0;
}

static int
full_again(int fd, char **args)
{
	accepted = atol(args[0]);
	go_on(fd);
	say("done");
	wait_for_harness();
	return 0;
}

const struct command full_commands[] = {
	{ "full", full, TURN },
	{ "full-again", full_again, STREAM },
	{ 0 },
};
