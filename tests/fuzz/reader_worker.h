/* reader_worker.h - the parts of reader_worker.c, reader_turn.c and reader_helper.c for each other. */
#ifndef FUZZ_READER_WORKER_H
#define FUZZ_READER_WORKER_H

#include "reader.h"

/* Gives the turn to a worker, which is to end (enum end_how). */
void worker_lets_end(struct shared *shared, int who, int how);
/* Of a process that has been told how. */
_Noreturn void worker_exits(struct shared *shared, int me);
/* After an exec. */
void worker_resumes(struct shared *shared, int me);

/* Makes a BLOCKED step: others go on. False: it would not wait, and nothing was done. */
bool waiter_waits(struct reader *r);
/* The step must not be made while somebody waits on its stream. */
bool waiter_forbids(const struct shared *shared, const struct step *step);
/* The peer has done what whoever waits on r's stream waited for. */
void waiter_returns(const struct reader *r);
/* Worker 0 lets them all return. */
void waiters_end(struct shared *shared);

/* Where this program is. */
void reader_path(char *out, size_t cap);

/* Makes a helper, waits for it, returns its status or SKIPPED; and what the helper does: writes
 * `n` bytes to a descriptor it has inherited. Returns the exit code. */
long helper_runs(struct reader *r);
int helper_writes(struct shared *shared, int stream, int fd, int n);

/* Ends this process, which is worker 0's, with all others; or SKIPPED. */
int reader_dies(struct reader *r);

#endif
