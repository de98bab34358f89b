/* Who is of the family, who has left it and how: see region.h. */
#include "base/sys.h"
#include "count/own.h"
#include "count/region.h"
#include <poll.h>
#include <sys/syscall.h>

/* Where pool counts of a process without a slot go. Nobody reads it. */
static struct member stand_in;

bool
pid_ended(uint32_t pid)
{
	struct pollfd pfd = { .events = POLLIN };
	bool ended;

	if (pid_gone(pid))
		return true;
	pfd.fd = (int)sys_call(SYS_pidfd_open, (int)pid, 0, 0, 0, 0, 0);
	if (pfd.fd < 0)
		return false;
	ended = sys_poll(&pfd, 1, 0) > 0;
	sys_close(pfd.fd);
	return ended;
}

/* Counters of a slot stay through its owners, gauges begin anew. */
static struct member *
member_claim(struct region *region)
{
	struct member *m;
	int i = slot_claim(&region->members_used, (char *)&region->members[0].pid,
			   sizeof *m, 0);

	if (i < 0)
		return NULL;
	m = &region->members[i];
	for (unsigned t = 0; t < sizeof m->pool / sizeof m->pool[0]; t++) {
		m->pool[t].buffers = 0;
		m->pool[t].in_use = 0;
		m->pool[t].peak = 0;
	}
	m->accept_queue = m->accept_limit = 0;
	own->slot_claims = __atomic_add_fetch(&m->claims, 1, __ATOMIC_RELAXED);
	if (!word_claim(&own->slot, 0, (uint32_t)i + 1)) {
		/* Another thread of ours was first. */
		__atomic_store_n(&m->pid, 0, __ATOMIC_RELEASE);
		m = &region->members[own->slot - 1];
		own->slot_claims = m->claims;
	}
	return m;
}

struct member *
region_member(void)
{
	struct region *region = region_get();
	struct member *m = NULL;
	uint32_t slot;

	if (!region)
		return &stand_in;
	slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);
	if (slot)
		return slot > NR_MEMBERS ? &stand_in : &region->members[slot - 1];
	m = member_claim(region);
	if (!m) {
		word_claim(&own->slot, 0, NR_MEMBERS + 1);
		return &stand_in;
	}
	return m;
}

bool
region_has(uint32_t pid)
{
	struct region *region = region_get();

	for (uint32_t i = 0; region && i < NR_MEMBERS; i++)
		if (__atomic_load_n(&region->members[i].pid, __ATOMIC_RELAXED) == pid)
			return pid != 0;
	return false;
}

/* It goes on, so it has not ended. */
static void
take_back(struct region *region)
{
	uint64_t noted = (uint64_t)own->left_how << 32 | (uint32_t)sys_getpid();

	__atomic_compare_exchange_n(own->left, &noted, 0, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	count_add(&region->totals.ended[own->left_how], (uint64_t)-1);
	own->left = NULL;
}

void
region_join(bool counted)
{
	struct region *region = region_get();
	uint32_t slot;

	if (!region || !word_claim(&own->joined, 0, 1))
		return;
	if (!counted)
		count_add(&region->totals.live, 1);
	if (own->left)
		take_back(region);
	/* Back after an exec that failed: our old slot, unless it has a new owner. */
	slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);
	if (slot && slot <= NR_MEMBERS) {
		struct member *m = &region->members[slot - 1];

		if (m->claims != own->slot_claims ||
		    !word_claim(&m->pid, 0, (uint32_t)sys_getpid()))
			__atomic_store_n(&own->slot, 0, __ATOMIC_RELEASE);
	}
	region_member();
}

/* Whatever stands in the region, the count does not go below 0. */
static uint64_t
one_less(struct totals *totals)
{
	uint64_t was = __atomic_fetch_sub(&totals->live, 1, __ATOMIC_ACQ_REL);

	if (was)
		return was - 1;
	count_add(&totals->live, 1);
	return 0;
}

/* Returns where it is noted. */
static uint64_t *
note_ended(struct region *region, uint32_t pid, enum ending how)
{
	uint64_t nr = __atomic_fetch_add(&region->totals.nr_ended, 1, __ATOMIC_RELAXED);
	uint64_t *entry = &region->ended[nr % KEPT_ENDED];

	count_add(&region->totals.ended[how], 1);
	__atomic_store_n(entry, (uint64_t)how << 32 | pid, __ATOMIC_RELAXED);
	return entry;
}

static void
left(struct region *region, struct member *m, uint32_t pid, enum ending how)
{
	if (!word_claim(&m->pid, pid, 0))
		return;
	note_ended(region, pid, how);
	one_less(&region->totals);
}

/* Not `all`: no further than the first who lives, which is enough to know that we are not the last. */
static void
reap(struct region *region, bool all)
{
	for (uint32_t i = 0; i < NR_MEMBERS; i++) {
		struct member *m = &region->members[i];
		uint32_t pid = __atomic_load_n(&m->pid, __ATOMIC_RELAXED);

		if (!pid || pid > INT32_MAX)
			continue;
		if (pid_ended(pid))
			left(region, m, pid, ENDED_KILLED);
		else if (!all)
			return;
	}
}

uint64_t
region_leave(enum ending how)
{
	struct region *region = region_get();
	uint32_t slot;

	if (!region)
		return 0;
	if (!word_claim(&own->joined, 1, 0))
		return __atomic_load_n(&region->totals.live, __ATOMIC_RELAXED);
	/* Other threads may still count in the slot; it only has no owner any more. */
	record_give_back();
	slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);
	if (slot && slot <= NR_MEMBERS)
		__atomic_store_n(&region->members[slot - 1].pid, 0, __ATOMIC_RELEASE);
	own->left = note_ended(region, (uint32_t)sys_getpid(), how);
	own->left_how = how;
	if (one_less(&region->totals))
		reap(region, false);
	return __atomic_load_n(&region->totals.live, __ATOMIC_ACQUIRE);
}

void
region_left(uint32_t pid, enum ending how)
{
	struct region *region = region_get();

	for (uint32_t i = 0; region && pid && i < NR_MEMBERS; i++)
		if (__atomic_load_n(&region->members[i].pid, __ATOMIC_RELAXED) == pid) {
			left(region, &region->members[i], pid, how);
			return;
		}
}

void
region_reap(void)
{
	struct region *region = region_get();

	if (region)
		reap(region, true);
}

void
region_expect(int children)
{
	struct region *region = region_get();

	if (region)
		count_add(&region->totals.live, (uint64_t)(int64_t)children);
}
