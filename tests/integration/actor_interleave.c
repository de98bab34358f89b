/* What one thread does between any two instructions of another: the first is stepped by the processor's
 * trap flag, and at the k-th instruction waits until the second has done its part; or for a while, as the
 * second may be waiting for what the first has. Elsewhere than on x86-64 one comes after the other. */
#include "actor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100, WAIT_NS = 3000000 };

/* Of each call its last instructions, where it leaves what it was about. */
enum { LAST = 60, MOST = 100000, ROUNDS = 5 };

struct race {
	const char *name;
	void (*begin)(void), (*stepped)(void), (*between)(void), (*after)(void);
};

static const struct race *race;
static struct sockaddr_in address;
static int listener, stream, peer, accepted, other_peer, file;
static FILE *stdio_file;
static bool taken; /* what was sent while the other shut the stream */

static long countdown, passed; /* instructions */
static int asked, answered;    /* A: of the other thread */

static void
sched(void)
{
	raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static void
ask_other(int64_t wait_ns)
{
	int64_t until = actor_now_ns() + wait_ns;

	__atomic_store_n(&asked, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&answered, __ATOMIC_SEQ_CST) && actor_now_ns() < until)
		sched();
}

static void *
other_thread(void *unused)
{
	for (;;) {
		while (!__atomic_load_n(&asked, __ATOMIC_SEQ_CST))
			sched();
		race->between();
		__atomic_store_n(&asked, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&answered, 1, __ATOMIC_SEQ_CST);
	}
	return unused;
}

#ifdef __x86_64__
static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (--countdown > 0)
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	ask_other(WAIT_NS);
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

static void
begin_close(void)
{
	peer = dial();
	stream = accept(listener, NULL, NULL);
	put(stream, "a;");
	put(stream, "b;");
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
accept_and_write(void)
{
	accepted = accept(listener, NULL, NULL);
	put(accepted, "1;");
	put(accepted, "2;");
	put(accepted, "3;");
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

/* ---- one thread sends, another shuts the stream ---- */

static void
begin_send(void)
{
	peer = dial();
	stream = accept(listener, NULL, NULL);
	put(stream, "a;");
	put(stream, "b;");
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

static const struct race races[] = {
	{ "close", begin_close, do_close, accept_and_write, check_both },
	{ "fclose", begin_fclose, do_fclose, accept_and_write, check_accepted },
	{ "close-unknown", begin_unknown, do_close_unknown, accept_and_write,
	  check_accepted },
	{ "shutdown", begin_send, do_send, shut, check_sent },
};

/* Whether there was such an instruction. */
static bool
race_at(long instruction)
{
	bool met;

	race->begin();
	__atomic_store_n(&answered, 0, __ATOMIC_SEQ_CST);
	countdown = instruction;
	stepping(true);
	race->stepped();
	stepping(false);
	met = countdown <= 0;
	passed = instruction - countdown;
	if (!met)
		__atomic_store_n(&asked, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&answered, __ATOMIC_SEQ_CST))
		sched();
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
	for (long k = passed > LAST ? passed - LAST : 1; race_at(k); k++)
		;
	say("over");
	return 0;
}

const struct command interleave_commands[] = {
	{ "interleave", interleave, NOTHING },
	{ 0 },
};
