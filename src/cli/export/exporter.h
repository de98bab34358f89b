#ifndef WEIR_CLI_EXPORT_EXPORTER_H
#define WEIR_CLI_EXPORT_EXPORTER_H
/* cli/export/exporter: what weir export answers. One gathering a second is shared by all who ask.
 *
 * Any thread may call exporter_answer(). */
#include "cli/export/serve.h"

struct exporter;

/* per_family: a sample of each family, not of each program. */
struct exporter *exporter_new(bool per_family);
void exporter_free(struct exporter *);

/* A first look, which takes the longest, and from which on counters of what ends are kept. */
void exporter_begin(void *exporter);

void exporter_answer(const struct question *, struct reply *, void *exporter);

/* /metrics as node_exporter's textfile collector takes it; to be freed. */
char *exporter_text(struct exporter *);
#endif
