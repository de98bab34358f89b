/* Races of a handler with what it interrupts: it writes, or forks. */
#include "actor_interleave.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- a handler writes, and the next sleep is to send what is held ---- */

/* Nothing is held any more when the sleep begins, so that it has the same few instructions each time. */
static void
begin_sleep(void)
{
	int unsent;

	race_begin_stream();
	ioctl(race_stream, SIOCOUTQ, &unsent);
}

static void
do_sleep(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
}

static void
write_three(void)
{
	race_put_three(race_stream);
}

static void
check_slept(void)
{
	do_sleep();
	race_check(race_peer, "a;b;1;2;3;");
	close(race_stream);
}

/* ---- a handler forks, and the child uses another stream before it goes on ---- */

static int others[2];
static bool in_child;
static int child_status;

static void
begin_pairs(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, others) < 0)
		result("socketpair", -1);
	race_stream = pair[0];
	race_peer = pair[1];
}

/* What is written next is held. */
static void
begin_append(void)
{
	begin_pairs();
	race_put_three(race_stream);
}

static void
exchange(int from, int to)
{
	char byte;

	put(from, "x");
	read(to, &byte, 1);
}

/* What is written next is sent at once, as an answer of one piece. */
static void
begin_answer(void)
{
	begin_pairs();
	exchange(race_peer, race_stream);
	exchange(race_stream, race_peer);
	exchange(race_peer, race_stream);
}

/* What is read next has been read ahead. */
static void
begin_take(void)
{
	char bytes[2];

	begin_pairs();
	for (int i = 0; i < 5; i++)
		raw_call(SYS_write, race_peer, (long)"1;2;3;", 6, 0, 0);
	for (int i = 0; i < 3; i++)
		read(race_stream, bytes, sizeof bytes);
}

static void
do_write(void)
{
	race_taken = write(race_stream, "4;", 2) == 2;
}

static void
do_take(void)
{
	char bytes[2];

	race_taken = read(race_stream, bytes, sizeof bytes) == sizeof bytes;
}

static void
fork_and_use(void)
{
	pid_t pid = fork();

	in_child = pid == 0;
	for (int i = 0; i < 5 && in_child; i++)
		exchange(others[0], others[1]);
	if (!in_child)
		waitpid(pid, &child_status, 0);
}

static void
check_forked(void)
{
	if (in_child)
		_exit(!race_taken);
	if (!race_taken || child_status)
		say("at instruction %ld: %d, in the child %d", race_passed, race_taken,
		    child_status);
	for (int i = 0; i < 2; i++)
		close(others[i]);
	close(race_stream);
	close(race_peer);
}

const struct race handler_races[] = {
	{ "sleep", begin_sleep, do_sleep, write_three, check_slept },
	{ "fork-append", begin_append, do_write, fork_and_use, check_forked },
	{ "fork-answer", begin_answer, do_write, fork_and_use, check_forked },
	{ "fork-take", begin_take, do_take, fork_and_use, check_forked },
	{ 0 },
};
