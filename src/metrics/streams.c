/* The document /streams: choosing, sorting and writing. */
#include "metrics/json.h"
#include "metrics/names.h"
#include <string.h>

/* By these keys in turn, greater first. The last one makes the order total. */
struct sort_key {
	uint64_t key[3];
};

static struct sort_key
sort_key(const struct snapshot *snap, uint32_t i, enum stream_sort sort)
{
	const struct stream_view *s = &snap->streams[i];
	struct sort_key k = { { 0, ~s->opened_ns, ~(uint64_t)i } };

	switch (sort) {
	case SORT_BYTES:
		k.key[0] = s->flow[RECEIVED].kernel_bytes + s->flow[SENT].kernel_bytes;
		break;
	case SORT_BACKPRESSURE:
		k.key[0] = s->flow[RECEIVED].stall_ns + s->flow[SENT].stall_ns;
		break;
	case SORT_BLOCKED:
		k.key[0] = s->flow[RECEIVED].running_ns > s->flow[SENT].running_ns
				   ? s->flow[RECEIVED].running_ns
				   : s->flow[SENT].running_ns;
		break;
	case SORT_AGE:
		break;
	default:
		k.key[0] = s->open;
	}
	return k;
}

/* Newest closed first: not a sort that users can ask for. */
enum { SORT_CLOSED = SORT_AGE + 1 };

static bool
before(const struct snapshot *snap, uint32_t a, uint32_t b, int sort)
{
	struct sort_key x, y;

	if (sort == SORT_CLOSED)
		return snap->streams[a].closed_seq > snap->streams[b].closed_seq;
	x = sort_key(snap, a, (enum stream_sort)sort);
	y = sort_key(snap, b, (enum stream_sort)sort);
	for (int i = 0; i < 3; i++)
		if (x.key[i] != y.key[i])
			return x.key[i] > y.key[i];
	return false;
}

static void
sift(const struct snapshot *snap, uint32_t *order, uint32_t root, uint32_t nr, int sort)
{
	for (uint32_t child; (child = 2 * root + 1) < nr; root = child) {
		uint32_t top = order[root];

		if (child + 1 < nr && before(snap, order[child], order[child + 1], sort))
			child++;
		if (!before(snap, top, order[child], sort))
			return;
		order[root] = order[child];
		order[child] = top;
	}
}

/* A heap sort: libc's qsort may call malloc. */
static void
sort_order(const struct snapshot *snap, uint32_t *order, uint32_t nr, int sort)
{
	for (uint32_t i = nr / 2; i-- > 0;)
		sift(snap, order, i, nr, sort);
	for (uint32_t i = nr; i-- > 1;) {
		uint32_t last = order[0];

		order[0] = order[i];
		order[i] = last;
		sift(snap, order, 0, i, sort);
	}
}

/* The last closed ones, then the open ones; the number of both. */
static uint32_t
choose(struct snapshot *snap, enum stream_state state)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < snap->nr_streams && state != STATE_OPEN; i++)
		if (!snap->streams[i].open)
			snap->order[nr++] = i;
	if (nr > SHOWN_CLOSED) {
		sort_order(snap, snap->order, nr, SORT_CLOSED);
		nr = SHOWN_CLOSED;
	}
	for (uint32_t i = 0; i < snap->nr_streams && state != STATE_CLOSED; i++)
		if (snap->streams[i].open)
			snap->order[nr++] = i;
	return nr;
}

static void
word(struct out *out, const char *name, const char *value)
{
	json_key(out, ",", name);
	out_json(out, value, strlen(value));
}

static void
stream(struct out *out, const struct stream_view *s)
{
	json_key(out, "{", "pid");
	out_i64(out, s->pid);
	json_key(out, ",", "fd");
	out_i64(out, s->fd);
	word(out, "role", role_names[s->role]);
	word(out, "family", family_names[s->family]);
	json_key(out, ",", "local");
	json_address(out, &s->local);
	json_key(out, ",", "peer");
	json_address(out, &s->peer);
	word(out, "state", s->open ? "open" : "closed");
	word(out, "mode", mode_names[s->mode]);
	if (s->mode == MODE_BYPASSED) {
		word(out, "bypassReason", bypass_names[s->bypass]);
	} else {
		json_key(out, ",", "bypassReason");
		out_str(out, "null");
	}
	json_u64(out, ",", "inode", s->inode);
	json_ms(out, ",", "idle", s->idle_ns);
	for (int w = 0; w < NR_WAYS; w++) {
		json_key(out, ",", way_names[w]);
		json_flow(out, &s->flow[way_dir((enum way)w, (enum role)s->role)],
			  s->age_ns, cause_names[s->blocked]);
	}
	out_char(out, '}');
}

void
json_streams(struct out *out, struct snapshot *snap, const struct stream_query *query)
{
	uint32_t nr = query->limit ? choose(snap, query->state) : 0;

	sort_order(snap, snap->order, nr, query->sort);
	if (nr > query->limit)
		nr = query->limit;
	out_str(out, "{\"schema\":\"weir.streams/1\"");
	json_u64(out, ",", "timestamp", snap->wall_ms);
	json_key(out, ",", "streams");
	out_char(out, '[');
	for (uint32_t i = 0; i < nr; i++) {
		if (i)
			out_char(out, ',');
		stream(out, &snap->streams[snap->order[i]]);
	}
	out_str(out, "]}\n");
}
