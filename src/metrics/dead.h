#ifndef WEIR_METRICS_DEAD_H
#define WEIR_METRICS_DEAD_H
/* metrics/dead: who exits, execs or is killed does not close what it has open. A snapshot does it
 * for them, so that no counter falls with them.
 *
 * Threads: the one that takes a snapshot. Signals: no. */
#include <stdint.h>

/* Finds the members that have ended, and closes their streams, as of `now_ns`. */
void dead_close(uint64_t now_ns);
#endif
