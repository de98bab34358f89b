#ifndef WEIR_METRICS_PLACE_H
#define WEIR_METRICS_PLACE_H
/* metrics/place: where the family's socket is, and how it gets there.
 *
 * A place is bound as path + ".new" and renamed without replacing, so that nobody finds a
 * socket that does not answer yet, and a live one is never taken over. What is in the way:
 *   nothing, or a dead socket          the place is ours, the dead one goes
 *   a live socket, or a live ".new"    next: path.PID, path.PID.2, ...
 *   no socket                          left alone; there is no metrics socket
 *
 * Threads: one at a time. Signals: no, save place_path(). */
#include <stdbool.h>

/* Binds by `config` and listens. The descriptor, or -errno after one warning and a count. */
int place_bind(void);

/* The path bound, "" before. It does not change after place_bind(). */
const char *place_path(void);

/* Removes the socket, if what is at the path is still ours. */
void place_unlink(void);

/* True if `fd` is the socket that place_bind() made, under whatever number. */
bool place_is(int fd);
#endif
