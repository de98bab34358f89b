/*
 * peer.h - one reader and its peer: starts it, natively or preloaded, and takes it through
 * programs.
 *
 * Owns: the child, the pipes, the memory it shares, the peer's sockets. Threads: one. Every wait
 * is bounded; a reader that does not answer is killed, and started anew for the next
 * program.
 */
#ifndef FUZZ_PEER_H
#define FUZZ_PEER_H

#include <sys/types.h>

#include "program.h"

/* How the reader runs; EAGERLY: it reads ahead whether it pays or not, and holds for longer;
 * UNHURRIED: and holds for so long that no keeper comes between an interrupted call and its flush. */
enum way { NATIVELY, PRELOADED_AS_IS, EAGERLY, UNHURRIED, NR_WAYS };

struct peer {
	enum way way;
	struct shared *shared;
	pid_t pid;  /* 0: not running */
	int memory; /* what is shared */
	int up, down, listeners[NR_TRANSPORTS];
	int status;                  /* of the reader that ended last */
	int now;                     /* the stream that is being looked at */
	int fd[MAX_STREAMS];         /* -1: not connected */
	uint64_t taken[MAX_STREAMS]; /* bytes of the reader's that came; */
	uint32_t wrong[MAX_STREAMS]; /* 1 + the place of the first that was not expected */
	long borrows;                /* of the readers that have ended */
};

/* The directory takes sockets and what a reader leaves at its exit. Dies if that is not to be had. */
void peer_init(struct peer *peer, enum way way, const char *directory);

/* Runs `p`: its results are in peer->shared. False: the reader died or did not answer at step
 * peer->shared->at, why is said in `what`. */
bool peer_run(struct peer *peer, const struct program *p, const char **what);

/* Ends the reader, by its own exit, which adds to peer->borrows. */
void peer_stop(struct peer *peer);

/* Of peer_flow.c: the listeners; a stream to the reader; a step of the peer's, with its result in
 * peer->shared; what has come is taken, without waiting; all that is still to come. */
void peer_listens(struct peer *peer, const char *directory);
void peer_connects(struct peer *peer, int stream);
void peer_acts(struct peer *peer, const struct step *step);
void peer_drains(struct peer *peer);
void peer_looks_at_end(struct peer *peer);

_Noreturn void peer_dies(const char *what);

#endif
