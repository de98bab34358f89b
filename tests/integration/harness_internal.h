/* harness_internal.h - shared by the harness's own files only. */
#ifndef INTEGRATION_HARNESS_INTERNAL_H
#define INTEGRATION_HARNESS_INTERNAL_H

#include "harness.h"

/* A listening or connected socket for the peer's side; fails the test on error. The
 * last two give -1 where the actor said "skip". */
int peer_listen(struct run *run, char *address, size_t cap);
int peer_accept(struct run *run);
int peer_connect(struct run *run);

/* Waits until fd is ready for the poll events; false after ms. */
int wait_ready(int fd, short events, int ms);

/* Makes the child with its pipes; argv and environment ready for exec. */
void child_start(struct run *run, const char *address);

/* The library to preload in this half, or NULL. */
const char *harness_preload(enum half half);
const char *harness_actor(void);

#endif
