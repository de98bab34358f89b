#include "noise.h"
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* An index that nobody has bounded does not often jump over so much. */
#define GUARD ((size_t)1 << 32)

static uint64_t seed = 1;
static size_t region_len;
static char *kept;

/* Most of what is not records lies between these and is seldom looked at: nor is it always bent. */
#define BULK offsetof(struct region, tallies)
#define BULK_LEN (offsetof(struct region, records) - BULK)
static bool bulk_bent;

void
noise_seed(uint64_t to)
{
	seed = to * 0x9e3779b97f4a7c15u + 88172645463325252u;
}

uint64_t
noise_word(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint32_t
below(uint64_t n)
{
	return (uint32_t)((noise_word() >> 20) % n);
}

int32_t
noise_pid(void)
{
	const int32_t pids[] = { getpid(), getpid(), getppid(), 1,
				 0,        -1,       INT_MIN,   INT_MAX };
	uint32_t i = below(10);

	return i < 8 ? pids[i] : (int32_t)noise_word();
}

/* Ends of all ranges, of both halves of a word too, and what lies between. */
static uint64_t
end(void)
{
	static const uint64_t ends[] = {
		0,
		1,
		UINT64_MAX,
		INT64_MAX,
		UINT64_C(1) << 63,
		UINT32_MAX,
		UINT64_C(0xffffffff) << 32,
		UINT64_C(0x8000000080000000),
		UINT64_C(0x7fffffff7fffffff),
	};
	uint32_t i = below(12);

	return i < 9 ? ends[i] : i < 11 ? UINT64_C(1) << below(64) : noise_word();
}

struct region *
noise_region(unsigned shift, bool at_end)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), span;
	struct region *region;
	char *p;

	region_len = sizeof *region + (sizeof *region->records << shift);
	span = (region_len + page - 1) & ~(page - 1);
	p = mmap(NULL, span + 2 * GUARD, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED ||
	    mmap(p + GUARD, span, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return NULL;
	kept = mmap(NULL, region_len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (kept == MAP_FAILED)
		return NULL;
	region = (struct region *)(void *)(p + GUARD + (at_end ? span - region_len : 0));
	memcpy(region, region_get(), sizeof *region);
	region->nr_records = 1u << shift;
	region_word = (uintptr_t)region | shift;
	return region;
}

void
noise_keep(void)
{
	memcpy(kept, region_get(), region_len);
}

void
noise_restore(void)
{
	size_t records = offsetof(struct region, records);

	memcpy(region_get(), kept, bulk_bent ? records : BULK);
	memcpy(region_get()->records, kept + records, region_len - records);
	bulk_bent = false;
}

/* ---- anything, anywhere ---- */

static void
fill(void *to, size_t len, uint32_t kind)
{
	static const uint64_t masks[] = { UINT64_MAX, 0x0303030303030303, 0xff, 0 };

	kind %= 6;
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word = kind < 4    ? noise_word() & masks[kind]
				: kind == 4 ? end()
					    : UINT64_MAX;

		memcpy((char *)to + i, &word, sizeof word);
	}
}

static void
words(void *at, size_t len, uint32_t nr)
{
	while (nr--)
		((uint64_t *)at)[below(len / 8)] = end();
}

static void
bits(void *at, size_t len, uint32_t nr)
{
	while (nr--)
		((uint64_t *)at)[below(len / 8)] ^= UINT64_C(1) << below(64);
}

static void
everywhere(struct region *region, void (*what)(void *at, size_t len, uint32_t n),
	   uint32_t n)
{
	what(region, BULK, n);
	if (!below(8)) {
		what((char *)region + BULK, BULK_LEN, 100 * n);
		bulk_bent = true;
	}
	what(region->records, sizeof *region->records * region_nr_records(), n);
}

/* ---- what looks right at first ---- */

static void
bend_address(struct region_addr *addr)
{
	static const sa_family_t families[] = { AF_UNIX, AF_UNIX, AF_INET, AF_INET6 };
	sa_family_t family = families[below(4)];

	addr->len = below(2) ? (uint32_t)end() : below(130);
	if (below(2)) /* without an end */
		memset(addr->bytes, below(2) ? 0xff : '"', sizeof addr->bytes);
	else
		fill(addr->bytes, sizeof addr->bytes, below(2));
	memcpy(addr->bytes, &family, sizeof family);
	if (!below(4))
		addr->bytes[offsetof(struct sockaddr_un, sun_path)] = '\0';
}

static void
bend_record(struct record *rec)
{
	static const uint8_t states[] = { RECORD_OPEN,    RECORD_OPEN,
					  RECORD_CLOSED,  RECORD_CLOSED,
					  RECORD_UNUSED,  RECORD_OPENING,
					  RECORD_CLAIMED, 7 };
	uint32_t state = states[below(sizeof states)];

	if (below(4) == 0)
		words(rec, sizeof *rec, 4);
	if (state != RECORD_OPEN && state != RECORD_CLOSED)
		state |= (uint32_t)noise_pid() << RECORD_STATE_BITS;
	rec->pid = noise_pid();
	rec->fd = (int32_t)end();
	rec->cookie = below(2) ? below(8) : end();
	rec->closed_seq = below(2) ? region_get()->totals.closes : end();
	if (below(2))
		rec->role = rec->family = rec->mode = rec->bypass = rec->blocked =
			(uint8_t)noise_word();
	bend_address(&rec->local);
	bend_address(&rec->peer);
	__atomic_store_n(&rec->state, state, __ATOMIC_RELEASE);
}

static void
bend_family(struct region *region)
{
	for (uint32_t nr = below(NR_MEMBERS); nr--;)
		region->members[below(NR_MEMBERS)].pid = (uint32_t)noise_pid();
	for (uint32_t nr = below(NR_TALLIES); nr--;)
		region->tally_owner[below(NR_TALLIES)] = (uint32_t)noise_pid();
	for (uint32_t nr = below(KEPT_ENDED); nr--;)
		region->ended[below(KEPT_ENDED)] =
			(uint64_t)below(5) << 32 | (uint32_t)noise_pid();
	words(&region->totals, sizeof region->totals, below(20));
}

static void
bend_marks(struct region *region)
{
	uint32_t *marks[] = { &region->records_used, &region->members_used,
			      &region->tallies_used };

	for (int i = 0; i < 3; i++)
		if (below(2))
			*marks[i] = below(2) ? (uint32_t)end() : below(3000);
}

void
noise_strew(void)
{
	struct region *region = region_get();
	uint32_t kind = below(8), nr = region_nr_records();

	if (kind)
		noise_restore();
	if (kind < 2)
		everywhere(region, fill, below(6));
	else if (kind < 4)
		everywhere(region, words, below(2000));
	else if (kind < 6)
		everywhere(region, bits, below(2000));
	for (uint32_t i = 0; i < nr && kind > 1; i++)
		if (below(2))
			bend_record(&region->records[i]);
	if (below(2))
		bend_family(region);
	bend_marks(region);
}

/* Low halves of what the filter is shown: machines on which they come first. */
void
noise_no_signals(void)
{
	enum { ARG = offsetof(struct seccomp_data, args) };
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG + 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80000000, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	static const struct sock_fprog program = {
		.len = sizeof filter / sizeof filter[0],
		.filter = filter,
	};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
