#include "cli/export/merge.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool
merge_query_read(struct merge_query *q, const char *sort, const char *state,
		 const char *limit, const char *socket)
{
	*q = (struct merge_query){ NR_SORTS, NULL, -1, socket };
	if (sort && (q->sort = listing_sort_of(sort)) == NR_SORTS)
		return false;
	if (state && strcmp(state, "open") == 0)
		q->state = "open";
	else if (state && strcmp(state, "closed") == 0)
		q->state = "closed";
	else if (state)
		return false;
	if (!limit)
		return true;
	/* However many digits. */
	if (!*limit || limit[strspn(limit, "0123456789")])
		return false;
	if (!number_read(limit, 0, INT_MAX, &q->limit))
		q->limit = INT_MAX;
	return true;
}

void
merge_query_write(const struct merge_query *q, struct text *target)
{
	char before = '?';

	text_add(target, "/streams");
	if (q->sort != NR_SORTS) {
		text_add(target, "%csort=%s", before, sort_names[q->sort]);
		before = '&';
	}
	if (q->state) {
		text_add(target, "%cstate=%s", before, q->state);
		before = '&';
	}
	if (q->limit >= 0)
		text_add(target, "%climit=%ld", before, q->limit);
}

struct ranked {
	json_t *entry;
	double key;
	double age;
	long place; /* in the order they came */
};

/* Greater first, then the older. */
static int
by_key(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;
	if (x->age != y->age)
		return x->age < y->age ? 1 : -1;
	return x->place < y->place ? -1 : 1;
}

static double
key_of(const struct stream *s, enum listing_sort sort)
{
	if (sort == NR_SORTS)
		return strcmp(json_word(s->entry, "state"), "open") == 0;
	return stream_rank(s, sort);
}

static void
rank(struct ranked *r, const struct member *m, json_t *entry, long place,
     enum listing_sort sort)
{
	struct stream s;

	json_object_set_new(entry, "program", json_string(m->family.program));
	json_object_set_new(entry, "familyPid", json_integer(m->family.seen_pid));
	json_object_set_new(entry, "socket", json_path(m->place->path));
	stream_read(&m->family, entry, &s);
	*r = (struct ranked){ s.entry, key_of(&s, sort), stream_rank(&s, BY_AGE),
			      place };
}

json_t *
merge_streams(const struct gathering *g, json_t *const *docs,
	      const struct merge_query *q)
{
	json_t *list = json_array(), *entry;
	json_int_t newest = 0;
	struct ranked *all;
	size_t cap = 1, i;
	long nr = 0;

	for (int m = 0; m < g->nr; m++)
		cap += json_array_size(json_object_get(docs[m], "streams"));
	all = have(calloc(cap, sizeof *all));
	for (int m = 0; m < g->nr; m++) {
		newest = gathering_newest(g, newest, docs[m]);
		json_array_foreach(json_object_get(docs[m], "streams"), i, entry)
		{
			if (!json_is_object(entry))
				continue;
			rank(&all[nr], &g->at[m], entry, nr, q->sort);
			nr++;
		}
	}
	qsort(all, (size_t)nr, sizeof *all, by_key);
	for (long k = 0; k < nr; k++) {
		if (q->limit < 0 || k < q->limit)
			json_array_append(list, all[k].entry);
		json_decref(all[k].entry);
	}
	free(all);
	return json_pack("{s:s, s:I, s:o}", "schema", "weir.streams/1", "timestamp",
			 newest ? newest : (json_int_t)g->timestamp, "streams", list);
}
