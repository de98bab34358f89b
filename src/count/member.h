#ifndef WEIR_COUNT_MEMBER_H
#define WEIR_COUNT_MEMBER_H
/* count/member: who is of the family, who lives, and how others left it.
 *
 * Each process has a slot of the region. A parent takes it for its child before it forks, so there
 * is no moment in which a member is in none. Who lives is told by record locks on one file that
 * all members have open (region_lock_file(): the metrics socket): a member locks the byte of its
 * slot, and the kernel gives that back however the process ends, and at an exec. Until it has
 * locked it, and where there is no such file, its number tells, to processes of the same pid
 * namespace; a number may have been given to somebody else, who then passes for it.
 *
 * A slot belongs to its process until the kernel has ended that: who said that it leaves may still
 * write to what it has open.
 *
 * Threads: any. Signals: safe, save region_lock_file(). */
#include "count/region.h"

/* What a fork announces to its child (self.born): 0 nothing, else 1 + the slot taken for it. */
enum { BORN_WITHOUT_SLOT = NR_MEMBERS + 1 };

/* Bytes of the lock file below this one are of metrics/standby. */
enum { LOCK_MEMBERS = 2 };

/* This process's slot; a private stand-in if none is free. */
struct member *region_member(void);

/* Its index; -1: none. */
int region_slot(void);

/* A child is about to be forked: it is counted, and has a slot. Answers what region_join() gets
 * there. */
uint32_t region_bear(void);

/* In the parent: the fork answered `pid`; below 0: no child. */
void region_born(uint32_t born, int pid);

/* In a child that was forked unseen: its parent is told. True, once: such a child has told us. */
void region_forked_unseen(void);
bool region_has_forked_unseen(void);

/* This process joins: its first use of the region, a child after a fork (`born`; 0: the fork did
 * not announce it), or after an exec that failed. */
void region_join(uint32_t born);

/* It leaves; how many members are left, those that were killed not among them. */
uint64_t region_leave(enum ending how);

/* Another one has left unseen. */
void region_left(uint32_t pid, enum ending how);

/* The descriptor that all members have, on whose record locks they live; -1: it is about to be
 * closed. A close of any number of that file gives the lock back: to be called again after it. */
void region_lock_file(int fd);

/* Finds the members that were killed, or became another program, and ends them. Some system
 * calls a member. */
void region_reap(void);

/* The same for the slots of a bit set of NR_MEMBERS bits. */
void region_reap_these(const uint64_t *slots);

/* Gone for good: what it has open is closed. */
bool region_has_ended(uint32_t pid);
bool region_has(uint32_t pid); /* a member by that number has joined and not left */
#endif
