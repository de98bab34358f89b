#include "count/holder.h"
#include "base/sys.h"
#include "count/member.h"
#include "count/own.h"

/* How many entries are looked at for a free one before a fresh one is taken, and where all were
 * used. */
enum { LOOK_FIRST = 8, LOOK_LONG = 256 };

/* Holders that do not answer for themselves are looked at so often at most. */
enum { REAP_NS = 10000000 };

/* NULL: it is not that stream's, or not any more. */
static struct holder *
entry(uint32_t holder, uint64_t cookie)
{
	struct region *region = region_get();
	struct holder *h;

	if (!region || holder - 1 >= NR_HOLDERS)
		return NULL;
	h = &region->holders[holder - 1];
	return __atomic_load_n(&h->used, __ATOMIC_ACQUIRE) && h->cookie == cookie
		       ? h
		       : NULL;
}

static bool
take_free(struct region *region, uint32_t used, uint32_t tries, uint32_t *index)
{
	for (uint32_t i = 0; used && i < tries && i < used; i++) {
		*index = own->holder_hand++ % used;
		if (word_claim(&region->holders[*index].used, 0, 1))
			return true;
	}
	return false;
}

static bool
take(struct region *region, uint32_t *index)
{
	uint32_t used = __atomic_load_n(&region->holders_used, __ATOMIC_RELAXED);

	if (used > NR_HOLDERS)
		used = NR_HOLDERS;
	if (take_free(region, used, LOOK_FIRST, index))
		return true;
	for (*index = used; *index < NR_HOLDERS; ++*index)
		if (word_claim(&region->holders[*index].used, 0, 1)) {
			mark_raise(&region->holders_used, *index + 1);
			return true;
		}
	return take_free(region, NR_HOLDERS, LOOK_LONG, index);
}

static uint64_t
bit(uint32_t slot)
{
	return UINT64_C(1) << slot % 64;
}

/* The count first: who is killed in between has counted one too many. */
static void
add(struct region *region, struct holder *h, uint32_t slot)
{
	if (__atomic_load_n(&h->slots[slot / 64], __ATOMIC_RELAXED) & bit(slot))
		return;
	__atomic_fetch_add(&h->nr, 1, __ATOMIC_SEQ_CST);
	count_add(&region->members[slot].holds, 1);
	__atomic_fetch_or(&h->slots[slot / 64], bit(slot), __ATOMIC_SEQ_CST);
}

/* Nobody has the stream any more. */
static void
close_stream(struct region *region, struct holder *h, uint32_t tid)
{
	/* Read once: a hostile member may store another after we looked whether it is one. */
	uint32_t index = __atomic_load_n(&h->record, __ATOMIC_RELAXED);
	struct record *rec =
		index < region_nr_records() ? &region->records[index] : NULL;

	if (rec && rec->cookie == h->cookie &&
	    rec->holder == (uint32_t)(h - region->holders) + 1 &&
	    __atomic_load_n(&rec->state, __ATOMIC_ACQUIRE) == RECORD_OPEN) {
		record_end_stalls(rec);
		region_close(rec, sys_now_ns(), tid);
	}
	__atomic_store_n(&h->used, 0, __ATOMIC_RELEASE);
}

/* The bit first, for the same reason. True: the slot held it. */
static bool
drop(struct region *region, struct holder *h, uint32_t slot, uint32_t tid)
{
	uint64_t was =
		__atomic_fetch_and(&h->slots[slot / 64], ~bit(slot), __ATOMIC_SEQ_CST);

	if (!(was & bit(slot)))
		return false;
	count_add(&region->members[slot].holds, (uint64_t)-1);
	if (__atomic_fetch_sub(&h->nr, 1, __ATOMIC_SEQ_CST) == 1)
		close_stream(region, h, tid);
	return true;
}

