#include "metrics/snapshot.h"
#include "base/sys.h"
#include "count/member.h"
#include "count/own.h"
#include "metrics/dead.h"
#include <string.h>

/* Cookies that a hostile member has chosen to meet at one place of the table would make a search as
 * long as there are streams. Others, at most half of the places, do not come near so many. */
enum { MOST_PROBES = 512 };

enum { OPEN_TRIES = 8 };

struct last_look {
	uint64_t opened_ns, bytes, moved_ns;
	uint64_t taken; /* number of the snapshot that has it already */
};

static uint32_t
bounded(uint32_t n, uint32_t max)
{
	return n < max ? n : max;
}

/* Of the region anything is read once: what is read twice may be two things. */
static uint32_t
mark(const uint32_t *used, uint32_t max)
{
	return bounded(__atomic_load_n(used, __ATOMIC_RELAXED), max);
}

/* One of a set of `nr`. */
static uint8_t
one_of(const uint8_t *p, unsigned nr)
{
	return (uint8_t)bounded(__atomic_load_n(p, __ATOMIC_RELAXED), nr - 1);
}

UNSYNCED static void
view_addr(struct region_addr *to, const struct region_addr *from)
{
	/* By bytes and not by memcpy, which a sanitizer would watch all the same. */
	for (size_t i = 0; i < sizeof *to; i++)
		((char *)to)[i] = ((const volatile char *)from)[i];
	to->len = bounded(to->len, sizeof to->bytes);
}

/* When the bytes of the record were last seen to have changed. A record that is new to us is
 * as idle as it can be: since its open without bytes, not at all with some. */
static uint64_t
moved(struct last_look *look, const struct stream_view *s, uint64_t closed_ns,
      uint64_t now_ns)
{
	uint64_t bytes = 0, seen_ns = closed_ns ? closed_ns : now_ns;

	for (int d = 0; d < NR_DIRS; d++)
		bytes += s->flow[d].app_bytes + s->flow[d].kernel_bytes;
	if (look->opened_ns != s->opened_ns)
		*look = (struct last_look){ s->opened_ns, 0, s->opened_ns, look->taken };
	if (look->bytes != bytes) {
		look->bytes = bytes;
		look->moved_ns = seen_ns;
	}
	return look->moved_ns;
}

/* Describes one record as a stream; false: it became another stream while we read. */
UNSYNCED static bool
view_stream(struct snapshot *snap, struct stream_view *s, const struct record *rec,
	    uint32_t state, const struct flow_view *now)
{
	uint64_t closed_ns = count_load(&rec->closed_ns);
	uint64_t end_ns = state == RECORD_OPEN ? snap->now_ns : closed_ns;

	s->open = state == RECORD_OPEN;
	s->opened_ns = count_load(&rec->opened_ns);
	s->cookie = rec->cookie;
	s->inode = rec->inode;
	s->closed_seq = rec->closed_seq;
	s->pid = rec->pid;
	s->fd = rec->fd;
	s->role = rec->role % NR_ROLES;
	s->family = one_of(&rec->family, NR_FAMILIES);
	s->mode = one_of(&rec->mode, NR_MODES);
	s->bypass = one_of(&rec->bypass, NR_BYPASSES);
	s->blocked = now[SENT].is_episode       ? one_of(&rec->blocked, NR_CAUSES)
		     : s->family == FAMILY_UNIX ? CAUSE_PEER
						: CAUSE_UNKNOWN;
	s->age_ns = count_less(end_ns, s->opened_ns);
	for (int d = 0; d < NR_DIRS; d++) {
		s->chunk[d] = rec->chunk[d];
		s->flow[d] = now[d];
		view_since_open(&s->flow[d], rec, (enum dir)d);
		if (!s->open)
			s->flow[d].running_ns = s->flow[d].unseen_ns = 0;
		view_settle(&s->flow[d]);
	}
	view_addr(&s->local, &rec->local);
	view_addr(&s->peer, &rec->peer);
	record_fence();
	return __atomic_load_n(&rec->state, __ATOMIC_RELAXED) == state &&
	       count_load(&rec->opened_ns) == s->opened_ns;
}

