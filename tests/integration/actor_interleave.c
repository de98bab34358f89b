/* The machinery of races: the first is stepped by the processor's trap flag, and at the k-th instruction waits until
 * the second has done its part; or for a while, as the second may be waiting for what the first has.
 * Elsewhere than on x86-64 one comes after the other. */
#include "actor_interleave.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100, WAIT_NS = 3000000 };

/* Of a close or a send its last instructions, where it leaves what it was about. */
enum { LAST = 60, MOST = 100000, ROUNDS = 5 };

int race_stream, race_peer, race_listener;
bool race_taken, race_unread;
long race_passed;

static const struct race *race;
static bool handled; /* by a handler */
static struct sockaddr_in address;
static long countdown; /* instructions */
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
	if (handled) {
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

	return next[0] == 0x0f && next[1] == 0x05 && (int)reg[REG_RDI] == race_stream &&
	       (reg[REG_RAX] == SYS_read || reg[REG_RAX] == SYS_recvfrom ||
		reg[REG_RAX] == SYS_recvmsg);
}

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (race_unread) {
		if (!about_to_read(uc->uc_mcontext.gregs))
			return;
		race_unread = false;
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

int
race_dial(void)
{
	int fd = (int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);
	/* Not the number that the other thread is to get. */
	int high = (int)raw_call(SYS_dup3, fd, 500 + fd, 0, 0, 0);

	raw_call(SYS_close, fd, 0, 0, 0, 0);
	raw_call(SYS_connect, high, (long)&address, sizeof address, 0, 0);
	return high;
}

void
race_begin_stream(void)
{
	race_peer = race_dial();
	race_stream = accept(race_listener, NULL, NULL);
	put(race_stream, "a;");
	put(race_stream, "b;");
}

void
race_put_three(int fd)
{
	put(fd, "1;");
	put(fd, "2;");
	put(fd, "3;");
}

void
race_check(int fd, const char *wanted)
{
	char got[64] = "";
	long n = raw_call(SYS_recvfrom, fd, (long)got, sizeof got - 1, MSG_DONTWAIT, 0);

	if (n < 0 || strcmp(got, wanted))
		say("at instruction %ld: '%s' of '%s'", race_passed, got, wanted);
	raw_call(SYS_close, fd, 0, 0, 0, 0);
}

/* Whether there was such an instruction. */
static bool
race_at(long instruction)
{
	bool met;

	race->begin();
	race_unread = race->at_read;
	countdown = instruction;
	stepping(true);
	race->stepped();
	stepping(false);
	met = countdown <= 0;
	race_passed = instruction - countdown;
	if (race_unread)
		race->at_read();
	if (!met)
		do_between();
	if (!handled)
		await_other(INT64_MAX);
	race->after();
	return met;
}

/* The same in a child, which first does it once without. */
static bool
race_apart(long instruction)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		race_at(MOST);
		_exit(race_at(instruction));
	}
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		say("at instruction %ld: ended %x", instruction, status);
	return status;
}

static const struct race *
find(const char *name)
{
	static const struct race *const tables[] = { thread_races, handler_races,
						     epoll_races };

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct race *r = tables[i]; r->name; r++)
			if (!strcmp(name, r->name)) {
				handled = tables[i] != thread_races;
				return r;
			}
	return NULL;
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
	race = find(args[0]);
	address = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	race_listener = socket(AF_INET, SOCK_STREAM, 0);
	if (!race || bind(race_listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(race_listener, 5) < 0 ||
	    getsockname(race_listener, (struct sockaddr *)&address, &len) < 0)
		return 1;
	sigaction(SIGTRAP, &action, NULL);
	if (!handled)
		pthread_create(&thread, NULL, other_thread, NULL);
	/* The library's own threads are made with all signals blocked, where a trap would be the end. */
	race_begin_stream();
	usleep(1);
	close(race_stream);
	race_check(race_peer, "a;b;");
	/* The first ones bind what they call, and teach the library what to expect. */
	for (int i = 0; i < ROUNDS; i++)
		race_at(MOST);
	from = race->at_read || handled || race_passed <= LAST ? 1 : race_passed - LAST;
	for (long k = from; race->apart ? race_apart(k) : race_at(k);
	     k += race->stride ? race->stride : 1)
		;
	say("over");
	return 0;
}

const struct command interleave_commands[] = {
	{ "interleave", interleave, NOTHING },
	{ 0 },
};
