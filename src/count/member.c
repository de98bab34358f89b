#include "count/member.h"
#include "base/sys.h"
#include "count/holder.h"
#include "count/own.h"

/* Where pool counts of a process without a slot go. Nobody reads it. */
static struct member stand_in;

/* Where all slots are taken by members that live, so long without one. */
enum { FULL_NS = 1000000000 };

/* ---- slots ---- */

struct member *
slot_of_ours(struct region *region)
{
	uint32_t slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);

	if (!slot || slot > NR_MEMBERS ||
	    region->members[slot - 1].claims != own->slot_claims)
		return NULL;
	return &region->members[slot - 1];
}

static void
note_ended(struct region *region, uint32_t pid, enum ending how)
{
	uint64_t nr = __atomic_fetch_add(&region->totals.nr_ended, 1, __ATOMIC_RELAXED);

	count_add(&region->totals.ended[how], 1);
	__atomic_store_n(&region->ended[nr % KEPT_ENDED], (uint64_t)how << 32 | pid,
			 __ATOMIC_RELAXED);
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

/* What stands in a slot that this thread has taken. No other thread writes the same: a parent that is
 * late after a fork does not take for its child's what has been given on. */
static uint32_t
being_made(void)
{
	return MEMBER_BORN | (uint32_t)sys_gettid();
}

/* The slot's process is no more: noted, unless it said so itself. */
static void
end_slot(struct region *region, struct member *m, uint32_t pid)
{
	uint32_t left = __atomic_load_n(&m->left, __ATOMIC_RELAXED);

	if (!word_claim(&m->pid, pid, being_made()))
		return; /* somebody else is about it */
	if (!left)
		one_less(&region->totals);
	if (left != 1 + ENDED_EXIT)
		note_ended(region, pid, left ? ENDED_EXEC : ENDED_KILLED);
	holder_end((uint32_t)(m - region->members), (uint32_t)sys_gettid());
	__atomic_store_n(&m->pid, 0, __ATOMIC_RELEASE);
}

/* Ends who has ended; false: that one lives, or there is nobody. */
static bool
reap_slot(struct region *region, uint32_t slot, int fd)
{
	struct member *m = &region->members[slot];
	uint32_t pid = __atomic_load_n(&m->pid, __ATOMIC_ACQUIRE);

	if (!pid || pid > INT32_MAX || !has_ended(m, slot, pid, fd))
		return false;
	end_slot(region, m, pid);
	return true;
}

/* Counters of a slot stay through its owners, gauges begin anew. */
static void
begin_slot(struct member *m)
{
	for (unsigned t = 0; t < sizeof m->pool / sizeof m->pool[0]; t++) {
		m->pool[t].buffers = 0;
		m->pool[t].in_use = 0;
		m->pool[t].peak = 0;
	}
	m->accept_queue = m->accept_limit = 0;
	__atomic_store_n(&m->left, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&m->left_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&m->pid_ns, own->pid_ns, __ATOMIC_RELAXED);
	if (__atomic_load_n(&m->locks, __ATOMIC_RELAXED) & 1)
		__atomic_fetch_add(&m->locks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&m->claims, 1, __ATOMIC_RELEASE);
}

static bool
take_slot(struct region *region, uint32_t slot)
{
	struct member *m = &region->members[slot];

	if (__atomic_load_n(&m->pid, __ATOMIC_RELAXED) ||
	    !word_claim(&m->pid, 0, being_made()))
		return false;
	mark_raise(&region->members_used, slot + 1);
	begin_slot(m);
	return true;
}

/* A while ago; to look at all again is dear. */
static bool
slots_are_full(void)
{
	return own->slots_full_ns && sys_now_ns() - own->slots_full_ns < FULL_NS;
}

/* A slot that is being made; -1: none. Who has said that it leaves is looked at on the way:
 * where children come and go, nobody else may do so. */
static int
slot_claim(struct region *region)
{
	int fd = lock_fd();

	if (!own->pid_ns)
		own->pid_ns = pid_namespace();
	for (int all = 0; all < 2 && !(all && slots_are_full()); all++)
		for (uint32_t i = 0; i < NR_MEMBERS; i++) {
			if (all ||
			    __atomic_load_n(&region->members[i].left, __ATOMIC_RELAXED))
				reap_slot(region, i, fd);
			if (take_slot(region, i))
				return (int)i;
		}
	own->slots_full_ns = sys_now_ns();
	return -1;
}

static void
give_slot(struct member *m)
{
	__atomic_store_n(&m->pid, 0, __ATOMIC_RELEASE);
}

/* This process is the slot's. */
static struct member *
own_slot(struct region *region, uint32_t slot)
{
	struct member *m = &region->members[slot];

	own->pid_ns = pid_namespace();
	own->slot_claims = m->claims;
	own->unseen = m->unseen;
	if (!word_claim(&own->slot, 0, slot + 1)) {
		/* Another thread of ours was first. */
		give_slot(m);
		return slot_of_ours(region);
	}
	__atomic_store_n(&m->pid_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&m->pid, (uint32_t)sys_getpid(), __ATOMIC_RELEASE);
	__atomic_store_n(&m->pid_ns, own->pid_ns, __ATOMIC_RELAXED);
	lock_slot(region);
	return m;
}

struct member *
region_member(void)
{
	struct region *region = region_get();
	struct member *m;
	uint32_t slot;
	int found;

	if (!region)
		return &stand_in;
	slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);
	if (slot)
		return slot > NR_MEMBERS ? &stand_in : &region->members[slot - 1];
	found = slot_claim(region);
	m = found < 0 ? NULL : own_slot(region, (uint32_t)found);
	if (!m) {
		word_claim(&own->slot, 0, BORN_WITHOUT_SLOT);
		return &stand_in;
	}
	return m;
}

