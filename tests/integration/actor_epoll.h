/*
 * actor_epoll.h - what an epoll instance waits for, as the kernel knows it; and a server that says around each write
 * that it waits for room, and then that it does not, as mosquitto does.
 */
#ifndef INTEGRATION_ACTOR_EPOLL_H
#define INTEGRATION_ACTOR_EPOLL_H

#include "actor.h"

#include <stdbool.h>

#include <sys/epoll.h>

/* What `ep` waits for of `fd`, without ERR and HUP, and what it brings then; asked without any library. events ~0: it
 * does not. */
struct epoll_event epoll_kernel(int ep, int fd);

/* epoll_ctl, with the descriptor as data. */
int epoll_change(int ep, int op, int fd, unsigned events);

/* As before a write to `fd`, and after it. */
void epoll_wants_room(int ep, int fd, bool wants);

#endif
