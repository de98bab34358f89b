#ifndef TESTS_UNIT_STRESS_H
#define TESTS_UNIT_STRESS_H
/* tests/unit/stress: what the two stress programs have in common: the library's floors set up without
 * its entry points, connections that it knows as streams, a storm of SIGUSR1 and SIGUSR2.
 *
 * Threads: stress_broken() any, the rest main. */
#include "stream/stream.h"
#include <pthread.h>

enum { STRESS_MS = 1000000 };
/* Rounds without jumps, at the beginning. */
enum { QUIET_ROUNDS = 4 };

extern unsigned long stress_round;

/* Says what is broken, and in which round, and ends the process. */
void stress_broken(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));
void stress_fail(const char *what) __attribute__((noreturn));

/* How long to run in seconds: argv[1], or 5, or a tenth of WEIR_TEST_TIMEOUT if that is longer. The
 * seed: argv[2] or 1. Sets an alarm, as stuck is broken too. */
double stress_seconds(int argc, char **argv, unsigned *seed);

/* Once. The calling thread is the one that the storm hits. */
void stress_set_up(size_t chunk, void (*handler)(int));
void stress_block(int how); /* the storm's signals, in the calling thread */

/* pthread body: until *stop, at most `pause` loops between two signals. */
struct storm {
	bool *stop;
	int pause;
};
void *stress_storm(void *storm);

/* A connected pair, by TCP or a socket pair; the library knows *one as a stream. */
void stress_connect(bool tcp, int *one, int *other);
void stress_close(int fd);

/* In a handler of the storm, before siglongjmp. */
void stress_jumps(void);

uint64_t stress_chunks(void); /* in use */

/* Rounds for so long, the first of them without jumps: `round` returns whether the counts were off,
 * which without a jump they must not be, nor may a chunk be lost. Returns how often they were. */
unsigned long stress_rounds(double seconds, unsigned seed, bool (*round)(unsigned seed));

/* At the end: no more chunks are lost than one in so many jumps, and two. */
void stress_bound_chunks(unsigned long jumps, unsigned long jumps_a_chunk);
#endif
