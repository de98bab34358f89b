#include "metrics/request.h"
#include "metrics/span.h"
#include <string.h>

static bool
span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && !memcmp(s.p, word, s.len);
}

/* Cuts off and returns what comes before the first `sep`; all, if there is none. */
static struct span
next(struct span *rest, char sep)
{
	const char *end = rest->len ? memchr(rest->p, sep, rest->len) : NULL;
	struct span piece = { rest->p, end ? (size_t)(end - rest->p) : rest->len };
	size_t used = piece.len + (end != NULL);

	rest->p += used;
	rest->len -= used;
	return piece;
}

static struct span
next_line(struct span *rest)
{
	struct span line = next(rest, '\n');

	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	return line;
}

size_t
request_end(const char *p, size_t len, size_t from)
{
	size_t i = 0;

	/* Empty lines before the request are no end of it. */
	while (i < len && (p[i] == '\r' || p[i] == '\n'))
		i++;
	if (from > 3 && from - 3 > i)
		i = from - 3;
	for (; i < len; i++) {
		if (p[i] != '\n')
			continue;
		if (i + 1 < len && p[i + 1] == '\n')
			return i + 2;
		if (i + 2 < len && p[i + 1] == '\r' && p[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static bool
is_token(struct span s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		      (c >= 'A' && c <= 'Z') || (c && strchr(marks, c))))
			return false;
	}
	return s.len > 0;
}

static bool
is_version(struct span s)
{
	return s.len == 8 && !memcmp(s.p, "HTTP/1.", 7) && s.p[7] >= '0' &&
	       s.p[7] <= '9';
}

static bool
is_visible(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return s.len > 0;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Decodes %XX into `to`; false: no such word is known here anyway. */
static bool
decode(struct span s, char *to, size_t cap)
{
	size_t nr = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '%') {
			if (i + 2 >= s.len || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
				return false;
			c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
			i += 2;
		}
		if (!c || nr + 1 >= cap)
			return false;
		to[nr++] = c;
	}
	to[nr] = '\0';
	return true;
}

/* The index of `word` among `words`, or -1. */
static int
index_of(const char *word, const char *const *words, int nr)
{
	for (int i = 0; i < nr; i++)
		if (!strcmp(word, words[i]))
			return i;
	return -1;
}

static bool
parse_limit(const char *s, uint32_t *limit)
{
	uint64_t n = 0;

	for (const char *p = s; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
		if (n >= UINT32_MAX)
			n = UINT32_MAX - 1;
	}
	*limit = (uint32_t)n;
	return *s != '\0';
}

/* One key=value; false: a value that makes no sense. Unknown keys are not ours to judge. */
static bool
parse_pair(struct span value, struct stream_query *query)
{
	static const char *const sorts[] = { "bytes", "backpressure", "blocked", "age" };
	static const char *const states[] = { "open", "closed" };
	static const char *const keys[] = { "sort", "state", "limit" };
	struct span name = next(&value, '=');
	char key[16], word[32] = "";
	int at;

	if (!decode(name, key, sizeof key))
		return true;
	at = index_of(key, keys, 3);
	if (at < 0)
		return true;
	if (!decode(value, word, sizeof word))
		return false;
	if (at == 2)
		return parse_limit(word, &query->limit);
	if (at == 1) {
		at = index_of(word, states, 2);
		query->state = (enum stream_state)(at + STATE_OPEN);
		return at >= 0;
	}
	at = index_of(word, sorts, 4);
	query->sort = (enum stream_sort)(at + SORT_BYTES);
	return at >= 0;
}

static bool
parse_query(struct span rest, struct stream_query *query)
{
	*query = (struct stream_query){ SORT_NONE, STATE_ANY, UINT32_MAX };
	while (rest.len) {
		struct span pair = next(&rest, '&');

		if (pair.len && !parse_pair(pair, query))
			return false;
	}
	return true;
}

static int
parse_target(struct span target, struct request *req)
{
	static const char *const paths[] = { "/metrics", "/metrics.json",
					     "/streams", "/buffer-pool-metrics",
					     "/healthz", "/" };
	struct span path;

	if (target.len > 7 && span_starts(target, "http://")) {
		const char *end = target.p + target.len;

		target.p += 7;
		while (target.p < end && *target.p != '/' && *target.p != '?')
			target.p++;
		target.len = (size_t)(end - target.p);
		if (!target.len || *target.p == '?') {
			path = (struct span){ "/", 1 };
			goto find;
		}
	}
	if (!target.len || *target.p != '/')
		return 400;
	path = next(&target, '?');
find:
	req->document = DOC_NONE;
	for (int i = 0; i < 6; i++)
		if (span_is(path, paths[i]))
			req->document = (enum document)(DOC_METRICS + i);
	if (req->document == DOC_NONE)
		return 404;
	if (req->document == DOC_STREAMS && !parse_query(target, &req->query))
		return 400;
	return 200;
}

/* The header lines; false: one is none. What Accept lines say is collected in `accept`. */
static bool
parse_headers(struct span rest, char *accept, size_t cap, size_t *len)
{
	for (;;) {
		struct span line = next_line(&rest), name;

		if (!line.len)
			return true;
		if (memchr(line.p, '\0', line.len) || !memchr(line.p, ':', line.len))
			return false;
		name = next(&line, ':');
		if (!is_token(name))
			return false;
		if (name.len != 6 || !span_starts(name, "accept") ||
		    *len + line.len + 1 > cap)
			continue;
		memcpy(accept + *len, line.p, line.len);
		*len += line.len;
		accept[(*len)++] = ',';
	}
}

int
request_parse(const char *head, size_t len, struct request *req)
{
	char accept[HEAD_MAX];
	struct span rest = { head, len }, line, method, target;
	size_t accept_len = 0;
	int status;

	memset(req, 0, sizeof *req);
	while (rest.len && (*rest.p == '\r' || *rest.p == '\n')) {
		rest.p++;
		rest.len--;
	}
	line = next_line(&rest);
	method = next(&line, ' ');
	target = next(&line, ' ');
	req->head = span_is(method, "HEAD");
	if (!is_token(method) || !is_visible(target) || !is_version(line) ||
	    !parse_headers(rest, accept, sizeof accept, &accept_len))
		return 400;
	if (!req->head && !span_is(method, "GET"))
		return 405;
	status = parse_target(target, req);
	req->format = text_negotiate(accept, accept_len);
	return status;
}
