/*
 * reader.h - the program under test: it makes the steps of a program and writes down what each
 * call returned. Plain libc; it never knows whether a library is preloaded.
 *
 * Owns: the connections and all that belongs to them. Up to four workers, of which one has the
 * turn: only it touches struct shared. struct reader is a step's own.
 * A call that would wait for ever, by the flow's own count of what is there, is not made,
 * or made with MSG_DONTWAIT: since that count is the same in both runs, so is the
 * decision.
 */
#ifndef FUZZ_READER_H
#define FUZZ_READER_H

#include "program.h"

struct reader {
	struct shared *shared;
	struct flow *flow;
	struct hands *hands;
	int me; /* the worker */
	int nested; /* which buffer: 1: a handler makes the step within another; 2: is_waiter */
	int is_waiter; /* the step is BLOCKED: it may wait */
	int begun;     /* the trap for it is set */
	struct step step;
	struct result result;
};

/* What a step is made on: the stream or its duplicate. */
int reader_fd(const struct reader *r);
bool reader_is_tcp(const struct reader *r);

int64_t reader_now_ns(void);

/* A pattern, behind which a buffer of at least MAX_READ bytes can be seen to be unchanged. */
void reader_buffer_fill(unsigned char *buffer, size_t n);
uint32_t reader_buffer_sum(const unsigned char *buffer, size_t n);

void reader_receives(struct reader *r);
void reader_waits(struct reader *r);
void reader_sets(struct reader *r);
void reader_sends(struct reader *r);
void reader_multiplies(struct reader *r);

/* Around the calls themselves, which an INTERRUPTED step has interrupted. */
void reader_call_begins(void);
void reader_call_ends(void);
/* Makes an INTERRUPTED step, and in it or after it the next one. False: that could make a
 * difference, and nothing was done. */
bool reader_interrupts(struct reader *r, struct reader *inner);

/* The result of a call that returned `value` and set errno. */
void reader_returned(struct reader *r, long value);

/* What is sent: `n` bytes from where the flow is, in memory that stays until the next call. */
unsigned char *reader_outgoing(const struct reader *r, size_t n);
/* The call that was asked to send them took `value`. */
void reader_sent(struct reader *r, long value);

/* Tells fuzz that it is its turn, or that the program is over. */
void reader_tells(void);

/* The worker makes steps while it has the turn, until it is told to end or the program is over. */
void worker_runs(struct shared *shared, int me);
/* All but the first end; then they have ended. */
void workers_end(struct shared *shared);
/* The next step's worker has the turn. */
void worker_passes(struct shared *shared);
/* Makes one step plainly. */
void reader_makes(struct reader *r);

#endif
