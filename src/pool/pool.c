#include "pool/pool.h"

#include "base/config.h"
#include "base/lock.h"
#include "base/relaxed.h"
#include "base/sys.h"
#include "count/member.h"

/* A slab is one mapping, aligned to SLAB_SPAN, so that a chunk's address tells its slab:
 *
 *   | struct slab, one page | chunk 0 | chunk 1 | ... |     every chunk begins within SLAB_SPAN
 *
 * 256 KiB: large enough that a busy server maps seldom (7 chunks of 32 KiB a slab), small
 * enough that a quiet one finds whole slabs free. Tiers from 128 KiB up have one chunk a slab. */
#define SLAB_SPAN ((size_t)256 << 10)
#define SLAB_HEAD ((size_t)4096)

struct slab {
	struct slab *next;
	uint32_t nr;      /* C: chunks it has room for; 0: a fork has wiped it */
	uint32_t cut;     /* L: chunks made of it so far */
	uint32_t nr_free; /* L: while release_free() runs */
	bool leaving;     /* L: likewise */
};

/* A free chunk's first bytes are the link of the list it is on. */
struct free_chunk {
	struct free_chunk *next;
};

struct tier {
	struct free_chunk *free;     /* L */
	struct slab *slabs;          /* L: only the first may have room left */
	uint64_t buffers;            /* L: the truth; the region's copy is only shown */
	struct free_chunk *deferred; /* A: put by those that could not have the lock */
	bool dirty; /* L: put to since release_free() last found nothing */
};

/* Reached through a pointer and not a static object, because wiping needs whole pages, and how
 * large a page is only the kernel knows. */
struct pool {
	struct lock lock;
	bool taken; /* L: the shared lists were used since the last trim */
	struct tier tier[NR_TIERS];
};
static struct pool *the_pool; /* C once set */

unsigned
tier_for(size_t len)
{
	unsigned tier = 0;

	while (tier < NR_TIERS - 1 && tier_size(tier) < len)
		tier++;
	return tier;
}

/* Memory that is inherited by a child is none that two processes should write from. */
static void *
map_wiped(size_t len)
{
	void *p = sys_map(len, 0);

	if (p != NULL && sys_wipe_on_fork(p, len) < 0) {
		sys_unmap(p, len);
		p = NULL;
	}
	if (p == NULL)
		count_internal(INTERNAL_MEMORY);
	return p;
}

