#ifndef WEIR_CLI_TUNE_LOAD_H
#define WEIR_CLI_TUNE_LOAD_H
/* cli/tune/load: what the user says of his load: its words, and the number in its output. */
#include "cli/text.h"
#include <regex.h>
#include <stdbool.h>

/* Adds `command` with %c as the number of clients and %% as a percent sign. False, after nothing
 * was complained of, where there is another word; *has_clients tells whether there is a %c. */
bool load_expand(const char *command, int clients, struct text *out, bool *has_clients);

/* Adds `metric` as regcomp() has it: \d, which people write, is a digit, in brackets too. */
void load_expression(const char *metric, struct text *out);

/* The number that the last match of the expression has in `output`: all of its first group, or
 * without a group the only number in the match. False where nothing matches, or that is no number
 * above 0. A number with a unit or thousands separators is none: 900K and 1.2M would be compared
 * wrongly. */
bool load_metric(const regex_t *metric, const char *output, double *value);
#endif
