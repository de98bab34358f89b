/*
 * actor_rest.h - for commands that read a little of what the peer sent and leave the rest
 * to somebody else. The peer sends records of eight bytes, "%07d;", so each byte tells
 * its position, and a record that was read whole tells its number.
 */
#ifndef INTEGRATION_ACTOR_REST_H
#define INTEGRATION_ACTOR_REST_H

#include "actor.h"

/* How many bytes were read so far, by whomever. */
extern size_t rest_at;

/* Waits until the peer's bytes are all there. To be called before the first read. */
void rest_arrived(int fd, size_t total);

/* `n` bytes that were read: the ones that come next? Says so if not. */
void rest_expect(const char *bytes, ssize_t n);

/* So many read()s of `n` bytes each. */
void rest_take(int fd, int times, size_t n);

/* After rest_arrived(): enough small reads for the library to read ahead. Leaves FEW bytes taken. */
enum { FEW = 12 };
void rest_take_few(int fd, size_t total);

/* Reads on, up to `total`, and says that it did. */
void rest_take_all(int fd, size_t total);

/* The number of the record, or -1. */
int rest_record(const char *bytes);

/* Tells the harness that it may act, and blocks, unseen by any library, until it has. */
void rest_let_peer_act(void);

#endif