int
region_slot(void)
{
	struct region *region = region_get();
	struct member *m = region_member();

	return m == &stand_in ? -1 : (int)(m - region->members);
}

/* ---- joining and leaving ---- */

uint32_t
region_bear(void)
{
	struct region *region = region_get();
	int slot;

	if (!region)
		return 0;
	count_add(&region->totals.live, 1);
	slot = slot_claim(region);
	return slot < 0 ? (uint32_t)BORN_WITHOUT_SLOT : (uint32_t)slot + 1;
}

void
region_born(uint32_t born, int pid)
{
	struct region *region = region_get();

	if (!region || !born)
		return;
	if (pid < 0)
		one_less(&region->totals);
	if (born > NR_MEMBERS)
		return;
	if (pid < 0)
		holder_end(born - 1, (uint32_t)sys_gettid());
	/* Unless the child has been there first. */
	word_claim(&region->members[born - 1].pid, being_made(),
		   pid < 0 ? 0 : (uint32_t)pid);
}

/* Back after an exec that failed. False: the slot has been given to somebody else. */
static bool
come_back(struct region *region)
{
	struct member *m = slot_of_ours(region);

	if (!m || __atomic_load_n(&m->pid, __ATOMIC_RELAXED) != (uint32_t)sys_getpid())
		return false;
	__atomic_store_n(&m->left, 0, __ATOMIC_RELAXED);
	return true;
}

void
region_join(uint32_t born)
{
	struct region *region = region_get();

	if (!region || !word_claim(&own->joined, 0, 1))
		return;
	if (!born)
		count_add(&region->totals.live, 1);
	if (born && born <= NR_MEMBERS) {
		own_slot(region, born - 1);
		return;
	}
	if (!come_back(region))
		__atomic_store_n(&own->slot, 0, __ATOMIC_RELEASE);
	region_member();
}

/* Its slot is the process's until that has ended: other threads may still count in it. */
static void
leave_slot(struct member *m, enum ending how)
{
	__atomic_store_n(&m->left_ns, (uint64_t)sys_now_ns(), __ATOMIC_RELAXED);
	__atomic_store_n(&m->left, 1 + (uint32_t)how, __ATOMIC_RELEASE);
}

/* Finds the members that were killed, no further than the first who lives. */
static void
look_for_others(struct region *region)
{
	int fd = lock_fd();

	for (uint32_t i = 0; i < NR_MEMBERS; i++) {
		const struct member *m = &region->members[i];
		uint32_t pid = __atomic_load_n(&m->pid, __ATOMIC_RELAXED);

		if (pid && !reap_slot(region, i, fd) &&
		    !__atomic_load_n(&m->left, __ATOMIC_RELAXED))
			return;
	}
}

uint64_t
region_leave(enum ending how)
{
	struct region *region = region_get();
	struct member *m;

	if (!region)
		return 0;
	if (!word_claim(&own->joined, 1, 0))
		return __atomic_load_n(&region->totals.live, __ATOMIC_RELAXED);
	record_give_back();
	m = slot_of_ours(region);
	if (how == ENDED_EXIT)
		note_ended(region, (uint32_t)sys_getpid(), how);
	if (m)
		leave_slot(m, how);
	if (one_less(&region->totals))
		look_for_others(region);
	return __atomic_load_n(&region->totals.live, __ATOMIC_ACQUIRE);
}

/* Whose slot it is, left or not; NULL: nobody's. */
static struct member *
slot_of(struct region *region, uint32_t pid)
{
	for (uint32_t i = 0; region && pid && i < NR_MEMBERS; i++)
		if (__atomic_load_n(&region->members[i].pid, __ATOMIC_RELAXED) == pid)
			return &region->members[i];
	return NULL;
}

void
region_forked_unseen(void)
{
	struct member *parent = slot_of(region_get(), (uint32_t)sys_getppid());

	if (parent)
		__atomic_fetch_add(&parent->unseen, 1, __ATOMIC_SEQ_CST);
}

bool
region_has_forked_unseen(void)
{
	uint32_t unseen = __atomic_load_n(&region_member()->unseen, __ATOMIC_SEQ_CST);

	if (unseen == own->unseen)
		return false;
	own->unseen = unseen;
	return true;
}

bool
region_has(uint32_t pid)
{
	const struct member *m = slot_of(region_get(), pid);

	return m && !__atomic_load_n(&m->left, __ATOMIC_RELAXED);
}

void
region_left(uint32_t pid, enum ending how)
{
	struct region *region = region_get();
	struct member *m = slot_of(region, pid);

	if (!m || __atomic_load_n(&m->left, __ATOMIC_RELAXED))
		return;
	leave_slot(m, how);
	if (how == ENDED_EXIT)
		note_ended(region, pid, how);
	one_less(&region->totals);
}

void
region_reap(void)
{
	struct region *region = region_get();
	int fd = lock_fd();

	for (uint32_t i = 0; region && i < NR_MEMBERS; i++)
		reap_slot(region, i, fd);
}

void
region_reap_these(const uint64_t *slots)
{
	struct region *region = region_get();
	int fd = lock_fd();

	for (uint32_t i = 0; region && i < NR_MEMBERS; i++)
		if (slots[i / 64] >> i % 64 & 1)
			reap_slot(region, i, fd);
}

bool
region_has_ended(uint32_t pid)
{
	struct region *region = region_get();

	if (!region || slot_of(region, pid))
		return false;
	for (unsigned i = 0; i < KEPT_ENDED; i++)
		if ((uint32_t)__atomic_load_n(&region->ended[i], __ATOMIC_RELAXED) ==
		    pid)
			return true;
	return pid_ended(pid);
}