static struct pool *
pool_here(void)
{
	struct pool *pool = __atomic_load_n(&the_pool, __ATOMIC_ACQUIRE);
	struct pool *fresh;

	if (pool != NULL)
		return pool;
	fresh = map_wiped(sizeof(*fresh));
	if (fresh == NULL)
		return NULL;
	/* Another thread or a handler may have been first: then theirs is the pool. */
	if (__atomic_compare_exchange_n(&the_pool, &pool, fresh, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return fresh;
	sys_unmap(fresh, sizeof(*fresh));
	return pool;
}

static struct slab *
slab_of(const void *chunk)
{
	return (struct slab *)((uintptr_t)chunk & ~(SLAB_SPAN - 1));
}

/* ---- counts that are shown ---- */

static struct pool_count *
shown(unsigned tier)
{
	return &region_member()->pool[tier];
}

static void
count_in_use(struct pool_count *count)
{
	uint64_t now = __atomic_add_fetch(&count->in_use, 1, __ATOMIC_RELAXED);
	uint64_t peak = __atomic_load_n(&count->peak, __ATOMIC_RELAXED);

	while (peak < now &&
	       !__atomic_compare_exchange_n(&count->peak, &peak, now, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void
add_buffers(struct tier *t, unsigned tier, int64_t n)
{
	t->buffers += (uint64_t)n;
	count_add(&shown(tier)->buffers, (uint64_t)n);
}

/* ---- the caller's cache: one atomic exchange a slot, so that a handler of the same thread
 * that comes between two instructions takes or fills the slot wholly or not at all ---- */

static unsigned
cache_slots(unsigned tier)
{
	size_t fit = ((size_t)128 << 10) / tier_size(tier);

	return fit == 0 ? 1 : fit < POOL_CACHED ? (unsigned)fit : POOL_CACHED;
}

/* A chunk of the parent's, in a cache that a fork copied, is passed over. */
static char *
cache_take(struct pool_cache *cache, unsigned tier)
{
	for (unsigned i = cache_slots(tier); i-- > 0;) {
		char **slot = &cache->chunk[tier][i];
		char *chunk = NULL;

		if (__atomic_load_n(slot, __ATOMIC_RELAXED) != NULL)
			chunk = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQUIRE);
		if (chunk != NULL && slab_of(chunk)->nr != 0)
			return chunk;
	}
	return NULL;
}

static bool
cache_keep(struct pool_cache *cache, unsigned tier, char *chunk)
{
	for (unsigned i = 0; i < cache_slots(tier); i++) {
		char *empty = NULL;

		if (__atomic_compare_exchange_n(&cache->chunk[tier][i], &empty, chunk,
						false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return true;
	}
	return false;
}

/* ---- slabs; all of this under the lock ---- */

static size_t
slab_len(uint32_t nr, unsigned tier)
{
	return SLAB_HEAD + nr * tier_size(tier);
}

/* Whole pages of whatever size: 64 KiB is the largest there is. */
static size_t
mapped_len(uint32_t nr, unsigned tier)
{
	return (slab_len(nr, tier) + 0xffff) & ~(size_t)0xffff;
}

/* Maps more than it needs and unmaps what lies outside the aligned part. */
static struct slab *
slab_new(unsigned tier)
{
	size_t fit = (SLAB_SPAN - SLAB_HEAD) / tier_size(tier);
	uint32_t nr = fit > 0 ? (uint32_t)fit : 1;
	size_t len = mapped_len(nr, tier);
	char *raw = map_wiped(len + SLAB_SPAN);
	struct slab *slab;
	size_t before;

	if (raw == NULL)
		return NULL;
	before = -(uintptr_t)raw & (SLAB_SPAN - 1);
	slab = (struct slab *)(raw + before);
	if (before > 0)
		sys_unmap(raw, before);
	sys_unmap((char *)slab + len, SLAB_SPAN - before);
	slab->nr = nr;
	return slab;
}

static void
slabs_unmap(struct slab *slabs, unsigned tier)
{
	while (slabs != NULL) {
		struct slab *next = slabs->next;

		sys_unmap(slabs, mapped_len(slabs->nr, tier));
		slabs = next;
	}
}

/* Chooses slabs of which every chunk is on the free list, up to `want` bytes of buffers. The
 * free chunks of each are counted here, and not as they come and go, because a count of its
 * own would go wrong for good when a handler jumps out between it and the list. */
static bool
choose_leaving(struct tier *t, unsigned tier, uint64_t want)
{
	uint64_t chosen = 0;

	for (struct slab *s = t->slabs; s != NULL; s = s->next) {
		s->nr_free = 0;
		s->leaving = false;
	}
	for (struct free_chunk *c = t->free; c != NULL; c = c->next)
		slab_of(c)->nr_free++;
	for (struct slab *s = t->slabs; s != NULL && chosen < want; s = s->next) {
		s->leaving = s->nr_free == s->cut;
		if (s->leaving)
			chosen += s->cut * tier_size(tier);
	}
	/* Less than wanted: there are no more. */
	if (chosen < want)
		relaxed_set(t->dirty, false);
	return chosen > 0;
}

/* Takes wholly free slabs of a tier, about `want` bytes, out of the pool and returns them, to
 * be unmapped. */
static struct slab *
release_free(struct tier *t, unsigned tier, uint64_t want)
{
	struct slab *gone = NULL;

	if (!t->dirty || t->free == NULL || !choose_leaving(t, tier, want))
		return NULL;
	for (struct free_chunk **link = &t->free; *link != NULL;)
		if (slab_of(*link)->leaving)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	for (struct slab **link = &t->slabs; *link != NULL;) {
		struct slab *s = *link;

		if (!s->leaving) {
			link = &s->next;
			continue;
		}
		*link = s->next;
		/* Off the one list before it is on the other, whoever jumps out between. */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		add_buffers(t, tier, -(int64_t)s->cut);
		s->next = gone;
		gone = s;
	}
	return gone;
}

static uint64_t
bytes_left(const struct pool *pool)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < NR_TIERS; i++)
		bytes += pool->tier[i].buffers * tier_size(i);
	return bytes < config->pool_max ? config->pool_max - bytes : 0;
}

/* Is there room for one more buffer below the cap? Other tiers give what they have free. */
static bool
make_room(struct pool *pool, unsigned tier)
{
	size_t size = tier_size(tier);

	for (unsigned i = 0; i < NR_TIERS && bytes_left(pool) < size; i++)
		if (i != tier)
			slabs_unmap(release_free(&pool->tier[i], i, size), i);
	return bytes_left(pool) >= size;
}

static char *
cut(struct tier *t, unsigned tier)
{
	struct slab *slab = t->slabs;

	if (slab == NULL || slab->cut == slab->nr) {
		slab = slab_new(tier);
		if (slab == NULL)
			return NULL;
		slab->next = t->slabs;
		/* Release, here and below: no compiler may put the link before the rest. */
		__atomic_store_n(&t->slabs, slab, __ATOMIC_RELEASE);
	}
	add_buffers(t, tier, 1);
	return (char *)slab + slab_len(slab->cut++, tier);
}

/* ---- the shared lists ---- */

static void
list_push(struct tier *t, char *chunk)
{
	struct free_chunk *c = (struct free_chunk *)chunk;

	c->next = t->free;
	/* The link first: one store puts a whole chunk on the list. */
	__atomic_store_n(&t->free, c, __ATOMIC_RELEASE);
	relaxed_set(t->dirty, true);
}

/* What a put does once it has the lock. */
static void
put_locked(struct tier *t, unsigned tier, char *chunk)
{
	if (config->pool_enabled) {
		list_push(t, chunk);
		return;
	}
	sys_unmap(chunk, tier_size(tier));
	if (t->buffers > 0) /* 0: the chunk is from before a fork */
		add_buffers(t, tier, -1);
}

static void
defer(struct tier *t, char *chunk)
{
	struct free_chunk *c = (struct free_chunk *)chunk;

	c->next = __atomic_load_n(&t->deferred, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&t->deferred, &c->next, c, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/* Anybody may add to the deferred ones, but only who holds the lock takes off, so it may read the link
 * of the first one; another may come before the exchange, and then that fails. */
static void
settle_deferred(struct pool *pool)
{
	for (unsigned i = 0; i < NR_TIERS; i++) {
		struct tier *t = &pool->tier[i];
		struct free_chunk *c = __atomic_load_n(&t->deferred, __ATOMIC_ACQUIRE);

		while (c != NULL)
			if (__atomic_compare_exchange_n(&t->deferred, &c, c->next,
							false, __ATOMIC_ACQUIRE,
							__ATOMIC_ACQUIRE)) {
				put_locked(t, i, (char *)c);
				c = __atomic_load_n(&t->deferred, __ATOMIC_ACQUIRE);
			}
	}
}

/* A buffer made: mapped for itself alone where pooling is off. */
static char *
make(struct tier *t, unsigned tier)
{
	char *chunk;

	if (config->pool_enabled)
		return cut(t, tier);
	chunk = map_wiped(tier_size(tier));
	if (chunk != NULL)
		add_buffers(t, tier, 1);
	return chunk;
}

static char *
get_shared(struct pool *pool, unsigned tier, uint32_t tid)
{
	struct tier *t = &pool->tier[tier];
	struct free_chunk *c;
	char *chunk;

	if (!lock_take_soon(&pool->lock, tid))
		return NULL;
	settle_deferred(pool);
	pool->taken = true;
	c = t->free;
	chunk = (char *)c;
	if (c != NULL) {
		__atomic_store_n(&t->free, c->next, __ATOMIC_RELAXED);
		count_add(&shown(tier)->hits, 1);
	} else if (!make_room(pool, tier)) {
		count_add(&shown(tier)->exhausted, 1);
	} else {
		chunk = make(t, tier);
		if (chunk != NULL)
			count_add(&shown(tier)->misses, 1);
	}
	lock_give(&pool->lock);
	return chunk;
}

static void
put_shared(struct pool *pool, unsigned tier, char *chunk, uint32_t tid)
{
	struct tier *t = &pool->tier[tier];

	if (!lock_take_soon(&pool->lock, tid)) {
		defer(t, chunk);
		return;
	}
	put_locked(t, tier, chunk);
	settle_deferred(pool);
	lock_give(&pool->lock);
}

/* ---- what others call ---- */

char *
pool_get(unsigned tier, struct pool_cache *cache, uint32_t tid)
{
	struct pool *pool = pool_here();
	char *chunk = NULL;

	if (pool == NULL)
		return NULL;
	if (cache != NULL && config->pool_enabled)
		chunk = cache_take(cache, tier);
	if (chunk != NULL)
		count_add(&shown(tier)->hits, 1);
	else
		chunk = get_shared(pool, tier, tid);
	if (chunk != NULL)
		count_in_use(shown(tier));
	return chunk;
}

void
pool_put(char *chunk, unsigned tier, struct pool_cache *cache, uint32_t tid)
{
	struct pool *pool = pool_here();

	if (pool == NULL || (config->pool_enabled && slab_of(chunk)->nr == 0))
		return; /* the parent's */
	count_add(&shown(tier)->in_use, (uint64_t)-1);
	if (cache != NULL && config->pool_enabled && cache_keep(cache, tier, chunk))
		return;
	put_shared(pool, tier, chunk, tid);
}

void
pool_drain(struct pool_cache *cache, uint32_t tid)
{
	struct pool *pool = pool_here();
	char *chunk;

	if (pool == NULL)
		return;
	for (unsigned tier = 0; tier < NR_TIERS; tier++)
		while ((chunk = cache_take(cache, tier)) != NULL)
			put_shared(pool, tier, chunk, tid);
}

void
pool_trim(uint32_t tid)
{
	struct pool *pool = __atomic_load_n(&the_pool, __ATOMIC_ACQUIRE);
	struct slab *gone[NR_TIERS] = { NULL };

	if (pool == NULL || !lock_take_soon(&pool->lock, tid))
		return;
	settle_deferred(pool);
	if (!pool->taken)
		for (unsigned i = 0; i < NR_TIERS; i++)
			gone[i] = release_free(&pool->tier[i], i, UINT64_MAX);
	pool->taken = false;
	lock_give(&pool->lock);
	/* Unmapping a thousand slabs takes milliseconds: not while others wait for the lock. */
	for (unsigned i = 0; i < NR_TIERS; i++)
		slabs_unmap(gone[i], i);
}

bool
pool_has_free(void)
{
	struct pool *pool = __atomic_load_n(&the_pool, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; pool != NULL && i < NR_TIERS; i++) {
		struct tier *t = &pool->tier[i];

		if (__atomic_load_n(&t->deferred, __ATOMIC_RELAXED) != NULL ||
		    (__atomic_load_n(&t->dirty, __ATOMIC_RELAXED) &&
		     __atomic_load_n(&t->free, __ATOMIC_RELAXED) != NULL))
			return true;
	}
	return false;
}

void
pool_jumped(uint32_t tid)
{
	struct pool *pool = __atomic_load_n(&the_pool, __ATOMIC_ACQUIRE);

	if (pool != NULL && __atomic_load_n(&pool->lock.word, __ATOMIC_RELAXED) == tid)
		lock_give(&pool->lock);
}
