#ifndef WEIR_CLI_EXPORT_BILLIONTHS_H
#define WEIR_CLI_EXPORT_BILLIONTHS_H
/* cli/export/billionths: decimal numbers as whole billionths, so that sums of bytes, calls and
 * nanoseconds are exact, where a double is not beyond 2^53. */
#include <stdbool.h>

struct text;

/* A decimal number between -2^64 and 2^64, rounded; false: it is none. */
bool billionths_read(const char *word, __int128 *value);

/* Adds it as it is written: 12, 0.5 */
void billionths_write(struct text *out, __int128 value);
#endif
