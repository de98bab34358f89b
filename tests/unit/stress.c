#include "stress.h"
#include "base/config.h"
#include "stream/keeper.h"
#include "stream/life.h"
#include "stream/section.h"
#include "stream/turn.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

unsigned long stress_round;

static struct config settings;
static pthread_t owner;

void
stress_broken(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("BROKEN: ", stdout);
	vprintf(format, args);
	printf(" (round %lu)\n", stress_round);
	fflush(stdout);
	_exit(1);
}

void
stress_fail(const char *what)
{
	perror(what);
	exit(1);
}

double
stress_seconds(int argc, char **argv, unsigned *seed)
{
	const char *bound = getenv("WEIR_TEST_TIMEOUT");
	double seconds = bound && atof(bound) > 50 ? atof(bound) / 10 : 5;

	if (argc > 1)
		seconds = atof(argv[1]);
	*seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	alarm((unsigned)seconds + 60);
	return seconds;
}

void
stress_set_up(size_t chunk, void (*handler)(int))
{
	struct sigaction act = { .sa_handler = handler };

	settings = (struct config){ .request_chunk = (uint32_t)chunk,
				    .response_chunk = (uint32_t)chunk,
				    .pool_max = 64 << 20,
				    .delay_us = 500,
				    .enabled = true,
				    .pool_enabled = true,
				    .test_eager = true };
	config = &settings;
	self_init();
	life_init(NULL, NULL);
	stream_init();
	owner = pthread_self();
	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR2, &act, NULL);
	/* Not under the storm: threads are made by libc, which nobody may jump out of. */
	if (!self_enter() || !life_join() || !turn_thread() || !keeper_start())
		stress_fail("set-up");
}

void
stress_block(int how)
{
	sigset_t storms;

	sigemptyset(&storms);
	sigaddset(&storms, SIGUSR1);
	sigaddset(&storms, SIGUSR2);
	pthread_sigmask(how, &storms, NULL);
}

void *
stress_storm(void *arg)
{
	struct storm *storm = arg;
	unsigned random = 3;

#ifdef WEIR_TSAN
	/* ThreadSanitizer keeps a signal until the thread calls something of its own, and calls the handler
	 * from there: without a signal's frame, by which self_left() tells what a handler lies above. So
	 * only the threads are tried. */
	return NULL;
#endif
	while (!relaxed(*storm->stop)) {
		pthread_kill(owner, rand_r(&random) % 2 ? SIGUSR1 : SIGUSR2);
		for (volatile int i = rand_r(&random) % storm->pause; i > 0; i--)
			;
	}
	return NULL;
}

static void
connect_tcp(int *one, int *other)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	stream_made_socket(listener, AF_INET, SOCK_STREAM, 0);
	*other = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(*other, (struct sockaddr *)&addr, len) < 0)
		stress_fail("loopback");
	stream_listening(listener);
	*one = accept(listener, NULL, NULL);
	stream_accepted(*one, listener, 0);
	stress_close(listener);
}

void
stress_connect(bool tcp, int *one, int *other)
{
	int fds[2];

	if (tcp) {
		connect_tcp(one, other);
	} else {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
			stress_fail("socketpair");
		*one = fds[0];
		*other = fds[1];
		stream_made_pair(*one, SOCK_STREAM);
	}
	if (!stream_known(*one))
		stress_fail("no stream");
}

void
stress_close(int fd)
{
	stream_close_begin(fd);
	close(fd);
	stream_close_end(fd);
}

void
stress_jumps(void)
{
	life_jump();
}

uint64_t
stress_chunks(void)
{
	uint64_t nr = 0;

	for (int i = 0; i < NR_TIERS; i++)
		nr += region_member()->pool[i].in_use;
	return nr;
}

unsigned long
stress_rounds(double seconds, unsigned seed, bool (*round)(unsigned seed))
{
	int64_t end = sys_now_ns() + (int64_t)(seconds * 1e9);
	unsigned long wrong = 0;

	for (; sys_now_ns() < end; stress_round++) {
		bool off = round(seed + (unsigned)stress_round);

		if (off && stress_round < QUIET_ROUNDS)
			stress_broken("the counts are wrong without a jump");
		if (stress_chunks() && stress_round < QUIET_ROUNDS)
			stress_broken("%lu chunks lost without a jump",
				      (unsigned long)stress_chunks());
		wrong += off;
	}
	section_reap();
	return wrong;
}

void
stress_bound_chunks(unsigned long jumps, unsigned long jumps_a_chunk)
{
	/* A short run has few of either. */
	if (stress_chunks() > jumps / jumps_a_chunk + 5)
		stress_broken("%lu chunks lost", (unsigned long)stress_chunks());
}