/* One stream used by several processes. */
static void
join_stream(struct stream_view *to, const struct stream_view *s)
{
	bool later = s->open != to->open           ? s->open
		     : s->moved_ns != to->moved_ns ? s->moved_ns > to->moved_ns
						   : s->opened_ns > to->opened_ns;
	struct stream_view sum = later ? *s : *to;
	const struct stream_view *add = later ? to : s;

	if (add->flow[SENT].running_ns > sum.flow[SENT].running_ns)
		sum.blocked = add->blocked;
	for (int d = 0; d < NR_DIRS; d++)
		view_add(&sum.flow[d], &add->flow[d]);
	if (add->opened_ns < sum.opened_ns) {
		sum.age_ns += sum.opened_ns - add->opened_ns;
		sum.opened_ns = add->opened_ns;
	}
	if (add->moved_ns > sum.moved_ns)
		sum.moved_ns = add->moved_ns;
	if (add->closed_seq > sum.closed_seq)
		sum.closed_seq = add->closed_seq;
	*to = sum;
}

/* The place in the table where the cookie is or belongs; NULL: it goes without. */
static uint32_t *
join_find(struct snapshot *snap, uint64_t cookie)
{
	uint32_t at = (uint32_t)(cookie * 0x9e3779b97f4a7c15u >> 32);

	for (uint32_t i = 0; i < MOST_PROBES; i++) {
		uint32_t *p = &snap->join[(at + i) % snap->join_cap];

		if (!*p || snap->streams[*p - 1].cookie == cookie)
			return p;
	}
	return NULL;
}

/* Closed ones are taken if recent, or if an open one needs them to be whole. */
static void
add_stream(struct snapshot *snap, struct stream_view *s, uint32_t index)
{
	uint32_t *joined = s->cookie ? join_find(snap, s->cookie) : NULL;
	uint64_t closed_ns = s->open ? 0 : s->opened_ns + s->age_ns;

	if (!s->open && (!joined || !*joined) &&
	    count_less(snap->totals.closes, s->closed_seq) >= KEPT_CLOSED)
		return;
	s->moved_ns = moved(&snap->looks[index], s, closed_ns, snap->now_ns);
	if (joined && *joined) {
		join_stream(&snap->streams[*joined - 1], s);
		return;
	}
	snap->streams[snap->nr_streams++] = *s;
	if (joined)
		*joined = snap->nr_streams;
}

/* One round over the records for those in state `want`: open ones first, so that closed ones
 * find what they belong to. A record that is closed between the two rounds stays open here. */
static void
round_streams(struct snapshot *snap, struct region *region, uint32_t used, uint32_t want)
{
	struct flow_view now[NR_DIRS];
	struct stream_view s;

	for (uint32_t i = 0; i < used; i++) {
		const struct record *rec = &region->records[i];
		uint32_t state = __atomic_load_n(&rec->state, __ATOMIC_ACQUIRE);

		if (state != want || snap->looks[i].taken == snap->number)
			continue;
		for (int d = 0; d < NR_DIRS; d++)
			view_read(&now[d], rec, (enum dir)d, snap->now_ns);
		if (!view_stream(snap, &s, rec, state, now))
			continue;
		snap->looks[i].taken = snap->number;
		add_stream(snap, &s, i);
	}
}

/* Counts open records until they are those opened less those closed: streams come and go meanwhile.
 * In a region full of noise they never are. */
UNSYNCED static void
count_open(struct snapshot *snap, struct region *region)
{
	struct totals *totals = &snap->totals;
	uint64_t open = 1, counted = 0;

	for (int tries = 0; open != counted && tries < OPEN_TRIES; tries++) {
		uint32_t used = mark(&region->records_used, region_nr_records());

		memset(snap->open, 0, sizeof snap->open);
		counted = open = 0;
		for (uint32_t i = 0; i < used; i++) {
			const struct record *rec = &region->records[i];

			if (__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE) !=
				    RECORD_OPEN ||
			    rec->again)
				continue;
			snap->open[rec->role % NR_ROLES][one_of(&rec->mode, NR_MODES)]++;
			counted++;
		}
		for (int r = 0; r < NR_ROLES; r++) {
			totals->opened[r] = count_load(&region->totals.opened[r]);
			totals->closed[r] = count_load(&region->totals.closed[r]);
			open += totals->opened[r] - totals->closed[r];
		}
	}
}

