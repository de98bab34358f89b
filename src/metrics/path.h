#ifndef WEIR_METRICS_PATH_H
#define WEIR_METRICS_PATH_H
/* metrics/path: a path put together piece by piece; what does not fit is left out whole, and
 * `cut` is set. Threads: any. Signals: safe. */
#include <stdbool.h>
#include <stddef.h>

struct path {
	char *to; /* always terminated, once something was added */
	size_t len, cap;
	bool cut;
};

void path_add(struct path *path, const char *s);
void path_number(struct path *path, unsigned n);
#endif
