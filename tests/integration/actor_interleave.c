/* What one thread does between any two instructions of another: the first is stepped by the processor's
 * trap flag, and at the k-th instruction waits until the second has done its part; or for a while, as the
 * second may be waiting for what the first has. Or what a handler does between any two instructions of what
 * it interrupts. Elsewhere than on x86-64 one comes after the other. */
#include "actor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100, WAIT_NS = 3000000 };

/* Of a close or a send its last instructions, where it leaves what it was about. */
enum { LAST = 60, MOST = 100000, ROUNDS = 5 };

/* The table leaves out what is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct race {
	const char *name;
	void (*begin)(void), (*stepped)(void), (*between)(void), (*after)(void);
	/* What the second does when the first is about to read in the kernel: then all instructions
	 * from there on are tried. */
	void (*at_read)(void);
	bool handled; /* the handler does what comes between, at any instruction */
};

static const struct race *race;
static struct sockaddr_in address;
static int listener, stream, peer, accepted, other_peer, file;
static FILE *stdio_file;
static bool taken; /* what was sent or asked for meanwhile */

static long countdown, passed; /* instructions */
static bool unread;            /* at_read is yet to be done */
static void (*errand)(void);
static int asked, answered; /* A: of the other thread */

static void
sched(void)
{
	raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static void
ask_other(void (*what)(void))
{
	errand = what;
	__atomic_store_n(&answered, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&asked, 1, __ATOMIC_SEQ_CST);
}

static void
await_other(int64_t most_ns)
{
	int64_t start = actor_now_ns();

	while (!__atomic_load_n(&answered, __ATOMIC_SEQ_CST) &&
	       actor_now_ns() - start < most_ns)
		sched();
}

static void *
other_thread(void *unused)
{
	for (;;) {
		while (!__atomic_load_n(&asked, __ATOMIC_SEQ_CST))
			sched();
		errand();
		__atomic_store_n(&asked, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&answered, 1, __ATOMIC_SEQ_CST);
	}
	return unused;
}

static void
do_between(void)
{
	if (race->handled) {
		race->between();
	} else {
		ask_other(race->between);
		await_other(WAIT_NS);
	}
}

#ifdef __x86_64__
/* The next instruction is the system call by which it reads. */
static bool
about_to_read(const greg_t *reg)
{
	const unsigned char *next = (const unsigned char *)reg[REG_RIP];

	return next[0] == 0x0f && next[1] == 0x05 && (int)reg[REG_RDI] == stream &&
	       (reg[REG_RAX] == SYS_read || reg[REG_RAX] == SYS_recvfrom ||
		reg[REG_RAX] == SYS_recvmsg);
}

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (unread) {
		if (!about_to_read(uc->uc_mcontext.gregs))
			return;
		unread = false;
		ask_other(race->at_read);
		await_other(INT64_MAX);
		return;
	}
	if (--countdown > 0)
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	do_between();
}

