#ifndef WEIR_METRICS_TEXT_H
#define WEIR_METRICS_TEXT_H
/* metrics/text: a snapshot in the two formats that Prometheus reads.
 *
 * Base units, no pid, descriptor or peer labels; every value of every closed set is there
 * from the start. Sources: Prometheus text format 0.0.4; OpenMetrics 1.0.0.
 * Threads: any, no state. */
#include "metrics/out.h"
#include "metrics/snapshot.h"

enum text_format { TEXT_PROMETHEUS, TEXT_OPENMETRICS };

extern const char *const text_content_types[2]; /* by enum text_format */

/* Which of the two an Accept header (`len` bytes; 0: none) likes better: the one with the
 * higher q by its most specific range, and Prometheus text when both are alike. */
enum text_format text_negotiate(const char *accept, size_t len);

void text_metrics(struct out *out, const struct snapshot *snap, enum text_format format);
#endif
