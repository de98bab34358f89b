#ifndef WEIR_COUNT_HOLDER_H
#define WEIR_COUNT_HOLDER_H
/* count/holder: how many processes have a stream open.
 *
 * A stream that no fork has copied has no entry here. The fork that first does makes one, in which
 * its process and the child are two holders; later forks add more, a close takes one away, and so
 * does a holder's end, however it came, once somebody has noticed it (count/member). Who made the
 * entry has counted the stream in a record; that is closed by whoever takes the last holder away.
 *
 *   nr >= the processes of the family that have the stream open
 *
 * also where one is killed between two of the steps below: a stream that is taken for shared is left
 * alone, and nothing else comes of it. A passed one (SCM_RIGHTS, or open over an exec) stays so.
 *
 * An entry is named by 1 + its index; the caller keeps that in memory of its own, with the cookie
 * that tells whether the entry is still the stream's.
 * Threads: any. Signals: safe. */
#include "count/region.h"

/* An entry whose one holder is this process. 0: none left, or this process has no slot. */
uint32_t holder_make(struct record *rec, uint64_t cookie);

/* The process of `slot` is about to have it open too. */
void holder_add(uint32_t holder, uint64_t cookie, uint32_t slot);

/* This process alone has it. */
bool holder_alone(uint32_t holder, uint64_t cookie);

/* Others, of whom nobody knows, have it from now on. One store: also from a vfork child. */
void holder_pass(uint32_t holder, uint64_t cookie);
bool holder_passed(uint32_t holder, uint64_t cookie);

/* Ends those of its holders that are no more; some system calls each, so now and then only. */
void holder_reap(uint32_t holder, uint64_t cookie);

/* This process has closed it, or is about to. `tid`: the caller's thread. */
void holder_leave(uint32_t holder, uint64_t cookie, uint32_t tid);

/* The process of the slot is no more: it holds nothing. */
void holder_end(uint32_t slot, uint32_t tid);

/* Its process is gone, others have it open still. */
bool holder_keeps(const struct record *rec);
#endif
