/*
 * scenario.h - one actor command, run natively and preloaded, and compared.
 *
 * The native run is the oracle: bytes (order, count), end of file or reset, log,
 * stderr and wait status must be the same. Where a field below says more, it must
 * hold in both halves: an oracle that is itself wrong is found out.
 */
#ifndef INTEGRATION_SCENARIO_H
#define INTEGRATION_SCENARIO_H

#include "harness.h"

/* The tables leave out what is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define ANY_STATUS (-1)
#define EXITED(code) ((code) << 8)
#define KILLED(sig) (sig)

/* kinds, a bit mask; 0 is ALL_KINDS */
#define BIT(kind) (1U << (kind))
#define TCP_KINDS (BIT(TCP_ACCEPT) | BIT(TCP_CONNECT))
#define UNIX_KINDS (BIT(UNIX_ACCEPT) | BIT(UNIX_CONNECT))
#define ACCEPT_KINDS (BIT(TCP_ACCEPT) | BIT(UNIX_ACCEPT))
#define ALL_KINDS (TCP_KINDS | UNIX_KINDS)

/* flags */
#define NO_GREETING 1U /* the command takes no turn */
#define MAY_SKIP 2U    /* "skip" in the native log: refused here, nothing to compare */
#define PREFIX_ONLY 4U /* the library may lose what it held, and nothing else */
#define OOB_INLINE 8U
#define WAKE_STDIN 16U   /* once .early is there: a byte on the control pipe, */
#define WAKE_SIGNAL 32U  /* SIGUSR1, */
#define WAKE_STREAM 64U  /* or a byte on the stream */
#define ONE_LINE 256U    /* the library may say one line on stderr */
#define PLAIN_BUILD 512U /* not where sanitizers need more than there is */
#define IN_TIME 128U     /* .early is there within .within after "~sleep" */

/* What the peer does once the actor says "~peer"; then it writes to the control pipe. */
enum then { PEER_WAITS, PEER_SENDS, PEER_ENDS, PEER_RESETS };

/* Records that PEER_SENDS adds. */
#define MORE_RECORDS 50

struct scenario {
	const char *name;    /* says the behaviour */
	const char *command; /* with its arguments, separated by spaces */
	const char *bytes;   /* all that the peer gets; NULL: what native sends */
	const char *log;     /* the compared log; NULL: what native says */
	int status;          /* wait status, 0 unless said, or ANY_STATUS */
	unsigned kinds, flags;
	int within;        /* ms, 0 = 300 */
	const char *early; /* what is there before the wake, NULL = PREFIX */
	const char *env[4];
	int queue; /* records of eight bytes that the peer sends at once; no turn */
	enum then then;
};

/* "%07d;", from `first`. */
void scenario_send_records(struct run *run, int first, int nr);

/* Runs one half to its end; the caller finishes it. */
void scenario_run(struct run *run, const struct scenario *scenario, enum kind kind,
		  enum half half);

/* A cmocka test; *state is a const struct scenario *. */
void scenario_test(void **state);

/* A whole program: runs all of them, returns main's exit code. */
struct CMUnitTest;
int scenario_main_with(const char *group, const struct scenario *scenarios, size_t nr,
		       const struct CMUnitTest *more, size_t nr_more);
int scenario_main(const char *group, const struct scenario *scenarios, size_t nr);

/* A processor that others have for a while makes anything late, though not each time, as a call does
 * that sends nothing: so what has a time is tried again before it counts. */
#define SCENARIO_TRIES 4

/* How many ms after the actor's "~sleep" so many bytes were there: INT_MAX, never. */
int scenario_late(const struct run *run, size_t total);

/* scenario_run(), again where .early was not there within .within. The last run is left, in time or not. */
void scenario_run_in_time(struct run *run, const struct scenario *scenario,
			  enum kind kind, enum half half);

#endif
