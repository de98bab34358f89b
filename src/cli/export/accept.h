#ifndef WEIR_CLI_EXPORT_ACCEPT_H
#define WEIR_CLI_EXPORT_ACCEPT_H
/* cli/export/accept: which text for Prometheus a client would rather have.
 *
 * Source: RFC 9110, 12.5.1: of what names a format, the closest counts, and its q decides. */
#include <stdbool.h>

/* True: OpenMetrics 1.0.0; false: text format 0.0.4, also where both are alike, or `header` is NULL
 * or asks for neither. */
bool accept_openmetrics(const char *header);
#endif
