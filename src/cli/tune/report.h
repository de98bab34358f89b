#ifndef WEIR_CLI_TUNE_REPORT_H
#define WEIR_CLI_TUNE_REPORT_H
/* cli/tune/report: what weir tune tells: a table and what follows from it, JSON, a picture. */
#include "cli/tune/jobs.h"
#include "cli/tune/stage.h"
#include "cli/tune/tune.h"
#include "cli/tune/verdict.h"
#include <jansson.h>

/* On stdout. */
void report_print(const struct tune *, const struct verdict *, const char *preload);

/* weir.tune/1, with the raw samples; to be given back with json_decref(). */
json_t *report_json(const struct tune *, const struct verdict *, const char *preload);

/* True if there is a gnuplot. */
bool report_can_plot(void);

/* Draws t->png_file. False after a complaint. */
bool report_plot(const struct tune *, const struct verdict *, struct jobs *,
		 struct stage *);
#endif
