#include "cli/export/gather.h"
#include "cli/cli.h"
#include "cli/http.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Both have tens of KiB; /metrics.json names up to 1,280 processes. */
enum { MOST_TEXT = 256 << 10, MOST_JSON = 512 << 10, MOST_PROGRAM = 255 };

const char *const state_names[NR_STATES] = { "live", "dead", "slow", "invalid",
					     "denied" };

static double
seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static enum state
state_of(const struct http_get *get)
{
	switch (get->error) {
	case -ETIMEDOUT:
		return STATE_SLOW;
	case -EACCES:
	case -EPERM:
		return STATE_DENIED;
	default:
		return family_is_gone(get->error) ? STATE_DEAD : STATE_INVALID;
	}
}

/* Both documents must be of one family, and whole. */
static bool
is_family(struct member *m, const struct http_get *json, struct http_get *text)
{
	char *body = text->body;
	__int128 start;

	text->body = NULL;
	if (!exposition_read(&m->said, body, text->len) ||
	    !family_read(&m->family, m->place, json))
		return false;
	return strlen(m->family.program) <= MOST_PROGRAM &&
	       exposition_value(&m->said, "process_start_time_seconds", &start) &&
	       start == json_integer_value(
				json_object_get(m->family.metrics, "startTime")) *
				(__int128)1000000;
}

/* An infinite bound is null, which JSON has no number for. */
static json_t *
histogram_json(const struct exposition *said, const char *name)
{
	json_t *bounds = json_array(), *counts = json_array();

	for (int i = 0; i < said->nr_samples; i++) {
		const struct sample *s = &said->samples[i];

		if (s->part != PART_BUCKET || *s->labels ||
		    strcmp(said->metrics[s->metric].name, name) != 0)
			continue;
		json_array_append_new(bounds, isinf(s->bound) ? json_null()
							      : json_real(s->bound));
		json_array_append_new(counts, json_real((double)s->value / 1e9));
	}
	return json_pack("{s:o, s:o}", "le", bounds, "count", counts);
}

static void
note_figures(struct member *m)
{
	static const char *const names[] = {
		"weir_write_hold_seconds",     "weir_app_write_size_bytes",
		"weir_app_read_size_bytes",    "weir_kernel_write_size_bytes",
		"weir_kernel_read_size_bytes",
	};
	__int128 blocked = 0;

	exposition_value(&m->said, "weir_streams_backpressured", &blocked);
	m->blocked = (double)blocked / 1e9;
	m->histograms = json_object();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		json_object_set_new(m->histograms, names[i],
				    histogram_json(&m->said, names[i]));
}

static void
meet(struct member *m, const struct http_get *json, struct http_get *text)
{
	m->state = state_of(json->error ? json : text);
	if (json->error || text->error)
		return;
	m->state = STATE_LIVE;
	if (is_family(m, json, text)) {
		note_figures(m);
		return;
	}
	m->state = STATE_INVALID;
	exposition_fini(&m->said);
	json_decref(m->family.metrics);
	m->family = (struct family){ 0 };
}

static int
by_program_and_pid(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int programs = strcmp(x->family.metrics ? x->family.program : "",
			      y->family.metrics ? y->family.program : "");

	if (programs)
		return programs;
	if (x->family.seen_pid != y->family.seen_pid)
		return x->family.seen_pid > y->family.seen_pid ? 1 : -1;
	return strcmp(x->place->path, y->place->path);
}

void
gather(struct gathering *g, struct seen *seen)
{
	double began = seconds_of(CLOCK_MONOTONIC);
	struct http_get *gets;
	int nr;

	*g = (struct gathering){ 0 };
	places_find(&g->places, seen);
	nr = g->nr = g->places.nr;
	g->at = have(calloc((size_t)nr + 1, sizeof *g->at));
	gets = have(calloc(2 * (size_t)nr + 1, sizeof *gets));
	for (int i = 0; i < nr; i++) {
		int socket = g->places.at[i].fd;

		gets[2 * i] = (struct http_get){ .socket = socket,
						 .target = "/metrics.json",
						 .most = MOST_JSON };
		gets[2 * i + 1] = (struct http_get){ .socket = socket,
						     .target = "/metrics",
						     .most = MOST_TEXT };
	}
	http_run(gets, 2 * nr, GATHER_TIMEOUT_MS);
	for (int i = 0; i < nr; i++) {
		g->at[i].place = &g->places.at[i];
		meet(&g->at[i], &gets[2 * i], &gets[2 * i + 1]);
		free(gets[2 * i].body);
		free(gets[2 * i + 1].body);
	}
	free(gets);
	qsort(g->at, (size_t)nr, sizeof *g->at, by_program_and_pid);
	g->seconds = seconds_of(CLOCK_MONOTONIC) - began;
	g->timestamp = (long long)(seconds_of(CLOCK_REALTIME) * 1000);
}

void
gathering_fini(struct gathering *g)
{
	for (int i = 0; i < g->nr; i++) {
		json_decref(g->at[i].family.metrics);
		json_decref(g->at[i].histograms);
		exposition_fini(&g->at[i].said);
	}
	free(g->at);
	places_fini(&g->places);
	*g = (struct gathering){ 0 };
}

int
gathering_count(const struct gathering *g, enum state state)
{
	int nr = 0;

	for (int i = 0; i < g->nr; i++)
		nr += g->at[i].state == state;
	return nr;
}