static void
total_flows(struct snapshot *snap, struct region *region, uint32_t used)
{
	struct flow_view now;

	for (uint32_t i = 0; i < used; i++) {
		const struct record *rec = &region->records[i];
		bool open =
			__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE) == RECORD_OPEN;
		unsigned role = __atomic_load_n(&rec->role, __ATOMIC_RELAXED);

		for (int d = 0; d < NR_DIRS; d++) {
			view_read(&now, rec, (enum dir)d, snap->now_ns);
			if (!open)
				now.running_ns = now.unseen_ns = 0;
			view_settle(&now);
			view_add(&snap->total[role % NR_ROLES][d], &now);
			snap->stalled += d == SENT && now.running_ns != 0;
		}
	}
}

static void
list_streams(struct snapshot *snap, struct region *region, uint32_t used)
{
	memset(snap->join, 0, snap->join_cap * sizeof *snap->join);
	round_streams(snap, region, used, RECORD_OPEN);
	round_streams(snap, region, used, RECORD_CLOSED);
	for (uint32_t i = 0; i < snap->nr_streams; i++)
		snap->streams[i].idle_ns =
			count_less(snap->now_ns, snap->streams[i].moved_ns);
}

/* A gauge below zero would be a huge number. */
static uint64_t
gauge(const uint64_t *p)
{
	uint64_t n = count_load(p);

	return n >> 40 ? 0 : n;
}

/* The fullest listener, and of those that are as full the one with the least room. */
static void
read_accept_queue(struct snapshot *snap, const struct member *m)
{
	uint64_t queue = gauge(&m->accept_queue), limit = gauge(&m->accept_limit);

	if (!limit || queue < snap->accept_queue)
		return;
	if (queue == snap->accept_queue && snap->accept_limit &&
	    limit >= snap->accept_limit)
		return;
	snap->accept_queue = queue;
	snap->accept_limit = limit;
}

/* Gauges of members that left or died are not shown, what they counted is. */
static void
read_members(struct snapshot *snap, struct region *region)
{
	uint32_t used = mark(&region->members_used, NR_MEMBERS);

	for (uint32_t i = 0; i < used; i++) {
		const struct member *m = &region->members[i];
		uint32_t pid = __atomic_load_n(&m->pid, __ATOMIC_RELAXED);
		/* Those who were killed have just lost their slots, but where nobody can tell. */
		bool alive = pid && pid <= INT32_MAX &&
			     !__atomic_load_n(&m->left, __ATOMIC_RELAXED) &&
			     (__atomic_load_n(&m->locks, __ATOMIC_RELAXED) & 1 ||
			      count_load(&m->pid_ns) || !pid_gone(pid));

		if (alive) {
			snap->pids[snap->nr_pids++] = (int32_t)pid;
			read_accept_queue(snap, m);
		}
		for (unsigned t = 0; t < NR_POOL_TIERS; t++) {
			struct pool_count *sum = &snap->pool[t];

			sum->hits += count_load(&m->pool[t].hits);
			sum->misses += count_load(&m->pool[t].misses);
			sum->exhausted += count_load(&m->pool[t].exhausted);
			if (!alive)
				continue;
			sum->buffers += gauge(&m->pool[t].buffers);
			sum->in_use += gauge(&m->pool[t].in_use);
			sum->peak += gauge(&m->pool[t].peak);
		}
	}
}

/* The last ones, the oldest first. */
static void
read_ended(struct snapshot *snap, const struct region *region)
{
	uint64_t nr = snap->totals.nr_ended;

	for (unsigned i = 0; i < KEPT_ENDED; i++) {
		uint64_t entry = count_load(&region->ended[(nr + i) % KEPT_ENDED]);
		uint32_t pid = (uint32_t)entry;

		if (!pid || pid > INT32_MAX || entry >> 32 >= NR_ENDINGS)
			continue;
		snap->ended[snap->nr_ended++] = (struct ended){
			(int32_t)pid,
			(enum ending)(entry >> 32),
		};
	}
}

