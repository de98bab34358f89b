/* Taking and giving back the region's records: see region.h. */
#include "base/sys.h"
#include "count/own.h"
#include "count/region.h"

/* While a record is claimed or opening, its state word also names the process that has it:
 * if that dies, the record is not lost. */
static uint32_t
state_of(enum record_state state, uint32_t pid)
{
	return (uint32_t)state | pid << RECORD_STATE_BITS;
}

/* A record below `end` that was never used; nr: none is left. */
static uint32_t
take_fresh(struct region *region, uint32_t end, uint32_t nr)
{
	uint32_t used = __atomic_load_n(&region->records_used, __ATOMIC_RELAXED);

	while (used < end)
		if (__atomic_compare_exchange_n(&region->records_used, &used, used + 1,
						true, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return used;
	return nr;
}

static bool
long_closed(struct region *region, uint32_t index)
{
	uint64_t closes = __atomic_load_n(&region->totals.closes, __ATOMIC_RELAXED);

	return closes - region->records[index].closed_seq >= KEPT_CLOSED;
}

static bool
claim_closed(struct record *rec)
{
	return word_claim(&rec->state, RECORD_CLOSED,
			  state_of(RECORD_CLAIMED, (uint32_t)sys_getpid()));
}

/* Our own oldest closed record, if it was closed long ago or `any` will do. Entries that
 * another process's scan has taken meanwhile are dropped. */
static uint32_t
take_ring(struct region *region, struct spare *spare, uint32_t nr, bool any)
{
	while (spare->ring_nr) {
		uint32_t index = spare->ring[spare->ring_first % RING];
		struct record *rec = &region->records[index];
		uint32_t state = __atomic_load_n(&rec->state, __ATOMIC_ACQUIRE);

		if (state == RECORD_CLOSED && !any && !long_closed(region, index))
			break;
		spare->ring_first++;
		spare->ring_nr--;
		if (claim_closed(rec))
			return index;
	}
	return nr;
}

/* One round over the records for closed ones, whoever closed them. */
static uint32_t
scan_closed(struct region *region, enum role role, uint32_t nr, bool any)
{
	struct spare *spare = &own->spare[role];
	uint32_t want = any ? 1 : BATCH;

	for (uint32_t seen = 0; seen < nr && spare->batch_nr < want; seen++) {
		uint32_t index = own->hand++ % nr;
		struct record *rec = &region->records[index];

		if (__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE) != RECORD_CLOSED ||
		    rec->role != role)
			continue;
		if ((any || long_closed(region, index)) && claim_closed(rec))
			spare->batch[spare->batch_nr++] = index;
	}
	return spare->batch_nr ? spare->batch[--spare->batch_nr] : nr;
}

/* One round for a record that a process had when it was killed. */
static uint32_t
scan_dead(struct region *region, enum role role, uint32_t nr)
{
	uint32_t me = (uint32_t)sys_getpid(), alive = me;

	for (uint32_t seen = 0; seen < nr; seen++) {
		uint32_t index = own->hand++ % nr;
		struct record *rec = &region->records[index];
		uint32_t state = __atomic_load_n(&rec->state, __ATOMIC_ACQUIRE);
		uint32_t pid = state == RECORD_OPEN ? (uint32_t)rec->pid
						    : state >> RECORD_STATE_BITS;

		if (!pid || pid == alive || rec->role != role)
			continue;
		alive = pid;
		if (pid_gone(pid) &&
		    word_claim(&rec->state, state, state_of(RECORD_CLAIMED, me)))
			return index;
	}
	return nr;
}

/* A record stays with one role for ever, so that totals by role are sums over records. The
 * last sixteenth of the fresh ones is for the role that finds nothing to use again. */
static uint32_t
take(struct region *region, enum role role, uint32_t nr)
{
	struct spare *spare = &own->spare[role];
	uint32_t index = take_fresh(region, nr - nr / 16, nr);
	bool may_scan;

	if (index == nr)
		index = take_ring(region, spare, nr, false);
	if (index == nr && spare->batch_nr)
		index = spare->batch[--spare->batch_nr];
	if (index < nr)
		return index;
	may_scan = sys_now_ns() >= spare->scan_ns;
	if (may_scan) {
		index = scan_closed(region, role, nr, false);
		if (index < nr)
			return index;
		spare->scan_ns = sys_now_ns() + SCAN_PAUSE_NS;
	}
	index = take_fresh(region, nr, nr);
	if (index == nr)
		index = take_ring(region, spare, nr, true);
	if (index == nr && may_scan)
		index = scan_closed(region, role, nr, true);
	if (index == nr && may_scan)
		index = scan_dead(region, role, nr);
	return index;
}

UNSYNCED static void
prepare(struct record *rec, enum role role)
{
	int pid = sys_getpid();

	__atomic_store_n(&rec->state, state_of(RECORD_OPENING, (uint32_t)pid),
			 __ATOMIC_RELEASE);
	/* A snapshot that reads any of what follows must see the state above as well. */
	record_fence();
	for (int d = 0; d < NR_DIRS; d++) {
		__atomic_store_n(&rec->rare[d].stall_since_ns, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&rec->rare[d].running_ns, 0, __ATOMIC_RELAXED);
		rec->flow_at_open[d] = rec->flow[d];
		rec->rare_at_open[d] = rec->rare[d];
		rec->chunk[d] = 0;
	}
	__atomic_store_n(&rec->pid, pid, __ATOMIC_RELAXED);
	rec->fd = -1;
	__atomic_store_n(&rec->role, (uint8_t)role, __ATOMIC_RELAXED);
	rec->family = rec->mode = rec->bypass = rec->blocked = rec->again = 0;
	__atomic_store_n(&rec->holder, 0, __ATOMIC_RELAXED);
	rec->cookie = rec->inode = 0;
	rec->closed_ns = rec->closed_seq = 0;
	__atomic_store_n(&rec->waiting_ns, 0, __ATOMIC_RELAXED);
	rec->opened_ns = (uint64_t)sys_now_ns();
	rec->local.len = rec->peer.len = 0;
}

struct record *
region_open(enum role role, uint32_t tid)
{
	struct region *region = region_get();
	uint32_t nr = region_nr_records(), index;

	if (!region || !lock_take(&own->lock, tid))
		return NULL;
	index = take(region, role, nr);
	lock_give(&own->lock);
	if (index == nr)
		return NULL;
	prepare(&region->records[index], role);
	return &region->records[index];
}

void
region_publish(struct record *rec)
{
	struct region *region = region_get();

	if (!rec->again)
		count_add(&region->totals.opened[rec->role % NR_ROLES], 1);
	/* Pairs with the snapshot's acquire: who sees OPEN sees the identity. */
	__atomic_store_n(&rec->state, RECORD_OPEN, __ATOMIC_RELEASE);
}

void
record_no_stall(struct record *rec)
{
	__atomic_store_n(&rec->rare[SENT].stall_since_ns, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&rec->rare[SENT].running_ns, 0, __ATOMIC_SEQ_CST);
}

/* Nobody knows when its process ended: a running episode lasted as long as was known or shown. What
 * has no cause then never gets one. */
void
record_end_stalls(struct record *rec)
{
	struct flow_rare *rare = &rec->rare[SENT];
	uint64_t given = 0;

	if (count_load(&rare->stall_since_ns)) {
		count_episode(count_running(rec, 0));
		record_no_stall(rec);
	}
	for (int i = 0; i < NR_CAUSES; i++)
		given += count_load(&rare->cause_ns[i]);
	count_add(&rare->cause_ns[CAUSE_UNKNOWN],
		  count_less(count_load(&rare->stall_ns), given));
}

void
region_close(struct record *rec, int64_t now_ns, uint32_t tid)
{
	struct region *region = region_get();
	struct totals *totals = &region->totals;
	struct spare *spare = &own->spare[rec->role % NR_ROLES];
	uint64_t now = (uint64_t)now_ns;
	uint64_t age = now > rec->opened_ns ? now - rec->opened_ns : 0;

	/* Its process and the last of its holders may come at the same moment. */
	if (!word_claim(&rec->state, RECORD_OPEN,
			state_of(RECORD_CLAIMED, (uint32_t)sys_getpid())))
		return;
	__atomic_store_n(&rec->closed_ns, now, __ATOMIC_RELAXED);
	__atomic_store_n(&rec->closed_seq,
			 __atomic_add_fetch(&totals->closes, 1, __ATOMIC_RELAXED),
			 __ATOMIC_RELAXED);
	if (!rec->again) {
		count_add(&totals->age[bucket_ns(age_bounds_ns, NR_AGE_BOUNDS, age)], 1);
		count_add(&totals->age_ns, age);
		count_add(&totals->closed[rec->role % NR_ROLES], 1);
	}
	__atomic_store_n(&rec->state, RECORD_CLOSED, __ATOMIC_RELEASE);
	/* Without the lock (a handler), or with the ring full, a scan will find it. */
	if (!lock_take(&own->lock, tid))
		return;
	if (spare->ring_nr < RING) {
		spare->ring[(spare->ring_first + spare->ring_nr) % RING] =
			(uint32_t)(rec - region->records);
		spare->ring_nr++;
	}
	lock_give(&own->lock);
}

void
record_give_back(void)
{
	struct region *region = region_get();
	uint32_t tid = (uint32_t)sys_gettid();

	if (!lock_take(&own->lock, tid))
		return;
	for (struct spare *s = own->spare; s < &own->spare[NR_ROLES]; s++)
		while (s->batch_nr)
			__atomic_store_n(&region->records[s->batch[--s->batch_nr]].state,
					 RECORD_CLOSED, __ATOMIC_RELEASE);
	lock_give(&own->lock);
}
