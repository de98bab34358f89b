#include "cli/listing.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <stdlib.h>
#include <string.h>

const char *const sort_names[NR_SORTS] = { "backpressure", "bytes", "blocked", "age" };

enum listing_sort
listing_sort_of(const char *name)
{
	int sort = 0;

	while (sort < NR_SORTS && strcmp(sort_names[sort], name) != 0)
		sort++;
	return (enum listing_sort)sort;
}

double
stream_stall_ms(const struct stream *s)
{
	return s->way[0].stall_ms + s->way[1].stall_ms;
}

void
stream_blocked(const struct stream *s, struct text *out)
{
	char figure[FIGURE_CAP];

	if (s->blocked_ms > 0)
		text_add(out, "%s %s", figure_time(figure, s->blocked_ms),
			 s->blocked_cause);
	else
		text_add(out, "-");
}

void
stream_read(const struct family *family, json_t *entry, struct stream *s)
{
	*s = (struct stream){ .family = family,
			      .entry = json_incref(entry),
			      .blocked_cause = "" };
	for (int i = 0; i < 2; i++) {
		const json_t *way = json_object_get(entry, flow_ways[i]);
		const json_t *blocked = json_object_get(way, "blocked");
		double ms = json_figure(blocked, "for");

		flow_read(way, &s->way[i]);
		if (ms > s->blocked_ms) {
			s->blocked_ms = ms;
			s->blocked_cause = json_word(blocked, "cause");
		}
	}
}

static double
age_ms(const struct stream *s)
{
	return json_figure(json_object_get(s->entry, "request"), "duration");
}

double
stream_rank(const struct stream *s, enum listing_sort sort)
{
	switch (sort) {
	case BY_BYTES:
		return s->way[0].bytes + s->way[1].bytes;
	case BY_BLOCKED:
		return s->blocked_ms;
	case BY_AGE:
		return age_ms(s);
	default:
		return stream_stall_ms(s);
	}
}

static int
by_key(const void *a, const void *b, void *arg)
{
	const struct stream *x = a, *y = b;
	enum listing_sort sort = *(const enum listing_sort *)arg;
	const enum listing_sort then[] = { sort, BY_BLOCKED, BY_BYTES };

	/* Of equal ones, who is blocked now, then the busier. */
	for (int i = 0; i < 3; i++) {
		double k = stream_rank(x, then[i]), l = stream_rank(y, then[i]);

		if (k != l)
			return (k < l) - (k > l);
	}
	return 0;
}

static bool
is_listed(const struct listing *l, const struct stream *s)
{
	for (int i = 0; i < l->nr; i++)
		if (l->at[i].family == s->family &&
		    json_figure(l->at[i].entry, "inode") ==
			    json_figure(s->entry, "inode") &&
		    json_figure(l->at[i].entry, "fd") == json_figure(s->entry, "fd"))
			return true;
	return false;
}

/* Adds what each family answers; only those blocked now and not listed, if `blocked`. */
static void
add_streams(struct listing *l, const struct families *families, const char *target,
	    bool blocked)
{
	json_t **docs = have(calloc((size_t)families->nr + 1, sizeof(json_t *)));
	size_t cap = (size_t)l->nr + 1;

	families_ask(families, target, docs);
	for (int i = 0; i < families->nr; i++)
		cap += json_array_size(json_object_get(docs[i], "streams"));
	l->at = have(realloc(l->at, cap * sizeof *l->at));
	for (int i = 0; i < families->nr; i++) {
		json_t *entry;
		size_t k;

		if (json_whole(docs[i], "timestamp") > l->at_ms)
			l->at_ms = json_whole(docs[i], "timestamp");
		json_array_foreach(json_object_get(docs[i], "streams"), k, entry)
		{
			struct stream *s = &l->at[l->nr];

			stream_read(&families->at[i], entry, s);
			if (blocked && (s->blocked_ms <= 0 || is_listed(l, s)))
				json_decref(entry);
			else
				l->nr++;
		}
		json_decref(docs[i]);
	}
	free(docs);
}

void
listing_open(struct listing *l, const struct families *families, const char *state,
	     enum listing_sort sort, int most)
{
	const enum listing_sort asked[] = { sort, BY_BLOCKED };
	/* A family's order knows nothing of who is blocked where no time was counted yet. */
	int nr_asked = most && sort == BY_BACKPRESSURE ? 2 : 1;

	*l = (struct listing){ 0 };
	for (int i = 0; i < nr_asked; i++) {
		struct text target = { 0 };

		text_add(&target, "/streams?sort=%s", sort_names[asked[i]]);
		if (state)
			text_add(&target, "&state=%s", state);
		if (most)
			text_add(&target, "&limit=%d", most);
		add_streams(l, families, text_string(&target), i > 0);
		text_fini(&target);
	}
	qsort_r(l->at, (size_t)l->nr, sizeof *l->at, by_key, &sort);
	while (most && l->nr > most)
		json_decref(l->at[--l->nr].entry);
}

void
listing_close(struct listing *l)
{
	for (int i = 0; i < l->nr; i++)
		json_decref(l->at[i].entry);
	free(l->at);
	*l = (struct listing){ 0 };
}
