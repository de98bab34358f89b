/* Who is of the family, who has left it and how: see region.h. */
#include "base/sys.h"
#include "count/own.h"
#include "count/region.h"
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Where pool counts of a process without a slot go. Nobody reads it. */
static struct member stand_in;

/* An exec that failed is back much sooner; nobody sees one that succeeded. */
#define EXEC_NS UINT64_C(1000000000)

/* The number of our pid namespace; 0: /proc is not to be had, so nobody can tell. */
static uint64_t
pid_namespace(void)
{
	struct stat st;

	return sys_stat("/proc/self/ns/pid", &st) < 0 ? 0 : st.st_ino;
}

/* Gone, or a zombie. Takes a descriptor for a moment: this is for the serving thread, which has a
 * table of its own, and for a process that ends. */
static bool
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

/* In another namespace the number is somebody else's, or nobody's. */
static bool
has_ended(const struct member *m, uint32_t pid)
{
	uint64_t space = __atomic_load_n(&m->pid_ns, __ATOMIC_RELAXED);

	return space && space == own->pid_ns && pid_ended(pid);
}

/* What is said of its owner first, so that it is never said of the next one. */
static void
forget_owner(struct member *m)
{
	__atomic_store_n(&m->pid_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&m->exec_ns, 0, __ATOMIC_RELAXED);
}

static void
give_slot(struct member *m)
{
	forget_owner(m);
	__atomic_store_n(&m->pid, 0, __ATOMIC_RELEASE);
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
	own->pid_ns = pid_namespace();
	__atomic_store_n(&m->pid_ns, own->pid_ns, __ATOMIC_RELAXED);
	if (!word_claim(&own->slot, 0, (uint32_t)i + 1)) {
		/* Another thread of ours was first. */
		give_slot(m);
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

/* Our slot, if we have one and it has no new owner. */
static struct member *
slot_of_ours(struct region *region)
{
	uint32_t slot = __atomic_load_n(&own->slot, __ATOMIC_ACQUIRE);

	if (!slot || slot > NR_MEMBERS ||
	    region->members[slot - 1].claims != own->slot_claims)
		return NULL;
	return &region->members[slot - 1];
}

/* Back after an exec that failed. False: the slot has been given to somebody else. */
static bool
come_back(struct region *region)
{
	struct member *m = slot_of_ours(region);
	uint32_t me = (uint32_t)sys_getpid();

	if (!m)
		return false;
	__atomic_store_n(&m->exec_ns, 0, __ATOMIC_RELAXED);
	return __atomic_load_n(&m->pid, __ATOMIC_RELAXED) == me ||
	       word_claim(&m->pid, 0, me);
}

void
region_join(bool counted)
{
	struct region *region = region_get();

	if (!region || !word_claim(&own->joined, 0, 1))
		return;
	if (!counted)
		count_add(&region->totals.live, 1);
	if (!come_back(region))
		__atomic_store_n(&own->slot, 0, __ATOMIC_RELEASE);
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

static void
note_ended(struct region *region, uint32_t pid, enum ending how)
{
	uint64_t nr = __atomic_fetch_add(&region->totals.nr_ended, 1, __ATOMIC_RELAXED);

	count_add(&region->totals.ended[how], 1);
	__atomic_store_n(&region->ended[nr % KEPT_ENDED], (uint64_t)how << 32 | pid,
			 __ATOMIC_RELAXED);
}

/* Found to have left; whoever execs has taken itself off the count. */
static void
left(struct region *region, struct member *m, uint32_t pid, enum ending how)
{
	forget_owner(m);
	if (!word_claim(&m->pid, pid, 0))
		return;
	note_ended(region, pid, how);
	if (how != ENDED_EXEC)
		one_less(&region->totals);
}

/* Not `all`: no further than the first who lives, which is enough to know that we are not the last. */
static void
reap(struct region *region, bool all)
{
	for (uint32_t i = 0; i < NR_MEMBERS; i++) {
		struct member *m = &region->members[i];
		uint32_t pid = __atomic_load_n(&m->pid, __ATOMIC_RELAXED);
		uint64_t exec = __atomic_load_n(&m->exec_ns, __ATOMIC_RELAXED);

		if (!pid || pid > INT32_MAX)
			continue;
		if (exec &&
		    ((uint64_t)sys_now_ns() - exec > EXEC_NS || has_ended(m, pid)))
			left(region, m, pid, ENDED_EXEC);
		else if (!exec && has_ended(m, pid))
			left(region, m, pid, ENDED_KILLED);
		else if (!exec && !all)
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
	/* Other threads may still count in the slot. */
	record_give_back();
	m = slot_of_ours(region);
	if (how != ENDED_EXEC)
		note_ended(region, (uint32_t)sys_getpid(), how);
	if (m && how == ENDED_EXEC)
		__atomic_store_n(&m->exec_ns, (uint64_t)sys_now_ns(), __ATOMIC_RELAXED);
	else if (m)
		give_slot(m);
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

bool
region_has_ended(uint32_t pid)
{
	struct region *region = region_get();

	if (!region || region_has(pid))
		return false;
	for (unsigned i = 0; i < KEPT_ENDED; i++) {
		uint64_t entry = __atomic_load_n(&region->ended[i], __ATOMIC_RELAXED);

		if ((uint32_t)entry == pid && entry >> 32 != ENDED_EXIT)
			return true;
	}
	return pid_ended(pid);
}
