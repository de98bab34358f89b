#include "cli/export/sums.h"
#include "cli/export/billionths.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <stdlib.h>
#include <string.h>

/* Two metrics are one if name, type and buckets are. */
static int
metric_compare(const struct metric *m, const struct metric *n)
{
	int order = strcmp(m->name, n->name);

	if (!order)
		order = (int)m->type - (int)n->type;
	return order ? order : strcmp(m->bounds, n->bounds);
}

static int
compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = metric_compare(&x->metric, &y->metric);

	if (!order)
		order = strcmp(x->group, y->group);
	return order ? order : sample_compare(&x->sample, &y->sample);
}

static void
copy(const char **string)
{
	*string = have(strdup(*string));
}

static void
forget(struct item *item)
{
	free((char *)item->group);
	free((char *)item->metric.name);
	free((char *)item->metric.help);
	free((char *)item->metric.bounds);
	free((char *)item->sample.labels);
	free((char *)item->sample.le);
}

static void
add(struct sums *sums, const struct item *item)
{
	struct item *new;

	if (sums->nr == sums->cap) {
		sums->cap = sums->cap ? 2 * sums->cap : 256;
		sums->at = have(realloc(sums->at, sums->cap * sizeof *sums->at));
	}
	new = &sums->at[sums->nr++];
	*new = *item;
	if (!sums->own)
		return;
	copy(&new->group);
	copy(&new->metric.name);
	copy(&new->metric.help);
	copy(&new->metric.bounds);
	copy(&new->sample.labels);
	copy(&new->sample.le);
}

void
sums_add(struct sums *sums, const struct exposition *e, const char *group, bool gauges)
{
	for (int i = 0; i < e->nr_samples; i++) {
		const struct item item = { group, e->metrics[e->samples[i].metric],
					   e->samples[i] };

		if (gauges || item.metric.type != TYPE_GAUGE)
			add(sums, &item);
	}
}

void
sums_add_sums(struct sums *sums, const struct sums *more)
{
	for (size_t i = 0; i < more->nr; i++)
		add(sums, &more->at[i]);
}

bool
sums_have(const struct sums *sums, const char *group)
{
	for (size_t i = 0; i < sums->nr; i++)
		if (strcmp(sums->at[i].group, group) == 0)
			return true;
	return false;
}

void
sums_settle(struct sums *sums)
{
	size_t nr = 0;

	if (!sums->nr)
		return;
	qsort(sums->at, sums->nr, sizeof *sums->at, compare);
	for (size_t i = 1; i < sums->nr; i++) {
		if (compare(&sums->at[nr], &sums->at[i]) != 0) {
			sums->at[++nr] = sums->at[i];
			continue;
		}
		sums->at[nr].sample.value += sums->at[i].sample.value;
		if (sums->own)
			forget(&sums->at[i]);
	}
	sums->nr = nr + 1;
}

void
sums_fini(struct sums *sums)
{
	if (sums->own)
		for (size_t i = 0; i < sums->nr; i++)
			forget(&sums->at[i]);
	free(sums->at);
	*sums = (struct sums){ .own = sums->own };
}

/* The items from `i` on that are of one metric, and how many groups have it. */
static size_t
same_metric(const struct sums *sums, size_t i, int *groups)
{
	const struct item *first = &sums->at[i], *last = first,
			  *end = sums->at + sums->nr;

	for (*groups = 1;
	     ++last < end && metric_compare(&last->metric, &first->metric) == 0;)
		*groups += strcmp(last->group, last[-1].group) != 0;
	return (size_t)(last - first);
}

/* Of the metrics that have the name of item `i`, the one that most groups have: its first item
 * and their number. Where the next name begins. */
static size_t
choose(const struct sums *sums, size_t i, size_t *first, size_t *nr)
{
	const char *name = sums->at[i].metric.name;
	int most = 0, groups;

	while (i < sums->nr && strcmp(sums->at[i].metric.name, name) == 0) {
		size_t len = same_metric(sums, i, &groups);

		if (groups > most) {
			most = groups;
			*first = i;
			*nr = len;
		}
		i += len;
	}
	return i;
}

static bool
is_single(const char *name)
{
	size_t len = strlen(name);

	return strncmp(name, "weir_config_", 12) == 0 ||
	       strcmp(name, "weir_pool_enabled") == 0 ||
	       (len > 5 && strcmp(name + len - 5, "_info") == 0) ||
	       strcmp(name, "process_start_time_seconds") == 0;
}

static void
write_head(const struct metric *m, bool openmetrics, struct text *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *suffix = m->type == TYPE_COUNTER && !openmetrics ? "_total" : "";

	if (*m->help)
		text_add(out, "# HELP %s%s %s\n", m->name, suffix, m->help);
	text_add(out, "# TYPE %s%s %s\n", m->name, suffix, types[m->type]);
}

static void
write_item(const struct item *item, struct text *out)
{
	static const char *const suffixes[] = { "_bucket", "_sum", "_count", "" };
	const struct sample *s = &item->sample;

	text_add(out, "%s%s{%s%s%s%s%s%s} ", item->metric.name,
		 item->metric.type == TYPE_COUNTER ? "_total" : suffixes[s->part],
		 item->group, *s->labels ? "," : "", s->labels, *s->le ? ",le=\"" : "",
		 s->le, *s->le ? "\"" : "");
	billionths_write(out, s->value);
	text_bytes(out, "\n", 1);
}

void
sums_write(const struct sums *sums, bool single, bool openmetrics, struct text *out)
{
	for (size_t i = 0, first = 0, nr = 0; i < sums->nr;) {
		i = choose(sums, i, &first, &nr);
		if (!single && is_single(sums->at[first].metric.name))
			continue;
		write_head(&sums->at[first].metric, openmetrics, out);
		for (size_t k = first; k < first + nr; k++)
			write_item(&sums->at[k], out);
	}
}
