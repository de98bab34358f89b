/*
 * actor_sleep.h - the sleeping calls, one entry each.
 *
 * prepare runs before the stream is made (helper threads and children belong there),
 * sleep right behind the turn; it logs what the call said.
 */
#ifndef INTEGRATION_ACTOR_SLEEP_H
#define INTEGRATION_ACTOR_SLEEP_H

#include "actor.h"

struct sleeping {
	const char *name;
	void (*sleep)(int fd);
	void (*prepare)(void); /* or NULL */
};

/* Each ends with a NULL name. */
extern const struct sleeping wait_sleeps[], clock_sleeps[], thread_sleeps[],
	socket_sleeps[];

#endif
