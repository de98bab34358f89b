#include "reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int
starts(const struct reply *r, const char *name)
{
	return strncasecmp(r->line, name, strlen(name)) == 0;
}

/* The empty line after the header fields: what follows it? */
static int
head_ends(struct reply *r)
{
	if (r->chunked)
		r->state = REPLY_CHUNK_LINE;
	else
		r->state = REPLY_BODY;
	return !r->chunked && r->left == 0;
}

/* One whole line of header, chunk size or trailer; returns 1 if the reply ends here. */
static int
take_line(struct reply *r)
{
	int empty = r->line_len == 0;

	r->line[r->line_len] = '\0';
	r->line_len = 0;
	switch (r->state) {
	case REPLY_HEAD:
		if (empty)
			return head_ends(r);
		if (starts(r, "HTTP/"))
			r->bad = !starts(r, "HTTP/1.1 200");
		else if (starts(r, "Content-Length:"))
			r->left = strtoul(strchr(r->line, ':') + 1, NULL, 10);
		else if (starts(r, "Transfer-Encoding: chunked"))
			r->chunked = 1;
		return 0;
	case REPLY_CHUNK_LINE:
		r->left = strtoul(r->line, NULL, 16);
		r->state = r->left ? REPLY_CHUNK : REPLY_TRAILER;
		r->left += 2; /* the line end behind the chunk */
		return 0;
	default:
		return empty; /* the trailer's last line */
	}
}

static size_t
take_http(struct reply *r, const char *p, size_t n, int *done)
{
	size_t i = 0;

	while (i < n && !*done) {
		if (r->state == REPLY_BODY || r->state == REPLY_CHUNK) {
			size_t step = n - i < r->left ? n - i : r->left;

			i += step;
			r->left -= step;
			if (r->left > 0)
				break;
			*done = r->state == REPLY_BODY;
			r->state = REPLY_CHUNK_LINE;
			continue;
		}
		if (p[i] == '\n')
			*done = take_line(r);
		else if (p[i] != '\r' && r->line_len < sizeof(r->line) - 1)
			r->line[r->line_len++] = p[i];
		i++;
	}
	return i;
}

/* Good for strings whose first byte does not come again in them. */
static size_t
take_until(struct reply *r, const struct protocol *proto, const char *p, size_t n,
	   int *done)
{
	size_t i = 0;

	while (i < n && !*done) {
		if (p[i] == proto->until[r->matched])
			r->matched++;
		else
			r->matched = p[i] == proto->until[0];
		*done = r->matched == proto->until_len;
		i++;
	}
	return i;
}

size_t
reply_take(struct reply *r, const struct protocol *proto, const char *p, size_t n,
	   int *done)
{
	size_t taken;

	*done = 0;
	if (proto->fixed) {
		taken = proto->fixed - r->len < n ? proto->fixed - r->len : n;
		*done = r->len + taken == proto->fixed;
	} else if (proto->until) {
		taken = take_until(r, proto, p, n, done);
	} else {
		taken = take_http(r, p, n, done);
	}
	r->len += taken;
	return taken;
}