static void
stepping(bool on)
{
	if (on)
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::
					 : "memory", "cc");
	else
		__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::
					 : "memory", "cc");
}
#else
static void
on_trap(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

static void
stepping(bool on)
{
	(void)on;
}
#endif

/* ---- one thread's close ends, another accepts ---- */

static int
dial(void)
{
	int fd = (int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);
	/* Not the number that the other thread is to get. */
	int high = (int)raw_call(SYS_dup3, fd, 500 + fd, 0, 0, 0);

	raw_call(SYS_close, fd, 0, 0, 0, 0);
	raw_call(SYS_connect, high, (long)&address, sizeof address, 0, 0);
	return high;
}

/* "b;" is held. */
static void
begin_stream(void)
{
	peer = dial();
	stream = accept(listener, NULL, NULL);
	put(stream, "a;");
	put(stream, "b;");
}

static void
begin_close(void)
{
	begin_stream();
	other_peer = dial();
}

static void
do_close(void)
{
	close(stream);
}

static void
begin_fclose(void)
{
	stdio_file = fopen("/dev/null", "r");
	other_peer = dial();
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
	other_peer = dial();
}

static void
do_close_unknown(void)
{
	close(file);
}

static void
put_three(int fd)
{
	put(fd, "1;");
	put(fd, "2;");
	put(fd, "3;");
}

static void
accept_and_write(void)
{
	accepted = accept(listener, NULL, NULL);
	put_three(accepted);
}

/* What has come on a peer, all of which has been sent. */
static void
check(int fd, const char *wanted)
{
	char got[64] = "";
	long n = raw_call(SYS_recvfrom, fd, (long)got, sizeof got - 1, MSG_DONTWAIT, 0);

	if (n < 0 || strcmp(got, wanted))
		say("at instruction %ld: '%s' of '%s'", passed, got, wanted);
	raw_call(SYS_close, fd, 0, 0, 0, 0);
}

static void
check_accepted(void)
{
	put(accepted, "4;");
	close(accepted);
	check(other_peer, "1;2;3;4;");
}

static void
check_both(void)
{
	check_accepted();
	check(peer, "a;b;");
}

/* ---- one thread closes what another is about to read, and accepts ---- */

static void
begin_read(void)
{
	begin_close();
	/* So that a read that nothing steps ends, too. */
	raw_call(SYS_write, peer, (long)"r", 1, 0, 0);
}

static void
check_closed(const char *what, long r)
{
	if (!unread && (r >= 0 || errno != EBADF))
		result(what, r);
}

static void
do_read(void)
{
	char byte;

	check_closed("read", read(stream, &byte, 1));
}

static void
do_recv(void)
{
	char byte;

	check_closed("recv", recv(stream, &byte, 1, MSG_DONTWAIT));
}

static void
do_recvmsg(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	check_closed("recvmsg", recvmsg(stream, &msg, 0));
}

static void
check_read(void)
{
	check_accepted();
	raw_call(SYS_close, peer, 0, 0, 0, 0);
}

/* ---- one thread sends, another shuts the stream ---- */

static void
begin_send(void)
{
	begin_stream();
	usleep(1); /* nothing is held, and more is expected */
}

static void
do_send(void)
{
	taken = send(stream, "1;", 2, MSG_NOSIGNAL) == 2;
}

static void
shut(void)
{
	shutdown(stream, SHUT_WR);
}

static void
check_sent(void)
{
	close(stream);
	check(peer, taken ? "a;b;1;" : "a;b;");
}

/* ---- a handler writes, and the next sleep is to send what is held ---- */

/* Nothing is held any more when the sleep begins, so that it has the same few instructions each time. */
static void
begin_sleep(void)
{
	int unsent;

	begin_stream();
	ioctl(stream, SIOCOUTQ, &unsent);
}

static void
do_sleep(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
}

static void
write_three(void)
{
	put_three(stream);
}

static void
check_slept(void)
{
	do_sleep();
	check(peer, "a;b;1;2;3;");
	close(stream);
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
	stream = pair[0];
	peer = pair[1];
}

/* What is written next is held. */
static void
begin_append(void)
{
	begin_pairs();
	put_three(stream);
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
	exchange(peer, stream);
	exchange(stream, peer);
	exchange(peer, stream);
}

/* What is read next has been read ahead. */
static void
begin_take(void)
{
	char bytes[2];

	begin_pairs();
	for (int i = 0; i < 5; i++)
		raw_call(SYS_write, peer, (long)"1;2;3;", 6, 0, 0);
	for (int i = 0; i < 3; i++)
		read(stream, bytes, sizeof bytes);
}

static void
do_write(void)
{
	taken = write(stream, "4;", 2) == 2;
}

static void
do_take(void)
{
	char bytes[2];

	taken = read(stream, bytes, sizeof bytes) == sizeof bytes;
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
		_exit(!taken);
	if (!taken || child_status)
		say("at instruction %ld: %d, in the child %d", passed, taken,
		    child_status);
	for (int i = 0; i < 2; i++)
		close(others[i]);
	close(stream);
	close(peer);
}

static const struct race races[] = {
	{ "close", begin_close, do_close, accept_and_write, check_both },
	{ "fclose", begin_fclose, do_fclose, accept_and_write, check_accepted },
	{ "close-unknown", begin_unknown, do_close_unknown, accept_and_write,
	  check_accepted },
	{ "read", begin_read, do_read, accept_and_write, check_read, do_close },
	{ "recv", begin_read, do_recv, accept_and_write, check_read, do_close },
	{ "recvmsg", begin_read, do_recvmsg, accept_and_write, check_read, do_close },
	{ "shutdown", begin_send, do_send, shut, check_sent },
	{ "sleep", begin_sleep, do_sleep, write_three, check_slept, .handled = true },
	{ "fork-append", begin_append, do_write, fork_and_use, check_forked,
	  .handled = true },
	{ "fork-answer", begin_answer, do_write, fork_and_use, check_forked,
	  .handled = true },
	{ "fork-take", begin_take, do_take, fork_and_use, check_forked,
	  .handled = true },
};

/* Whether there was such an instruction. */
static bool
race_at(long instruction)
{
	bool met;

	race->begin();
	unread = race->at_read;
	countdown = instruction;
	stepping(true);
	race->stepped();
	stepping(false);
	met = countdown <= 0;
	passed = instruction - countdown;
	if (unread)
		race->at_read();
	if (!met)
		do_between();
	if (!race->handled)
		await_other(INT64_MAX);
	race->after();
	return met;
}

/* interleave RACE */
static int
interleave(int unused, char **args)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	socklen_t len = sizeof address;
	pthread_t thread;
	long from;

	(void)unused;
	for (size_t i = 0; i < sizeof races / sizeof *races; i++)
		if (!strcmp(args[0], races[i].name))
			race = &races[i];
	address = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (!race || bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 5) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return 1;
	sigaction(SIGTRAP, &action, NULL);
	pthread_create(&thread, NULL, other_thread, NULL);
	/* The library's own threads are made with all signals blocked, where a trap would be the end. */
	begin_send();
	do_send();
	check_sent();
	/* The first ones bind what they call, and teach the library what to expect. */
	for (int i = 0; i < ROUNDS; i++)
		race_at(MOST);
	from = race->at_read || race->handled || passed <= LAST ? 1 : passed - LAST;
	for (long k = from; race_at(k); k++)
		;
	say("over");
	return 0;
}

const struct command interleave_commands[] = {
	{ "interleave", interleave, NOTHING },
	{ 0 },
};
