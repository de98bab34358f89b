/*
 * actor_interleave.h - races: what one thread, or a handler, does between any two instructions of what another thread,
 * or the code that it interrupts, is doing.
 */
#ifndef INTEGRATION_ACTOR_INTERLEAVE_H
#define INTEGRATION_ACTOR_INTERLEAVE_H

#include "actor.h"

#include <stdbool.h>

/* The tables leave out what is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct race {
	const char *name;
	void (*begin)(void), (*stepped)(void), (*between)(void), (*after)(void);
	/* What the second does when the first is about to read in the kernel: then all instructions
	 * from there on are tried. */
	void (*at_read)(void);
	bool apart; /* each round in a process of its own */
	int stride; /* that many instructions on, each time; 0: one */
};

/* Of threads; in the others a handler does what comes between, at any instruction, and there is one thread. Each
 * ends with a NULL name. */
extern const struct race thread_races[], handler_races[], epoll_races[];

/* Of one round: */
extern int race_stream, race_peer; /* the stream that it is about, and its other end */
extern bool race_taken;            /* what was sent or asked for meanwhile was */
extern bool race_unread;           /* at_read is yet to be done */
extern long race_passed;           /* the instruction that came next */

/* A connection to race_listener, on a number that nobody would be given. */
extern int race_listener;
int race_dial(void);

/* A stream that holds "b;", of a library that holds. */
void race_begin_stream(void);
void race_put_three(int fd);

/* What has come on a peer, all of which has been sent: says so where that is something else; closes it. */
void race_check(int fd, const char *wanted);

#endif