static bool
is_shown_as(const struct member *m, const char *socket)
{
	json_t *shown = json_path(m->place->path);
	bool ret = strcmp(json_string_value(shown), socket) == 0;

	json_decref(shown);
	return ret;
}

/* The document, unless it would take many times its length in memory: an entry of /streams has an
 * object in 140 bytes and a comma in 16. */
static json_t *
read_document(const struct http_get *get)
{
	size_t nr_objects = 0, nr_commas = 0;

	if (get->error)
		return NULL;
	for (const char *c = get->body; c < get->body + get->len; c++) {
		nr_objects += *c == '{' || *c == '[';
		nr_commas += *c == ',';
	}
	if (nr_objects > get->len / 40 + 8 || nr_commas > get->len / 8 + 8)
		return NULL;
	return json_loadb(get->body, get->len, 0, NULL);
}

void
gathering_ask(const struct gathering *g, const char *socket, const char *target,
	      json_t **docs)
{
	struct http_get *gets = have(calloc((size_t)g->nr + 1, sizeof *gets));
	int *whose = have(calloc((size_t)g->nr + 1, sizeof *whose)), nr = 0;

	for (int i = 0; i < g->nr; i++) {
		docs[i] = NULL;
		if (g->at[i].state != STATE_LIVE ||
		    (socket && !is_shown_as(&g->at[i], socket)))
			continue;
		whose[nr] = i;
		gets[nr++] = (struct http_get){ .socket = g->at[i].place->fd,
						.target = target };
	}
	http_run(gets, nr, GATHER_TIMEOUT_MS);
	for (int i = 0; i < nr; i++) {
		docs[whose[i]] = read_document(&gets[i]);
		free(gets[i].body);
	}
	free(gets);
	free(whose);
}

static json_t *
member_json(const struct member *m)
{
	bool live = m->state == STATE_LIVE;

	return json_pack("{s:s?, s:o, s:o, s:s, s:O?, s:o, s:O?}", "program",
			 m->family.program, "pid",
			 live ? json_integer(m->family.seen_pid) : json_null(),
			 "socket", json_path(m->place->path), "state",
			 state_names[m->state], "metrics", m->family.metrics, "blocked",
			 live ? json_real(m->blocked) : json_null(), "histograms",
			 m->histograms);
}

json_t *
gathering_json(const struct gathering *g)
{
	json_t *list = json_array();

	for (int i = 0; i < g->nr; i++)
		json_array_append_new(list, member_json(&g->at[i]));
	return json_pack("{s:s, s:I, s:o}", "schema", "weir.families/1", "timestamp",
			 (json_int_t)g->timestamp, "families", list);
}

/* sum[key] += part[key], which is not trusted. */
static void
add_figure(json_t *sum, const json_t *part, const char *key)
{
	json_int_t a = json_integer_value(json_object_get(sum, key));
	json_int_t b = json_integer_value(json_object_get(part, key)), c;

	if (b < 0 || __builtin_add_overflow(a, b, &c))
		c = a;
	json_object_set_new(sum, key, json_integer(c));
}

static json_t *
tier_of(json_t *tiers, json_int_t size)
{
	json_t *tier;
	size_t i;

	json_array_foreach(tiers, i, tier)
	{
		json_int_t at = json_integer_value(json_object_get(tier, "size"));

		if (at == size)
			return tier;
		if (at > size)
			break;
	}
	tier = json_pack("{s:I}", "size", size);
	json_array_insert_new(tiers, i, tier);
	return tier;
}

static void
add_tiers(json_t *sum, const json_t *tiers)
{
	static const char *const keys[] = { "buffers", "inUse",  "peakInUse", "bytes",
					    "hits",    "misses", "exhausted" };
	json_t *tier;
	size_t i;

	json_array_foreach(tiers, i, tier)
	{
		json_int_t size = json_integer_value(json_object_get(tier, "size"));

		/* A power of two, as all of the library's: so there are few, whoever says
		 * what. */
		if (size < 1024 || size > 1 << 30 || (size & (size - 1)))
			continue;
		for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
			add_figure(tier_of(sum, size), tier, keys[k]);
	}
}

json_int_t
gathering_newest(const struct gathering *g, json_int_t newest, const json_t *doc)
{
	json_int_t its = json_integer_value(json_object_get(doc, "timestamp"));

	return its > newest && its <= g->timestamp ? its : newest;
}

json_t *
gathering_pool(const struct gathering *g)
{
	static const char *const keys[] = { "totalBuffers", "totalInUse", "totalBytes" };
	json_t *tiers = json_array();
	json_t *sum =
		json_pack("{s:b, s:i, s:o, s:i, s:i, s:i}", "enabled", 0, "maxBytes", 0,
			  "tiers", tiers, keys[0], 0, keys[1], 0, keys[2], 0);
	json_int_t newest = 0;

	for (int i = 0; i < g->nr; i++) {
		const json_t *doc = g->at[i].family.metrics;
		const json_t *pool = json_object_get(doc, "pool");

		newest = gathering_newest(g, newest, doc);
		if (json_is_true(json_object_get(pool, "enabled")))
			json_object_set_new(sum, "enabled", json_true());
		add_figure(sum, pool, "maxBytes");
		add_tiers(tiers, json_object_get(pool, "tiers"));
		for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
			add_figure(sum, pool, keys[k]);
	}
	json_object_set_new(sum, "timestamp", json_integer(newest));
	return sum;
}
