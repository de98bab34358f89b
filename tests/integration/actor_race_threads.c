/* Races of two threads that close, accept, read, send and shut. */
#include "actor_interleave.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int accepted, other_peer, file;
static FILE *stdio_file;

/* ---- one thread's close ends, another accepts ---- */

static void
begin_close(void)
{
	race_begin_stream();
	other_peer = race_dial();
}

static void
do_close(void)
{
	close(race_stream);
}

static void
begin_fclose(void)
{
	stdio_file = fopen("/dev/null", "r");
	other_peer = race_dial();
}

static void
do_fclose(void)
{
	fclose(stdio_file);
}

static void
begin_unknown(void)
{
	file = (int)raw_call(SYS_dup, 0, 0, 0, 0, 0);
	other_peer = race_dial();
}

static void
do_close_unknown(void)
{
	close(file);
}

static void
accept_and_write(void)
{
	accepted = accept(race_listener, NULL, NULL);
	race_put_three(accepted);
}

static void
check_accepted(void)
{
	put(accepted, "4;");
	close(accepted);
	race_check(other_peer, "1;2;3;4;");
}

static void
check_both(void)
{
	check_accepted();
	race_check(race_peer, "a;b;");
}

/* ---- one thread closes what another is about to read, and accepts ---- */

static void
begin_read(void)
{
	begin_close();
	/* So that a read that nothing steps ends, too. */
	raw_call(SYS_write, race_peer, (long)"r", 1, 0, 0);
}

static void
check_closed(const char *what, long r)
{
	if (!race_unread && (r >= 0 || errno != EBADF))
		result(what, r);
}

static void
do_read(void)
{
	char byte;

	check_closed("read", read(race_stream, &byte, 1));
}

static void
do_recv(void)
{
	char byte;

	check_closed("recv", recv(race_stream, &byte, 1, MSG_DONTWAIT));
}

static void
do_recvmsg(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	check_closed("recvmsg", recvmsg(race_stream, &msg, 0));
}

static void
check_read(void)
{
	check_accepted();
	raw_call(SYS_close, race_peer, 0, 0, 0, 0);
}

/* ---- one thread sends, another shuts the stream ---- */

static void
begin_send(void)
{
	race_begin_stream();
	usleep(1); /* nothing is held, and more is expected */
}

static void
do_send(void)
{
	race_taken = send(race_stream, "1;", 2, MSG_NOSIGNAL) == 2;
}

static void
shut(void)
{
	shutdown(race_stream, SHUT_WR);
}

static void
check_sent(void)
{
	close(race_stream);
	race_check(race_peer, race_taken ? "a;b;1;" : "a;b;");
}

const struct race thread_races[] = {
	{ "close", begin_close, do_close, accept_and_write, check_both },
	{ "fclose", begin_fclose, do_fclose, accept_and_write, check_accepted },
	{ "close-unknown", begin_unknown, do_close_unknown, accept_and_write,
	  check_accepted },
	{ "read", begin_read, do_read, accept_and_write, check_read, do_close },
	{ "recv", begin_read, do_recv, accept_and_write, check_read, do_close },
	{ "recvmsg", begin_read, do_recvmsg, accept_and_write, check_read, do_close },
	{ "shutdown", begin_send, do_send, shut, check_sent },
	{ 0 },
};
