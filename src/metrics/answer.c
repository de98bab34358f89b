#include "metrics/answer.h"
#include "base/sys.h"
#include "stream/keeper.h"
#include <string.h>

#define SNAPSHOT_NS INT64_C(1000000000)
#define IDLE_NS (10 * SNAPSHOT_NS)

/* So long each snapshot has the streams, after somebody asked for them: then all documents of a second
 * are of one snapshot. */
#define LISTS_NS (60 * SNAPSHOT_NS)

/* Slow readers of many streams: with so much in their hands nothing more is rendered. */
enum { LARGE = 1 << 20, ALL_MAX = 64 << 20 };

static const char paths_text[] =
	"/metrics\n/metrics.json\n/streams\n/buffer-pool-metrics\n"
	"/healthz\n/\n";

static const char *
reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Service Unavailable";
	}
}

const char *
answer_type(const struct request *req)
{
	switch (req->document) {
	case DOC_METRICS:
		return text_content_types[req->format];
	case DOC_LIST:
		return "text/plain; charset=utf-8";
	default:
		return "application/json";
	}
}

void
answer_head(struct out *out, int status, const char *type, size_t body_len)
{
	out_str(out, "HTTP/1.1 ");
	out_u64(out, (uint64_t)status);
	out_char(out, ' ');
	out_str(out, reason(status));
	out_str(out, "\r\nContent-Type: ");
	out_str(out, type);
	out_str(out, "\r\nContent-Length: ");
	out_u64(out, body_len);
	if (status == 405)
		out_str(out, "\r\nAllow: GET, HEAD");
	if (status == 503)
		out_str(out, "\r\nRetry-After: 1");
	out_str(out, "\r\nConnection: close\r\n\r\n");
}

void
answer_plain(struct out *out, int status, bool head)
{
	const char *name = reason(status);

	answer_head(out, status, "text/plain; charset=utf-8", strlen(name) + 5);
	if (head)
		return;
	out_u64(out, (uint64_t)status);
	out_char(out, ' ');
	out_str(out, name);
	out_char(out, '\n');
}

/* Somebody watches: the looks that cost something are made from now on. */
static bool
look(struct answers *a, bool list)
{
	struct region *region = region_get();
	uint64_t now = (uint64_t)sys_now_ns();

	if (region)
		__atomic_store_n(&region->totals.watched_ns, now, __ATOMIC_RELAXED);
	if (list)
		a->listed_ns = now;
	if (a->snap.number && now - a->snap.now_ns < (uint64_t)SNAPSHOT_NS &&
	    (a->snap.listed || !list))
		return true;
	keeper_look_now();
	return snapshot_take(&a->snap,
			     a->listed_ns && now - a->listed_ns < (uint64_t)LISTS_NS);
}

static bool
same(const struct request *x, const struct request *y)
{
	if (x->document != y->document)
		return false;
	if (x->document == DOC_METRICS)
		return x->format == y->format;
	return x->document != DOC_STREAMS ||
	       (x->query.sort == y->query.sort && x->query.state == y->query.state &&
		x->query.limit == y->query.limit);
}

static void
render(struct answers *a, struct body *body)
{
	struct out *out = &body->out;

	out_clear(out);
	switch (body->of.document) {
	case DOC_METRICS:
		text_metrics(out, &a->snap, body->of.format);
		break;
	case DOC_JSON:
		json_metrics(out, &a->snap);
		break;
	case DOC_STREAMS:
		json_streams(out, &a->snap, &body->of.query);
		break;
	case DOC_POOL:
		json_pool(out, &a->snap);
		break;
	case DOC_HEALTH:
		json_health(out);
		break;
	default:
		out_str(out, paths_text);
	}
}

static bool
is_old(const struct body *body, const struct answers *a)
{
	return body->snapshot_number != a->snap.number;
}

static bool
too_much(const struct answers *a)
{
	size_t all = 0;

	for (int i = 0; i < NR_BODIES; i++)
		all += a->bodies[i].refs ? a->bodies[i].out.cap : 0;
	return all > ALL_MAX;
}

struct body *
answer_get(struct answers *a, const struct request *req)
{
	bool counts = req->document != DOC_HEALTH && req->document != DOC_LIST;
	struct body *free = NULL;

	if (counts && !look(a, req->document == DOC_STREAMS))
		return NULL;
	for (struct body *b = a->bodies; b < a->bodies + NR_BODIES; b++) {
		if (b->out.len && same(&b->of, req) && !is_old(b, a)) {
			b->refs++;
			return b;
		}
		if (!b->refs && (!free || (is_old(b, a) && !is_old(free, a))))
			free = b;
	}
	if (!free || too_much(a))
		return NULL;
	free->of = *req;
	free->snapshot_number = a->snap.number;
	render(a, free);
	if (free->out.failed) {
		out_free(&free->out);
		return NULL;
	}
	free->refs = 1;
	return free;
}

void
answer_put(struct body *body)
{
	body->refs--;
}

int64_t
answers_tidy(struct answers *a, int64_t now_ns)
{
	int64_t taken_ns = (int64_t)a->snap.now_ns, again_ns = 0;

	for (struct body *b = a->bodies; b < a->bodies + NR_BODIES; b++) {
		if (b->refs || b->out.cap <= LARGE)
			continue;
		if (is_old(b, a) || now_ns >= taken_ns + SNAPSHOT_NS)
			out_free(&b->out);
		else
			again_ns = taken_ns + SNAPSHOT_NS;
	}
	if (again_ns || !a->snap.streams)
		return again_ns;
	if (now_ns < taken_ns + IDLE_NS)
		return taken_ns + IDLE_NS;
	snapshot_trim(&a->snap);
	return 0;
}

void
answers_free(struct answers *a)
{
	for (int i = 0; i < NR_BODIES; i++)
		out_free(&a->bodies[i].out);
	snapshot_free(&a->snap);
}
