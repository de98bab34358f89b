/* Which text format an Accept header asks for: RFC 9110, 12.5.1. */
#include "metrics/span.h"
#include "metrics/text.h"
#include <string.h>

static bool
span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && span_starts(s, word);
}

static struct span
trimmed(struct span s)
{
	while (s.len && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Cuts off what comes before the next `sep` outside of quotes. */
static struct span
next(struct span *rest, char sep)
{
	struct span piece = { rest->p, 0 };
	bool quoted = false;

	while (piece.len < rest->len && (quoted || rest->p[piece.len] != sep)) {
		if (rest->p[piece.len] == '"')
			quoted = !quoted;
		piece.len++;
	}
	rest->p += piece.len;
	rest->len -= piece.len;
	if (rest->len) {
		rest->p++;
		rest->len--;
	}
	return trimmed(piece);
}

/* In thousandths; what is no number is no wish. */
static int
parse_q(struct span s)
{
	int q = 0, unit = 1000;

	if (!s.len || (*s.p != '0' && *s.p != '1'))
		return 0;
	for (size_t i = 0; i < s.len && unit; i++) {
		if (i == 1 && s.p[i] == '.')
			continue;
		if (s.p[i] < '0' || s.p[i] > '9' || (i == 1 && s.p[i] != '.'))
			return 0;
		q += (s.p[i] - '0') * unit;
		unit /= 10;
	}
	return q > 1000 ? 1000 : q;
}

/* What a range says of a format: how closely it names it (0: not at all), and its q. */
static int
closeness(struct span range, enum text_format format, int *q)
{
	static const char *const types[] = { "text/plain",
					     "application/openmetrics-text" };
	static const char *const kinds[] = { "text/*", "application/*" };
	static const char *const versions[] = { "0.0.4", "1.0.0" };
	struct span type = next(&range, ';');
	int close = span_is(type, types[format])   ? 3
		    : span_is(type, kinds[format]) ? 2
						   : span_is(type, "*/*");

	*q = 1000;
	while (range.len) {
		struct span value = next(&range, ';');
		struct span name = next(&value, '=');

		value = trimmed(value);
		if (value.len > 1 && *value.p == '"') {
			value.p++;
			value.len -= 2;
		}
		if (span_is(name, "q"))
			*q = parse_q(value);
		else if (close == 3 && span_is(name, "version"))
			close = span_is(value, versions[format]) ? 4 : 0;
	}
	return close;
}

enum text_format
text_negotiate(const char *accept, size_t len)
{
	struct span rest = { accept, len };
	int best_close[2] = { 0, 0 }, best_q[2] = { 0, 0 };

	while (rest.len) {
		struct span range = next(&rest, ',');

		for (int f = 0; f < 2; f++) {
			int q, close = closeness(range, (enum text_format)f, &q);

			if (close < best_close[f] || !close ||
			    (close == best_close[f] && q <= best_q[f]))
				continue;
			best_close[f] = close;
			best_q[f] = q;
		}
	}
	return best_q[TEXT_OPENMETRICS] > best_q[TEXT_PROMETHEUS] ? TEXT_OPENMETRICS
								  : TEXT_PROMETHEUS;
}
