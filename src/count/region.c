#include "count/region.h"
#include "base/sys.h"
#include "count/own.h"
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

const uint32_t size_bounds[NR_SIZE_BOUNDS] = { 64,    256,   1024,  4096,
					       16384, 32768, 65536, 262144 };
const uint64_t hold_bounds_ns[NR_HOLD_BOUNDS] = { 10000,  50000,   100000,  250000,
						  500000, 1000000, 5000000, 20000000 };
const uint64_t episode_bounds_ns[NR_EPISODE_BOUNDS] = { 1000000,     10000000,
							100000000,   1000000000,
							10000000000, 60000000000 };
const uint64_t age_bounds_ns[NR_AGE_BOUNDS] = { 10000000,    100000000,   1000000000,
						10000000000, 60000000000, 600000000000 };

/* Powers of two of records to try for: memory may be short (RLIMIT_AS, overcommit 2). */
static const uint8_t size_shifts[] = { 16, 12, 8 };

/* The mapping and the power of two of its records in one word, so that racing first
 * callers publish both at once: pages are 4096 bytes or more, the low bits are free.
 * 0: not tried, NO_REGION: no memory. In ordinary memory: a child keeps the region. */
uintptr_t region_word;
enum { NO_REGION = 1 };

/* Names files, so not in the region. Racing callers store the same. */
static int first_pid;

struct own *own;

static size_t
region_size(unsigned shift)
{
	return sizeof(struct region) + (sizeof(struct record) << shift);
}