static void
add_sizes(struct snapshot *snap, const struct tally *tally, unsigned bits)
{
	uint64_t reads = count_load(&tally->count[SIZE_NATIVE_READ][bits]);
	uint64_t writes = count_load(&tally->count[SIZE_NATIVE_WRITE][bits]);
	unsigned b = size_bucket(bits);

	for (int kind = 0; kind < NR_SIZES; kind++)
		snap->sizes[kind][b] += count_load(&tally->count[kind][bits]);
	snap->sizes[SIZE_APP_READ][b] += reads;
	snap->sizes[SIZE_KERNEL_READ][b] += reads;
	snap->sizes[SIZE_APP_WRITE][b] += writes;
	snap->sizes[SIZE_KERNEL_WRITE][b] += writes;
}

static void
read_sizes(struct snapshot *snap, struct region *region)
{
	uint32_t used = mark(&region->tallies_used, NR_TALLIES);

	for (uint32_t i = 0; i < used; i++)
		for (unsigned bits = 0; bits < NR_SIZE_BITS; bits++)
			add_sizes(snap, &region->tallies[i], bits);
}

void
snapshot_trim(struct snapshot *snap)
{
	if (snap->streams)
		sys_unmap(snap->streams, snap->streams_cap * sizeof *snap->streams);
	if (snap->order)
		sys_unmap(snap->order, snap->streams_cap * sizeof *snap->order);
	if (snap->join)
		sys_unmap(snap->join, snap->join_cap * sizeof *snap->join);
	snap->streams = NULL;
	snap->order = snap->join = NULL;
	snap->streams_cap = 0;
	snap->nr_streams = snap->join_cap = 0;
}

/* Room for every record in use to be a stream. */
static bool
reserve(struct snapshot *snap, uint32_t nr, uint32_t used)
{
	size_t cap = snap->streams_cap ? snap->streams_cap : 1024;

	if (!snap->looks)
		snap->looks = sys_map(nr * sizeof *snap->looks, 0);
	if (!snap->looks)
		return false;
	if (snap->streams && used <= snap->streams_cap)
		return true;
	while (cap < used)
		cap *= 2;
	snapshot_trim(snap);
	snap->streams_cap = cap;
	snap->join_cap = (uint32_t)(2 * cap);
	snap->streams = sys_map(cap * sizeof *snap->streams, 0);
	snap->order = sys_map(cap * sizeof *snap->order, 0);
	snap->join = sys_map(2 * cap * sizeof *snap->join, 0);
	if (snap->streams && snap->order && snap->join)
		return true;
	snapshot_trim(snap);
	return false;
}

static void
read_start(struct snapshot *snap, struct region *region)
{
	snap->first_pid = region_first_pid();
	snap->started_ns = count_load(&region->started_ns);
	snap->started_wall_ms = count_load(&region->started_wall_ms);
	memcpy(&snap->totals, &region->totals, sizeof snap->totals);
}

bool
snapshot_take(struct snapshot *snap, bool list)
{
	struct region *region = region_get();
	uint32_t nr = region_nr_records(), used;

	if (!region)
		return false;
	used = mark(&region->records_used, nr);
	if (list && !reserve(snap, nr, used))
		return false;
	snap->listed = list;
	snap->number++;
	snap->now_ns = (uint64_t)sys_now_ns();
	snap->wall_ms = (uint64_t)sys_wall_ms();
	memset(snap->total, 0, sizeof snap->total);
	memset(snap->sizes, 0, sizeof snap->sizes);
	memset(snap->pool, 0, sizeof snap->pool);
	snap->accept_queue = snap->accept_limit = 0;
	snap->stalled = snap->nr_pids = snap->nr_streams = 0;
	snap->nr_ended = 0;
	dead_close(snap->now_ns);
	__atomic_store_n(&region->totals.shown_ns, snap->now_ns, __ATOMIC_RELAXED);
	read_start(snap, region);
	count_open(snap, region);
	total_flows(snap, region, used);
	if (list)
		list_streams(snap, region, used);
	read_members(snap, region);
	read_ended(snap, region);
	read_sizes(snap, region);
	return true;
}

void
snapshot_free(struct snapshot *snap)
{
	snapshot_trim(snap);
	if (snap->looks)
		sys_unmap(snap->looks, region_nr_records() * sizeof *snap->looks);
	memset(snap, 0, sizeof *snap);
}
