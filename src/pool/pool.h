#ifndef WEIR_POOL_POOL_H
#define WEIR_POOL_POOL_H
/* pool/pool: chunk buffers in nine tiers, 4 KiB << tier, so 4 KiB to 1 MiB.
 *
 * Owns every buffer of the process. A get looks in the caller's cache, then in the shared
 * list of the tier under one lock, then makes a buffer: cuts it off a slab fresh from mmap.
 * A cache belongs to one thread (its struct pool_cache lies in the thread's record). With
 * STREAM_BUFFER_POOL_ENABLED=0 each get maps and each put unmaps.
 *
 * Invariant, per tier: buffers = in use + free, where free includes the caches;
 * sum over tiers of buffers * size <= config->pool_max, always. What of a slab has not been
 * cut yet is address space without memory, and no buffer. At the cap, free slabs of other
 * tiers go before a get is refused.
 *
 * Counts, in count/region.h's member slot: a get adds one to hits (served from a cache or a
 * list), misses (a buffer was made) or exhausted (refused at the cap), so traffic that
 * allocates nothing leaves misses as they are. A get that failed for want of memory is an
 * internal error, one refused to a handler is counted nowhere.
 *
 * Everything the pool knows lies on pages that a fork wipes: a child starts with an empty
 * pool of its own, and a chunk of its parent's that it puts is ignored. Contents of a buffer
 * are not cleared. Chunks are aligned to 4 KiB.
 *
 * Threads: any. Signals: safe. Nobody waits long for the pool's own lock: who gets and puts holds a
 * stream's lock, and a handler that interrupted the pool's holder may be waiting for that. So
 * who cannot have it soon, such a handler first of all, gets NULL from pool_get(), and what it
 * puts waits for the next section. A handler that left the lock by siglongjmp
 * leaves the lists whole (at most the one chunk under way stays counted as in use) and the
 * lock held: see pool_jumped(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NR_TIERS = 9, POOL_CACHED = 4 };

static inline size_t
tier_size(unsigned tier)
{
	return (size_t)4096 << tier;
}

unsigned tier_for(size_t len); /* smallest tier that holds len; NR_TIERS - 1 at most */

/* O: its thread. Zeroed memory is a valid, empty cache. It holds at most 128 KiB a tier, or
 * one chunk where that is larger. */
struct pool_cache {
	char *chunk[NR_TIERS][POOL_CACHED];
};

/* A buffer of tier_size(tier) bytes, uninitialised; NULL at the cap or without memory (no
 * error: the caller passes through). `cache` may be NULL. `tid` is the caller's thread. */
char *pool_get(unsigned tier, struct pool_cache *cache, uint32_t tid);
void pool_put(char *chunk, unsigned tier, struct pool_cache *cache, uint32_t tid);
void pool_drain(struct pool_cache *cache, uint32_t tid); /* a thread ends */

/* Hands free slabs back to the kernel when no buffer was taken from the shared lists since
 * the last call; nothing where the lock is not to be had soon. The keeper calls it about once a second. */
void pool_trim(uint32_t tid);

/* True while the next trim may have something to hand back: a chunk was put on a shared list
 * since a trim last found nothing. False means that trims can stop. */
bool pool_has_free(void);

/* Thread `tid` is about to jump out of whatever it was doing: a section of the pool that it
 * abandons is given up. */
void pool_jumped(uint32_t tid);
#endif
