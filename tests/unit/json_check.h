#ifndef TESTS_JSON_CHECK_H
#define TESTS_JSON_CHECK_H
/* A strict little JSON checker: RFC 8259, and UTF-8 only. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct json_at {
	const char *p, *end;
};

static bool json_value(struct json_at *j, int depth);

static inline bool
json_one(struct json_at *j, char c)
{
	if (j->p < j->end && *j->p == c) {
		j->p++;
		return true;
	}
	return false;
}

static inline bool
json_word(struct json_at *j, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
		return false;
	j->p += len;
	return true;
}

static inline bool
json_utf8(struct json_at *j)
{
	const unsigned char *p = (const unsigned char *)j->p;
	size_t left = (size_t)(j->end - j->p);
	unsigned long c;
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	static const unsigned long least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (len > left || (*p >= 0x80 && *p < 0xc0) || *p > 0xf7)
		return false;
	c = len == 1 ? *p : *p & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return false;
		c = c << 6 | (p[i] & 0x3f);
	}
	j->p += len;
	return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

static inline bool
json_string(struct json_at *j)
{
	if (!json_one(j, '"'))
		return false;
	while (j->p < j->end && *j->p != '"') {
		if ((unsigned char)*j->p < 0x20)
			return false;
		if (!json_one(j, '\\')) {
			if (!json_utf8(j))
				return false;
		} else if (json_one(j, 'u')) {
			for (int i = 0; i < 4; i++, j->p++)
				if (j->p >= j->end ||
				    !strchr("0123456789abcdefABCDEF", *j->p))
					return false;
		} else if (j->p >= j->end || !*j->p || !strchr("\"\\/bfnrt", *j->p++)) {
			return false;
		}
	}
	return json_one(j, '"');
}

static inline bool
json_digits(struct json_at *j)
{
	const char *from = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > from;
}

static inline bool
json_number(struct json_at *j)
{
	const char *from;

	json_one(j, '-');
	from = j->p;
	if (!json_digits(j) || (*from == '0' && j->p > from + 1))
		return false;
	return !json_one(j, '.') || json_digits(j);
}

/* The members of an object or the elements of an array, after its bracket. */
static inline bool
json_list(struct json_at *j, char close, int depth)
{
	if (json_one(j, close))
		return true;
	do {
		if (close == '}' && (!json_string(j) || !json_one(j, ':')))
			return false;
		if (!json_value(j, depth + 1))
			return false;
	} while (json_one(j, ','));
	return json_one(j, close);
}

static bool
json_value(struct json_at *j, int depth)
{
	if (depth > 20 || j->p >= j->end)
		return false;
	if (json_one(j, '{'))
		return json_list(j, '}', depth);
	if (json_one(j, '['))
		return json_list(j, ']', depth);
	if (*j->p == '"')
		return json_string(j);
	return json_word(j, "true") || json_word(j, "false") || json_word(j, "null") ||
	       json_number(j);
}

/* One value and a newline, without any other white space. */
static inline bool
json_valid(const char *text, size_t len)
{
	struct json_at j = { text, text + len };

	return json_value(&j, 0) && json_one(&j, '\n') && j.p == j.end;
}
#endif
