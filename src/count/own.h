#ifndef WEIR_COUNT_OWN_H
#define WEIR_COUNT_OWN_H
/* count/own: what the count floor knows of its own process; only this floor includes it.
 *
 * It lies on pages that a fork wipes: a child neither reuses its parent's records or slot
 * nor finds the lock taken. The indexes in here are the only ones that are used; what the
 * region says is never taken for one. */
#include "base/lock.h"
#include "base/relaxed.h"
#include "count/region.h"
#include <stdbool.h>
#include <stdint.h>

enum { RING = 4096, BATCH = 32 };

/* A search that finds nothing goes through all there is: not again for this long. */
enum { SCAN_PAUSE_NS = 1000000000 };

/* Where a role's next records come from. */
struct spare {
	uint32_t ring_first, ring_nr; /* records this process closed, oldest first */
	uint32_t batch_nr;            /* records that a scan claimed for this process */
	int64_t scan_ns;              /* not before; scans that find nothing are dear */
	uint32_t batch[BATCH];
	uint32_t ring[RING];
};

struct own {
	struct lock lock;
	uint32_t slot; /* A: 1 + our member slot; BORN_WITHOUT_SLOT: none; 0 untried */
	uint32_t slot_claims;         /* the slot's count of claims when we took it */
	uint32_t joined;              /* A */
	uint32_t unseen;              /* of the slot, as far as we know */
	uint64_t pid_ns;              /* number of our pid namespace; 0 unknown */
	int64_t tally_ns;             /* A: not to look for a free tally before */
	uint32_t hand;                /* L: where the next scan begins */
	uint32_t holder_hand;         /* the same of holders */
	int64_t holder_reap_ns;       /* A: not to look before for those that ended */
	int64_t slots_full_ns;        /* A: when all slots were taken */
	struct spare spare[NR_ROLES]; /* L */
};

extern struct own *own; /* C: once region_init() has answered true */

/* Nobody by that number is left, so what it owned in the region may be handed on. Only asked
 * when nothing else is free; a killed process gives nothing back by itself. */
bool pid_gone(uint32_t pid);

/* A high-water mark: it is `to` at least. */
void mark_raise(uint32_t *mark, uint32_t to);

/* The number of our pid namespace; 0: /proc is not to be had, so nobody can tell. */
uint64_t pid_namespace(void);

/* Gone, or a child of ours that nobody has waited for. Without a descriptor: all of them are the
 * application's. */
bool pid_ended(uint32_t pid);

/* The file with the members' locks, by its number in this thread's table; -1: there is none. */
int lock_fd(void);

/* The slot's process, by its lock or else by its number, is no more; `fd` is from lock_fd(). Ours never
 * is: a lock does not show to its own process. */
bool has_ended(const struct member *m, uint32_t slot, uint32_t pid, int fd);

/* Takes the lock of our slot, if there is a file and it is not held. */
void lock_slot(struct region *region);

/* Our slot, if we have one and it has no new owner. */
struct member *slot_of_ours(struct region *region);

/* One compare-and-swap; true: ours. */
bool word_claim(uint32_t *word, uint32_t from, uint32_t to);

/* A snapshot copies a record while its writer may begin to use it again, and then looks
 * whether that happened. ThreadSanitizer knows neither such fences nor that the copy is
 * thrown away: it is told to look elsewhere. */
#ifdef WEIR_TSAN
#define UNSYNCED __attribute__((no_sanitize("thread"), noinline))
static inline void
record_fence(void)
{
}
#else
#define UNSYNCED
static inline void
record_fence(void)
{
	fence_full();
}
#endif

/* The process leaves: records claimed but unused become free for the others. */
void record_give_back(void);
#endif
