#include "cli/export/exporter.h"
#include "cli/export/accept.h"
#include "cli/cli.h"
#include "cli/export/gather.h"
#include "cli/export/ledger.h"
#include "cli/export/merge.h"
#include "cli/seen.h"
#include "cli/text.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SHARED_MS = 1000, NR_LISTS = 8 };

/* src/cli/export/web/index.html, by web/index.S */
extern const char web_page[], web_page_end[];

/* A gathering that several threads look at. */
struct shared {
	struct gathering gathering;
	int refs; /* L */
};

/* One answer to /streams, for who asks the same within a second. */
struct list {
	char *query;
	char *body;
	double at_ms;
};

struct exporter {
	pthread_mutex_t lock; /* held while families are asked: who waits gets the result */
	struct seen seen;     /* L */
	struct ledger *ledger;       /* L */
	struct shared *newest;       /* L */
	double newest_ms;            /* L: its end */
	pthread_mutex_t list_lock;   /* before `lock`; held likewise */
	struct list lists[NR_LISTS]; /* by list_lock */
};

static void
put_locked(struct shared *s)
{
	if (!s || --s->refs)
		return;
	gathering_fini(&s->gathering);
	free(s);
}

/* A gathering that is less than a second old. */
static struct shared *
get_locked(struct exporter *e)
{
	if (!e->newest || now_ms() - e->newest_ms >= SHARED_MS) {
		put_locked(e->newest);
		e->newest = have(calloc(1, sizeof *e->newest));
		e->newest->refs = 1;
		gather(&e->newest->gathering, &e->seen);
		ledger_note(e->ledger, &e->newest->gathering);
		/* From its end: else nobody could share one that took long. */
		e->newest_ms = now_ms();
	}
	e->newest->refs++;
	return e->newest;
}

struct exporter *
exporter_new(bool per_family)
{
	struct exporter *e = have(calloc(1, sizeof *e));

	e->ledger = ledger_new(per_family);
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->list_lock, NULL);
	return e;
}

void
exporter_free(struct exporter *e)
{
	put_locked(e->newest);
	ledger_free(e->ledger);
	seen_fini(&e->seen);
	for (int i = 0; i < NR_LISTS; i++) {
		free(e->lists[i].query);
		free(e->lists[i].body);
	}
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->list_lock);
	free(e);
}

void
exporter_begin(void *exporter)
{
	struct exporter *e = exporter;

	pthread_mutex_lock(&e->lock);
	put_locked(get_locked(e));
	pthread_mutex_unlock(&e->lock);
}

static void
set_body(struct reply *reply, int status, const char *type, char *body)
{
	reply->status = status;
	reply->type = type;
	reply->body = have(body);
	reply->len = strlen(body);
}

static void
set_error(struct reply *reply, int status, const char *sentence)
{
	set_body(reply, status, "text/plain; charset=utf-8", strdup(sentence));
}

static void
set_json(struct reply *reply, char *body)
{
	set_body(reply, 200, "application/json", body);
}

static char *
dump(json_t *doc)
{
	struct text out = { 0 };
	char *body = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(doc);
	text_add(&out, "%s\n", body ? body : "null");
	free(body);
	return out.at;
}

/* What the exporter has to say of itself. */
static void
write_own(const struct gathering *g, struct text *out)
{
	text_add(out,
		 "# HELP weir_export_families Sockets of families found, by what became "
		 "of asking them.\n# TYPE weir_export_families gauge\n");
	for (int i = 0; i < NR_STATES; i++)
		text_add(out, "weir_export_families{state=\"%s\"} %d\n", state_names[i],
			 gathering_count(g, (enum state)i));
	text_add(out,
		 "# HELP weir_export_scrape_duration_seconds Time that finding and asking "
		 "the families took.\n# TYPE weir_export_scrape_duration_seconds gauge\n"
		 "weir_export_scrape_duration_seconds %.6f\n",
		 g->seconds);
}

static char *
metrics_text(struct exporter *e, bool openmetrics)
{
	struct text out = { 0 };
	struct shared *s;

	pthread_mutex_lock(&e->lock);
	s = get_locked(e);
	ledger_write(e->ledger, openmetrics, &out);
	write_own(&s->gathering, &out);
	put_locked(s);
	pthread_mutex_unlock(&e->lock);
	if (openmetrics)
		text_add(&out, "# EOF\n");
	return out.at;
}

char *
exporter_text(struct exporter *e)
{
	return metrics_text(e, false);
}

static void
answer_metrics(struct exporter *e, const struct question *question, struct reply *reply)
{
	bool openmetrics = accept_openmetrics(question->accept);

	set_body(reply, 200,
		 openmetrics
			 ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			 : "text/plain; version=0.0.4; charset=utf-8",
		 metrics_text(e, openmetrics));
}

