/* sleep NAME: one sleeping call right behind a turn. Its bytes must be out meanwhile. */
#include "actor_sleep.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct sleeping *
find_sleep(const char *name)
{
	static const struct sleeping *const tables[] = {
		wait_sleeps,
		clock_sleeps,
		thread_sleeps,
		socket_sleeps,
	};

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		for (const struct sleeping *s = tables[i]; s->name; s++) {
			if (strcmp(s->name, name) == 0)
				return s;
		}
	}
	return NULL;
}

static void
do_nothing(int sig)
{
	(void)sig;
}

/* Without SA_RESTART: SIGUSR1 is how the harness ends a sleep. */
static void
catch_wake(void)
{
	struct sigaction action = { .sa_handler = do_nothing };

	sigaction(SIGUSR1, &action, NULL);
}

static int
sleep_run(int unused, char **args)
{
	const struct sleeping *sleeping = find_sleep(args[0]);
	int fd;

	(void)unused;
	if (!sleeping) {
		say("no sleep %s", args[0]);
		return 98;
	}
	catch_wake();
	if (sleeping->prepare)
		sleeping->prepare();
	fd = actor_open();
	actor_turn(fd);
	note_time("sleep");
	sleeping->sleep(fd);
	say("slept");
	return 0;
}

/* No call at all: only the keeper can help. */
static int
sleep_busy(int fd, char **args)
{
	(void)fd;
	(void)args;
	note_time("sleep");
	spin_ms(400);
	note_time("spun");
	return 0;
}

/* busy-first: as a real-time thread, on one processor. */
static int
sleep_busy_first(int unused, char **args)
{
	struct sched_param first = { .sched_priority = 10 };
	cpu_set_t one;
	int fd;

	(void)unused;
	(void)args;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0) {
		say("skip");
		return 0;
	}
	fd = actor_open();
	/* The request is there: no wait from here on lets another thread of that priority begin. */
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	actor_request(fd);
	put(fd, "w1;");
	put(fd, "w2;");
	put(fd, "1:one;");
	put(fd, "2:two;");
	put(fd, "3:three;");
	note_time("sleep");
	spin_ms(200);
	note_time("spun");
	actor_request(fd);
	return 0;
}

const struct command sleep_commands[] = {
	{ "sleep", sleep_run, NOTHING },
	{ "busy", sleep_busy, TURN },
	{ "busy-first", sleep_busy_first, NOTHING },
	{ 0 },
};
