#include "metrics/view.h"
#include "count/own.h"

/* How often a total in motion is read again, and how long a write is given before it waits. */
enum { STALL_TRIES = 64, WAITS_NS = 1000000 };

void
view_add(struct flow_view *to, const struct flow_view *from)
{
	to->app_calls += from->app_calls;
	to->app_bytes += from->app_bytes;
	to->kernel_calls += from->kernel_calls;
	to->kernel_bytes += from->kernel_bytes;
	to->chunks += from->chunks;
	to->discarded += from->discarded;
	to->pending += from->pending;
	to->stall_events += from->stall_events;
	to->stall_ns += from->stall_ns;
	if (to->running_ns < from->running_ns)
		to->running_ns = from->running_ns;
	for (int i = 0; i < NR_CAUSES; i++)
		to->cause_ns[i] += from->cause_ns[i];
	for (int i = 0; i < NR_FLUSHES; i++)
		to->flushes[i] += from->flushes[i];
}

/* What the kernel got first. Native calls are read once, for both sides. */
UNSYNCED static void
read_flow(struct flow_view *v, const struct flow *flow)
{
	uint64_t calls, bytes;

	v->kernel_bytes = __atomic_load_n(&flow->kernel_bytes, __ATOMIC_ACQUIRE);
	v->discarded = __atomic_load_n(&flow->discarded, __ATOMIC_ACQUIRE);
	calls = count_load(&flow->native_calls);
	bytes = count_load(&flow->native_bytes);
	v->kernel_bytes += bytes;
	v->app_bytes =
		bytes + count_load(&flow->app_bytes) + count_load(&flow->held_bytes);
	v->app_calls =
		calls + count_load(&flow->app_calls) + count_load(&flow->held_calls);
	v->kernel_calls = calls + count_load(&flow->kernel_calls);
	v->chunks = calls + count_load(&flow->chunks);
}

/* Of an episode at which nobody has looked yet nothing is in the total; it may just get there. */
static void
read_stall(struct flow_view *v, const struct flow_rare *rare, uint64_t now_ns)
{
	uint64_t counted, since;
	int tries = 0;

	do {
		counted = __atomic_load_n(&rare->running_ns, __ATOMIC_SEQ_CST);
		since = __atomic_load_n(&rare->stall_since_ns, __ATOMIC_SEQ_CST);
		v->stall_ns = __atomic_load_n(&rare->stall_ns, __ATOMIC_SEQ_CST);
	} while ((counted == STALL_MOVES ||
		  counted != __atomic_load_n(&rare->running_ns, __ATOMIC_SEQ_CST)) &&
		 ++tries < STALL_TRIES);
	v->running_ns = since ? count_less(now_ns, since) : 0;
	v->unseen_ns = counted ? 0 : v->running_ns;
}

/* For how long a write has been waiting at which nobody has looked yet. It is counted when it returns. */
static uint64_t
waiting(const struct record *rec, uint64_t now_ns)
{
	uint64_t since = (uint64_t)__atomic_load_n(&rec->waiting_ns, __ATOMIC_RELAXED);
	uint64_t ns = since ? count_less(now_ns, since) : 0;

	return ns > WAITS_NS ? ns : 0;
}

void
view_read(struct flow_view *v, const struct record *rec, enum dir dir, uint64_t now_ns)
{
	const struct flow *flow = &rec->flow[dir];
	const struct flow_rare *rare = &rec->rare[dir];

	read_flow(v, flow);
	v->stall_events = count_load(&rare->stall_events);
	read_stall(v, rare, now_ns);
	v->is_episode = v->running_ns != 0;
	if (dir == SENT && !v->is_episode)
		v->running_ns = waiting(rec, now_ns);
	for (int i = 0; i < NR_CAUSES; i++)
		v->cause_ns[i] = count_load(&rare->cause_ns[i]);
	for (int i = 0; i < NR_FLUSHES; i++)
		v->flushes[i] = count_load(&rare->flushes[i]);
}

void
view_settle(struct flow_view *v)
{
	v->pending = count_less(v->app_bytes, v->kernel_bytes + v->discarded);
	v->stall_ns += v->unseen_ns;
}

UNSYNCED void
view_since_open(struct flow_view *v, const struct record *rec, enum dir dir)
{
	const struct flow_rare *rare = &rec->rare_at_open[dir];
	struct flow_view open;

	read_flow(&open, &rec->flow_at_open[dir]);
	v->kernel_bytes = count_less(v->kernel_bytes, open.kernel_bytes);
	v->discarded = count_less(v->discarded, open.discarded);
	v->app_bytes = count_less(v->app_bytes, open.app_bytes);
	v->app_calls = count_less(v->app_calls, open.app_calls);
	v->kernel_calls = count_less(v->kernel_calls, open.kernel_calls);
	v->chunks = count_less(v->chunks, open.chunks);
	v->stall_events = count_less(v->stall_events, count_load(&rare->stall_events));
	v->stall_ns = count_less(v->stall_ns, count_load(&rare->stall_ns));
	for (int i = 0; i < NR_CAUSES; i++)
		v->cause_ns[i] =
			count_less(v->cause_ns[i], count_load(&rare->cause_ns[i]));
	for (int i = 0; i < NR_FLUSHES; i++)
		v->flushes[i] = count_less(v->flushes[i], count_load(&rare->flushes[i]));
}