static void
answer_health(struct reply *reply)
{
	set_json(reply,
		 dump(json_pack("{s:s, s:s}", "status", "ok", "version", WEIR_VERSION)));
}

static void
answer_gathered(struct exporter *e, json_t *(*document)(const struct gathering *),
		struct reply *reply)
{
	struct shared *s;

	pthread_mutex_lock(&e->lock);
	s = get_locked(e);
	set_json(reply, dump(document(&s->gathering)));
	put_locked(s);
	pthread_mutex_unlock(&e->lock);
}

/* The families' own order decides which come first of each; the rest is theirs to sort out. */
static char *
list_streams(struct exporter *e, const struct merge_query *query, const char *target)
{
	struct shared *s;
	json_t **docs;
	char *body;

	pthread_mutex_lock(&e->lock);
	s = get_locked(e);
	pthread_mutex_unlock(&e->lock);
	docs = have(calloc((size_t)s->gathering.nr + 1, sizeof(json_t *)));
	gathering_ask(&s->gathering, query->socket, target, docs);
	body = dump(merge_streams(&s->gathering, docs, query));
	for (int i = 0; i < s->gathering.nr; i++)
		json_decref(docs[i]);
	free(docs);
	pthread_mutex_lock(&e->lock);
	put_locked(s);
	pthread_mutex_unlock(&e->lock);
	return body;
}

static void
answer_streams(struct exporter *e, const struct question *question, struct reply *reply)
{
	struct merge_query query;
	struct text target = { 0 }, key = { 0 };
	struct list *list = NULL;

	if (!merge_query_read(&query, question->sort, question->state, question->limit,
			      question->socket)) {
		set_error(reply, 400,
			  "400 Bad Request: sort=bytes|backpressure|blocked|age, "
			  "state=open|closed, limit=N, socket=PATH\n");
		return;
	}
	merge_query_write(&query, &target);
	text_add(&key, "%s %s", target.at, query.socket ? query.socket : "");
	pthread_mutex_lock(&e->list_lock);
	for (struct list *l = e->lists; l < e->lists + NR_LISTS; l++) {
		if (l->query && strcmp(l->query, key.at) == 0) {
			list = l;
			break;
		}
		if (!list || l->at_ms < list->at_ms)
			list = l;
	}
	if (!list->query || strcmp(list->query, key.at) != 0 ||
	    now_ms() - list->at_ms >= SHARED_MS) {
		free(list->query);
		free(list->body);
		list->body = list_streams(e, &query, target.at);
		list->query = have(strdup(key.at));
		list->at_ms = now_ms();
	}
	set_json(reply, strdup(list->body));
	pthread_mutex_unlock(&e->list_lock);
	text_fini(&target);
	text_fini(&key);
}

/* The script and the style that the page came with are those that say this answer's word, which
 * nobody can know before. */
static void
answer_page(struct reply *reply)
{
	static const char mark[] = "@NONCE@";
	const char *at = web_page, *next;
	struct text page = { 0 }, policy = { 0 };
	unsigned char random[16];
	char nonce[2 * sizeof random + 1];

	if (getrandom(random, sizeof random, 0) != sizeof random) {
		set_error(reply, 503, "503 Service Unavailable\n");
		return;
	}
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	while ((next = memmem(at, (size_t)(web_page_end - at), mark, sizeof mark - 1))) {
		text_bytes(&page, at, (size_t)(next - at));
		text_add(&page, "%s", nonce);
		at = next + sizeof mark - 1;
	}
	text_bytes(&page, at, (size_t)(web_page_end - at));
	text_add(&policy,
		 "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
		 "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
		 "frame-ancestors 'none'; require-trusted-types-for 'script'; "
		 "trusted-types 'none'",
		 nonce, nonce);
	set_body(reply, 200, "text/html; charset=utf-8", page.at);
	reply->policy = policy.at;
}

void
exporter_answer(const struct question *question, struct reply *reply, void *exporter)
{
	const char *path = question->path;

	if (strcmp(path, "/") == 0)
		answer_page(reply);
	else if (strcmp(path, "/metrics") == 0)
		answer_metrics(exporter, question, reply);
	else if (strcmp(path, "/healthz") == 0)
		answer_health(reply);
	else if (strcmp(path, "/families") == 0)
		answer_gathered(exporter, gathering_json, reply);
	else if (strcmp(path, "/buffer-pool-metrics") == 0)
		answer_gathered(exporter, gathering_pool, reply);
	else if (strcmp(path, "/streams") == 0)
		answer_streams(exporter, question, reply);
	else
		set_error(reply, 404, "404 Not Found\n");
}
