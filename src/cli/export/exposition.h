#ifndef WEIR_CLI_EXPORT_EXPOSITION_H
#define WEIR_CLI_EXPORT_EXPOSITION_H
/* cli/export/exposition: the text of a family's /metrics, read strictly.
 *
 * It comes from whoever bound the socket, so it is taken whole or not at all: what is not
 * grouped, typed, finite, unique and bounded, or would clash with what the exporter adds, makes
 * all of it invalid. Metrics of other names than the library's are passed over.
 * Source: Prometheus' exposition formats, text format 0.0.4. */
#include <stdbool.h>
#include <stddef.h>

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };

enum { MOST_SAMPLES = 2000 };

struct metric {
	const char *name; /* without a counter's _total */
	const char *help; /* as it is written */
	enum metric_type type;
	const char *bounds; /* of a histogram: "0.1,1.0,+Inf"; else "" */
};

/* In the order in which they are written. */
enum part { PART_BUCKET, PART_SUM, PART_COUNT, PART_VALUE };

/* Billionths: sums of what the library says are exact. A value is below 2^64. */
struct sample {
	int metric;
	enum part part;
	const char *labels; /* a="x",b="y" sorted by name and as they are written, without le */
	const char *le; /* of a bucket; else "" */
	double bound;   /* the same as a number */
	__int128 value;
};

struct exposition {
	char *text; /* what everything else points into */
	struct metric *metrics;
	int nr_metrics;
	struct sample *samples; /* by metric's name and type, labels, part, bound */
	int nr_samples;
};

/* Takes `text` over, which malloc() gave, whatever comes out. */
bool exposition_read(struct exposition *, char *text, size_t len);
void exposition_fini(struct exposition *);

/* Sorts the samples; false: there are two alike, or a histogram is none. */
bool exposition_settle(struct exposition *);

/* The value of the metric's only sample; false: it has none, or labels. */
bool exposition_value(const struct exposition *, const char *name, __int128 *value);

/* False if a counter of `after` is less than it was in `before`, or is not there. */
bool exposition_grew(const struct exposition *before, const struct exposition *after);

/* The order of samples of one metric. */
int sample_compare(const struct sample *, const struct sample *);
#endif
