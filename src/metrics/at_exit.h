#ifndef WEIR_METRICS_AT_EXIT_H
#define WEIR_METRICS_AT_EXIT_H
/* metrics/at_exit: STREAM_METRICS_AT_EXIT, the last /metrics.json as a file.
 * Threads: one at a time. Signals: no. Errors cost one log line and a count. */

/* One line if the place looks as if it could not be written. */
void at_exit_check(void);

/* Writes the file under another name beside it, then renames: nobody reads half of it. */
void at_exit_write(void);
#endif
