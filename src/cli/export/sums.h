#ifndef WEIR_CLI_EXPORT_SUMS_H
#define WEIR_CLI_EXPORT_SUMS_H
/* cli/export/sums: samples of many families, added up by group, metric and labels, and written as text
 * for Prometheus.
 *
 * A group is what tells sums apart: a program, or a family. Where groups disagree about what a
 * metric is (its type, its buckets), the most of them are right and what the others say of it is
 * left out, as Prometheus would refuse all of it.
 * Sources: Prometheus' text format 0.0.4; OpenMetrics 1.0. */
#include "cli/export/exposition.h"

struct text;

struct item {
	const char *group; /* program="x" as it is written */
	struct metric metric;
	struct sample sample; /* its metric's number means nothing here */
};

struct sums {
	bool own; /* in: has strings of its own; else items' must outlive it */
	struct item *at;
	size_t nr, cap;
};

/* Counters and histograms, and gauges if `gauges`. */
void sums_add(struct sums *, const struct exposition *, const char *group, bool gauges);
void sums_add_sums(struct sums *, const struct sums *);

bool sums_have(const struct sums *, const char *group);

/* Sorts, and makes one of those that are alike. */
void sums_settle(struct sums *);

/* What was settled, as text. Configuration and times of one family make no sum: they are left out
 * unless `single`. */
void sums_write(const struct sums *, bool single, bool openmetrics, struct text *);

void sums_fini(struct sums *);
#endif
