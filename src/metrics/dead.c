#include "metrics/dead.h"
#include "base/sys.h"
#include "count/holder.h"
#include "count/member.h"

enum { ASKED = 512 };

/* `alive`: by the low bits of their numbers, some that live; the rest are asked for. */
static bool
dead(int32_t pid, int32_t *alive)
{
	int32_t *known = &alive[(uint32_t)pid % ASKED];

	if (pid <= 0)
		return true;
	if (pid != *known && region_has_ended((uint32_t)pid))
		return true;
	*known = pid;
	return false;
}

void
dead_close(uint64_t now_ns)
{
	struct region *region = region_get();
	uint32_t used = __atomic_load_n(&region->records_used, __ATOMIC_RELAXED);
	uint32_t tid = (uint32_t)sys_gettid();
	int32_t alive[ASKED] = { 0 };

	region_reap();
	for (uint32_t i = 0; i < used && i < region_nr_records(); i++) {
		struct record *rec = &region->records[i];

		if (__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE) != RECORD_OPEN ||
		    !dead(__atomic_load_n(&rec->pid, __ATOMIC_RELAXED), alive))
			continue;
		/* What others have as well stays open, and nobody is held up by it any more. */
		record_end_stalls(rec);
		if (!holder_keeps(rec))
			region_close(rec, (int64_t)now_ns, tid);
	}
}