uint32_t
holder_make(struct record *rec, uint64_t cookie)
{
	struct region *region = region_get();
	int slot = region_slot();
	struct holder *h;
	uint32_t index;

	if (!region || slot < 0 || !cookie || !take(region, &index))
		return 0;
	h = &region->holders[index];
	h->cookie = cookie;
	h->record = (uint32_t)(rec - region->records);
	h->passed = 0;
	__atomic_store_n(&h->nr, 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < NR_MEMBERS / 64; i++)
		__atomic_store_n(&h->slots[i], 0, __ATOMIC_RELAXED);
	add(region, h, (uint32_t)slot);
	/* Release: who follows it from the record finds it filled in. */
	__atomic_store_n(&rec->holder, index + 1, __ATOMIC_RELEASE);
	return index + 1;
}

void
holder_add(uint32_t holder, uint64_t cookie, uint32_t slot)
{
	struct holder *h = entry(holder, cookie);

	if (h && slot < NR_MEMBERS)
		add(region_get(), h, slot);
}

bool
holder_alone(uint32_t holder, uint64_t cookie)
{
	const struct holder *h = entry(holder, cookie);
	int slot = region_slot();

	return h && slot >= 0 && !__atomic_load_n(&h->passed, __ATOMIC_SEQ_CST) &&
	       __atomic_load_n(&h->nr, __ATOMIC_SEQ_CST) == 1 &&
	       __atomic_load_n(&h->slots[slot / 64], __ATOMIC_SEQ_CST) &
		       bit((uint32_t)slot);
}

void
holder_pass(uint32_t holder, uint64_t cookie)
{
	struct holder *h = entry(holder, cookie);

	if (h)
		__atomic_store_n(&h->passed, 1, __ATOMIC_SEQ_CST);
}

bool
holder_passed(uint32_t holder, uint64_t cookie)
{
	const struct holder *h = entry(holder, cookie);

	return !h || __atomic_load_n(&h->passed, __ATOMIC_SEQ_CST);
}

void
holder_reap(uint32_t holder, uint64_t cookie)
{
	const struct holder *h = entry(holder, cookie);
	int64_t now = sys_now_ns();
	uint64_t slots[NR_MEMBERS / 64];

	if (!h || now < __atomic_load_n(&own->holder_reap_ns, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&own->holder_reap_ns, now + REAP_NS, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < NR_MEMBERS / 64; i++)
		slots[i] = __atomic_load_n(&h->slots[i], __ATOMIC_RELAXED);
	region_reap_these(slots);
}

void
holder_leave(uint32_t holder, uint64_t cookie, uint32_t tid)
{
	struct holder *h = entry(holder, cookie);
	int slot = region_slot();

	if (h && slot >= 0)
		drop(region_get(), h, (uint32_t)slot, tid);
}

void
holder_end(uint32_t slot, uint32_t tid)
{
	struct region *region = region_get();
	uint64_t *holds = &region->members[slot].holds;
	uint32_t used = __atomic_load_n(&region->holders_used, __ATOMIC_RELAXED);

	if (used > NR_HOLDERS)
		used = NR_HOLDERS;
	for (uint32_t i = 0; i < used && __atomic_load_n(holds, __ATOMIC_RELAXED); i++)
		if (__atomic_load_n(&region->holders[i].slots[slot / 64],
				    __ATOMIC_RELAXED) &
		    bit(slot))
			drop(region, &region->holders[i], slot, tid);
	__atomic_store_n(holds, 0, __ATOMIC_RELAXED);
}

bool
holder_keeps(const struct record *rec)
{
	struct region *region = region_get();
	uint32_t holder = __atomic_load_n(&rec->holder, __ATOMIC_ACQUIRE);
	const struct holder *h;

	if (holder - 1 >= NR_HOLDERS)
		return false;
	h = &region->holders[holder - 1];
	return __atomic_load_n(&h->used, __ATOMIC_ACQUIRE) &&
	       h->record == (uint32_t)(rec - region->records) &&
	       h->cookie == rec->cookie &&
	       __atomic_load_n(&h->nr, __ATOMIC_RELAXED) != 0;
}
