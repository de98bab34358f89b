/*
 * harness.h - runs an actor natively or preloaded and plays its peer.
 *
 * Owns: the child (a process group of its own), the peer's socket, the pipes for
 * control, log and stderr, a temporary directory. run_finish() ends and frees all of
 * them, whatever state the run is in. Only the child ever sees LD_PRELOAD.
 * Threads: one. Every wait is bounded. Failures of the harness itself fail the
 * running cmocka test. Times are CLOCK_MONOTONIC nanoseconds, waits milliseconds.
 *
 * Environment: WEIR_LIB, the library (several names separated by spaces are preloaded
 * in that order, ours last); WEIR_SANITIZER, the flags of a build with sanitizers, whose
 * runtime is preloaded before ours (CC knows where it is); WEIR_ACTOR, the actor;
 * HARNESS_NATIVE_ONLY=1 runs the preloaded half without the library, to test the tests.
 */
#ifndef INTEGRATION_HARNESS_H
#define INTEGRATION_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

enum kind { TCP_ACCEPT, TCP_CONNECT, UNIX_ACCEPT, UNIX_CONNECT, NO_STREAM, NR_KINDS };
enum half { NATIVE, PRELOADED };
enum peer_end { PEER_OPEN, PEER_EOF, PEER_RESET };

struct options {
	enum kind kind;
	enum half half;
	const char *command;
	const char *const *args; /* NULL-ended, or NULL */
	const char *const *env; /* NULL-ended NAME=VALUE, or NULL; after the defaults */
	int no_greeting;        /* the command takes no turn: send nothing unasked */
	int rcvbuf;             /* the peer's SO_RCVBUF, 0 = the system's */
	int oob_inline;         /* the peer takes urgent data in line */
};

struct arrival {
	int64_t ns;
	size_t total; /* bytes received up to and including this recv */
};

struct run {
	struct options options;
	pid_t pid;
	int peer, control, log_fd, err_fd, exit_fd, listener; /* -1 = not open */
	char dir[64];
	char *bytes; /* what the peer received, NUL-ended */
	size_t len, cap;
	struct arrival *arrivals;
	size_t nr_arrivals, cap_arrivals;
	enum peer_end end;
	int paused;      /* the peer does not read */
	int greeted;     /* 0, 1 after "warm", 2 after "go" */
	char *log, *err; /* NUL-ended */
	size_t log_len, err_len;
	int status; /* as from waitpid, -1 while it runs */
};

/* Call first in main: 0, or the exit code with which main should end (77: no library). */
int harness_init(void);

/* True in a build with sanitizers: the actor has them too, and needs more of everything. */
int harness_sanitized(void);

/* True where the preloaded half really has the library. */
int harness_has_library(void);

const char *kind_name(enum kind kind);

int64_t now_ns(void);

/* Only a hang takes so many ms; on a busy machine some step through a call for ten seconds. */
#define HANG_MS 60000

/* Starts the actor; returns when the peer's connection stands: at once for NO_STREAM,
 * and with none where the actor said "skip". */
void run_start(struct run *run, const struct options *options);

/* Each pumps peer, log and stderr until its condition holds; true if it did in time. */
int run_until_bytes(struct run *run, size_t nr, int ms);
int run_until_log(struct run *run, const char *text, int ms);
int run_until_peer_end(struct run *run, int ms);
/* The actor and everything that inherited its log is gone, and the peer saw the end. */
int run_until_over(struct run *run, int ms);
/* Pumps for so long, whatever comes. */
void run_for(struct run *run, int ms);

void run_send(struct run *run, const char *text);
/* One byte on the control pipe. */
void run_wake(struct run *run);
/* Closes the peer's socket with a reset instead of an end of file. */
void run_reset(struct run *run);

/* When the peer had received that many bytes, or -1. */
int64_t run_arrival(const struct run *run, size_t total);
/* The number behind the last log line "~WORD number", or -1. */
int64_t run_noted(const struct run *run, const char *word);
/* The log without its '~' lines; the caller frees it. */
char *run_compared_log(const struct run *run);
/* One line about a run, to stderr: for failures. */
void run_explain(const struct run *run);

void run_finish(struct run *run);

/* cmocka teardown: ends what a failed test left unfinished (its runs lived on a stack
 * that the failure unwound). Always 0. */
int harness_clean(void **state);

/* GET of the run's metrics socket: the body, or NULL after ms; the caller frees it. */
char *metrics_get(const struct run *run, const char *path, int ms);
/* The sum of all samples of a family in the text format, -1 if there is none. */
double metrics_sum(const char *body, const char *family);

#endif
