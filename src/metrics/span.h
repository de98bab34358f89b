#ifndef WEIR_METRICS_SPAN_H
#define WEIR_METRICS_SPAN_H
/* metrics/span: a piece of a request. Threads: any, no state. */
#include <stdbool.h>
#include <stddef.h>

struct span {
	const char *p; /* not ended by a 0 */
	size_t len;
};

/* True: it starts with `word`, which is in small letters, in any case. Of ASCII: libc's strncasecmp()
 * goes by the thread's locale, and a helper thread has none. */
static inline bool
span_starts(struct span s, const char *word)
{
	size_t i = 0;

	for (; word[i]; i++)
		if (i == s.len ||
		    (s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]) != word[i])
			return false;
	return true;
}

#endif
