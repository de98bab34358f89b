/* What holds of an exposition as a whole; and what is looked for in one. */
#include "cli/export/exposition.h"
#include "cli/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int
sample_compare(const struct sample *x, const struct sample *y)
{
	int labels = strcmp(x->labels, y->labels);

	if (labels)
		return labels;
	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	return (x->bound > y->bound) - (x->bound < y->bound);
}

/* Between samples of two expositions, or of one. */
static int
compare(const struct exposition *e, const struct sample *x, const struct exposition *f,
	const struct sample *y)
{
	const struct metric *m = &e->metrics[x->metric], *n = &f->metrics[y->metric];
	int names = strcmp(m->name, n->name);

	if (names)
		return names;
	return m->type != n->type ? (int)m->type - (int)n->type : sample_compare(x, y);
}

static int
by_metric(const void *a, const void *b, void *exposition)
{
	return compare(exposition, a, exposition, b);
}

/* A histogram's samples of one set of labels: buckets that end in +Inf and never fall, a sum, and
 * a count which is the last bucket. Their number, or 0: they are none. `bounds`: what they say. */
static int
histogram_check(const struct sample *s, int left, struct text *bounds)
{
	int nr = 0;

	for (; nr < left && s[nr].part == PART_BUCKET; nr++) {
		if (nr && s[nr].value < s[nr - 1].value)
			return 0;
		text_add(bounds, "%s%s", nr ? "," : "", s[nr].le);
	}
	if (!nr || isfinite(s[nr - 1].bound) || left < nr + 2)
		return 0;
	if (s[nr].part != PART_SUM || s[nr + 1].part != PART_COUNT ||
	    s[nr + 1].value != s[nr - 1].value ||
	    strcmp(s[nr].labels, s[nr - 1].labels) != 0 ||
	    strcmp(s[nr + 1].labels, s[nr - 1].labels) != 0)
		return 0;
	return nr + 2;
}

/* All sets of labels of the metric whose samples are at `s`. */
static bool
histograms_check(struct metric *m, const struct sample *s, int left)
{
	struct text bounds = { 0 };

	for (int at = 0, nr; at < left; at += nr) {
		text_clear(&bounds);
		nr = histogram_check(s + at, left - at, &bounds);
		if (!nr || (*m->bounds && strcmp(m->bounds, bounds.at) != 0)) {
			text_fini(&bounds);
			return false;
		}
		if (!*m->bounds) {
			m->bounds = bounds.at;
			bounds = (struct text){ 0 };
		}
	}
	text_fini(&bounds);
	return true;
}

bool
exposition_settle(struct exposition *e)
{
	/* As names are compared from now on. */
	for (int i = 0; i < e->nr_metrics; i++) {
		char *end = strrchr(e->metrics[i].name, '_');

		if (e->metrics[i].type == TYPE_COUNTER && end &&
		    strcmp(end, "_total") == 0)
			*end = '\0';
	}
	qsort_r(e->samples, (size_t)e->nr_samples, sizeof *e->samples, by_metric, e);
	for (int i = 1; i < e->nr_samples; i++)
		if (by_metric(&e->samples[i - 1], &e->samples[i], e) == 0)
			return false;
	for (int i = 0, nr; i < e->nr_samples; i += nr) {
		struct metric *m = &e->metrics[e->samples[i].metric];

		for (nr = 1; i + nr < e->nr_samples; nr++)
			if (e->samples[i + nr].metric != e->samples[i].metric)
				break;
		if (m->type == TYPE_HISTOGRAM &&
		    !histograms_check(m, &e->samples[i], nr))
			return false;
	}
	return true;
}

bool
exposition_value(const struct exposition *e, const char *name, __int128 *value)
{
	for (int i = 0; i < e->nr_samples; i++)
		if (!*e->samples[i].labels &&
		    strcmp(e->metrics[e->samples[i].metric].name, name) == 0) {
			*value = e->samples[i].value;
			return true;
		}
	return false;
}

bool
exposition_grew(const struct exposition *before, const struct exposition *after)
{
	for (int i = 0, k = 0; i < before->nr_samples; i++) {
		const struct sample *old = &before->samples[i], *new;

		if (before->metrics[old->metric].type == TYPE_GAUGE)
			continue;
		while (k < after->nr_samples &&
		       compare(after, &after->samples[k], before, old) < 0)
			k++;
		new = &after->samples[k];
		if (k == after->nr_samples || compare(after, new, before, old) != 0 ||
		    new->value < old->value)
			return false;
	}
	return true;
}
