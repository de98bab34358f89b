#include "metrics/path.h"
#include <string.h>

void
path_add(struct path *c, const char *s)
{
	size_t len = strlen(s);

	if (c->len + len >= c->cap) {
		c->cut = true;
		return;
	}
	memcpy(c->to + c->len, s, len + 1);
	c->len += len;
}

void
path_number(struct path *c, unsigned n)
{
	char digits[11];
	unsigned at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	path_add(c, digits + at);
}