/* True once `own` is there. Racing callers map one each, and all but one are given back. */
static bool
own_init(void)
{
	struct own *none = NULL, *mine;

	if (__atomic_load_n(&own, __ATOMIC_ACQUIRE))
		return true;
	mine = sys_map(sizeof *mine, 0);
	if (!mine)
		return false;
	if (sys_wipe_on_fork(mine, sizeof *mine) < 0) {
		sys_unmap(mine, sizeof *mine);
		return false;
	}
	if (!__atomic_compare_exchange_n(&own, &none, mine, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		sys_unmap(mine, sizeof *mine);
	return true;
}

/* Not to be charged for what no stream will ever use. */
static void *
map_shared(size_t len)
{
	long p = sys_call(SYS_mmap, 0, (long)len, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p < 0 && p >= -4095 ? NULL : (void *)p;
}

/* At most a fourth of the address space that the process may have: the application's own threads and
 * buffers must find room in the rest. */
enum { PART = 4 };

static struct region *
region_map(unsigned *shift)
{
	uint64_t most = sys_address_limit() / PART;
	struct region *region;

	for (unsigned i = 0; i < sizeof size_shifts; i++) {
		*shift = size_shifts[i];
		if (region_size(*shift) > most)
			continue;
		region = map_shared(region_size(*shift));
		if (!region)
			continue;
		region->nr_records = 1u << *shift;
		region->nr_members = NR_MEMBERS;
		region->nr_tallies = NR_TALLIES;
		region->started_ns = (uint64_t)sys_now_ns();
		region->started_wall_ms = (uint64_t)sys_wall_ms();
		return region;
	}
	return NULL;
}

bool
region_init(void)
{
	uintptr_t none = 0, word = NO_REGION;
	struct region *region = NULL;
	unsigned shift = 0;

	if (__atomic_load_n(&region_word, __ATOMIC_ACQUIRE))
		return region_get() != NULL;
	__atomic_store_n(&first_pid, sys_getpid(), __ATOMIC_RELAXED);
	if (own_init())
		region = region_map(&shift);
	if (region)
		word = (uintptr_t)region | shift;
	if (!__atomic_compare_exchange_n(&region_word, &none, word, false,
					 __ATOMIC_RELEASE, __ATOMIC_ACQUIRE) &&
	    region)
		sys_unmap(region, region_size(shift));
	return region_get() != NULL;
}

uint32_t
region_nr_records(void)
{
	uintptr_t word = __atomic_load_n(&region_word, __ATOMIC_ACQUIRE);

	return word > REGION_SHIFT_MASK ? 1u << (word & REGION_SHIFT_MASK) : 0;
}

int
region_first_pid(void)
{
	return region_get() ? __atomic_load_n(&first_pid, __ATOMIC_RELAXED)
			    : sys_getpid();
}

bool
pid_gone(uint32_t pid)
{
	/* Of the rest the kernel takes some for groups, or for everybody. */
	if (!pid || pid > INT32_MAX)
		return pid != 0;
	return sys_call(SYS_kill, (int)pid, 0, 0, 0, 0, 0) == -ESRCH;
}

bool
word_claim(uint32_t *word, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

void
mark_raise(uint32_t *mark, uint32_t to)
{
	uint32_t old = __atomic_load_n(mark, __ATOMIC_RELAXED);

	while (old < to &&
	       !__atomic_compare_exchange_n(mark, &old, to, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

/* A free one, or else that of a dead process; 0: the common one. A thread without one asks at every
 * call. */
static uint32_t
tally_claim(struct region *region)
{
	uint32_t me = (uint32_t)sys_getpid();

	if (sys_now_ns() < __atomic_load_n(&own->tally_ns, __ATOMIC_RELAXED))
		return 0;
	for (int dead = 0; dead < 2; dead++)
		for (uint32_t i = 1; i < NR_TALLIES; i++) {
			uint32_t *owner = &region->tally_owner[i];
			uint32_t pid = __atomic_load_n(owner, __ATOMIC_RELAXED);

			if (dead ? !pid_gone(pid) : pid != 0)
				continue;
			if (word_claim(owner, pid, me))
				return i;
		}
	__atomic_store_n(&own->tally_ns, sys_now_ns() + SCAN_PAUSE_NS, __ATOMIC_RELAXED);
	return 0;
}

struct tally *
region_tally_get(bool *shared)
{
	static struct tally nowhere;
	struct region *region = region_get();
	uint32_t i;

	*shared = true;
	if (!region)
		return &nowhere;
	i = tally_claim(region);
	mark_raise(&region->tallies_used, i + 1);
	*shared = i == 0;
	return &region->tallies[i];
}

void
region_tally_put(struct tally *t)
{
	struct region *region = region_get();

	if (!region || t <= &region->tallies[0] || t >= &region->tallies[NR_TALLIES])
		return;
	__atomic_store_n(&region->tally_owner[t - region->tallies], 0, __ATOMIC_RELEASE);
	__atomic_store_n(&own->tally_ns, 0, __ATOMIC_RELAXED);
}

unsigned
size_bucket(unsigned bits)
{
	unsigned bucket = 0;

	while (bucket < NR_SIZE_BOUNDS && size_bounds[bucket] < UINT64_C(2) << bits)
		bucket++;
	return bucket;
}

unsigned
bucket_ns(const uint64_t *bounds, unsigned nr, uint64_t ns)
{
	unsigned i = 0;

	while (i < nr && bounds[i] < ns)
		i++;
	return i;
}

uint64_t
count_running(struct record *rec, uint64_t ns)
{
	struct flow_rare *rare = &rec->rare[SENT];
	uint64_t was = __atomic_load_n(&rare->running_ns, __ATOMIC_RELAXED);
	uint64_t since = __atomic_load_n(&rare->stall_since_ns, __ATOMIC_RELAXED);
	uint64_t shown =
		__atomic_load_n(&region_get()->totals.shown_ns, __ATOMIC_RELAXED);

	if (was == STALL_MOVES) /* killed just then: whichever of the two it was */
		return 0;
	if (!was && shown > since && ns < shown - since)
		ns = shown - since;
	if (ns <= was)
		return was;
	__atomic_store_n(&rare->running_ns, (uint64_t)STALL_MOVES, __ATOMIC_SEQ_CST);
	count_add(&rare->stall_ns, ns - was);
	__atomic_store_n(&rare->running_ns, ns > STALL_MOVES ? ns : STALL_MOVES + 1,
			 __ATOMIC_SEQ_CST);
	return ns;
}

void
count_episode(uint64_t ns)
{
	struct totals *totals = &region_get()->totals;

	count_add(&totals->episode[bucket_ns(episode_bounds_ns, NR_EPISODE_BOUNDS, ns)],
		  1);
	count_add(&totals->episode_ns, ns);
}

enum error_kind
error_kind(int err)
{
	switch (err) {
	case ECONNRESET:
		return ERROR_ECONNRESET;
	case EPIPE:
		return ERROR_EPIPE;
	case ETIMEDOUT:
		return ERROR_ETIMEDOUT;
	default:
		return ERROR_OTHER;
	}
}

void
count_internal(enum internal_error what)
{
	struct region *region = region_get();

	if (region)
		count_add(&region->totals.internal[what], 1);
}

void
count_error(enum operation op, int err)
{
	struct region *region = region_get();

	if (region && err != EAGAIN && err != EINTR)
		count_add(&region->totals.errors[op][error_kind(err)], 1);
}
