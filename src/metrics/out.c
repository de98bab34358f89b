#include "metrics/out.h"
#include "base/sys.h"
#include <string.h>

enum { FIRST_CAP = 16384 };

static bool
grow(struct out *out, size_t more)
{
	size_t cap = out->cap ? out->cap : FIRST_CAP;
	char *text;

	if (out->failed)
		return false;
	while (cap - out->len < more && cap < SIZE_MAX / 2)
		cap *= 2;
	text = cap - out->len < more ? NULL : sys_map(cap, 0);
	if (!text) {
		out->failed = true;
		return false;
	}
	if (out->cap) {
		memcpy(text, out->text, out->len);
		sys_unmap(out->text, out->cap);
	}
	out->text = text;
	out->cap = cap;
	return true;
}

static inline bool
reserve(struct out *out, size_t more)
{
	return (out->cap - out->len >= more && !out->failed) || grow(out, more);
}

/* Nearly all pieces are a few bytes: a call to copy them costs more than the copy. */
void
out_mem(struct out *out, const char *p, size_t len)
{
	char *to;

	if (!len || !reserve(out, len))
		return;
	to = out->text + out->len;
	out->len += len;
	if (len > 16) {
		memcpy(to, p, len);
	} else if (len >= 8) {
		memcpy(to, p, 8);
		memcpy(to + len - 8, p + len - 8, 8);
	} else if (len >= 4) {
		memcpy(to, p, 4);
		memcpy(to + len - 4, p + len - 4, 4);
	} else {
		to[0] = p[0];
		to[len / 2] = p[len / 2];
		to[len - 1] = p[len - 1];
	}
}

void
out_str(struct out *out, const char *s)
{
	out_mem(out, s, strlen(s));
}

void
out_char(struct out *out, char c)
{
	if (reserve(out, 1))
		out->text[out->len++] = c;
}

void
out_u64(struct out *out, uint64_t n)
{
	char digits[20];
	unsigned at = sizeof digits;

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	out_mem(out, digits + at, sizeof digits - at);
}

void
out_i64(struct out *out, int64_t n)
{
	if (n < 0)
		out_char(out, '-');
	out_u64(out, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

void
out_fixed(struct out *out, uint64_t n, unsigned decimals)
{
	char digits[20];
	uint64_t unit = 1;

	for (unsigned i = 0; i < decimals; i++)
		unit *= 10;
	out_u64(out, n / unit);
	n %= unit;
	if (!n)
		return;
	while (n % 10 == 0) {
		n /= 10;
		decimals--;
	}
	for (unsigned i = decimals; i-- > 0; n /= 10)
		digits[i] = (char)('0' + n % 10);
	out_char(out, '.');
	out_mem(out, digits, decimals);
}

void
out_float(struct out *out, uint64_t n, unsigned decimals)
{
	size_t before = out->len;

	out_fixed(out, n, decimals);
	if (!out->failed && !memchr(out->text + before, '.', out->len - before))
		out_str(out, ".0");
}

/* Length of the well-formed UTF-8 character at p; 0 if there is none, and then *bad is the
 * length of the part to replace. */
static size_t
utf8(const unsigned char *p, size_t len, size_t *bad)
{
	size_t want = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	/* The second byte rules out overlong forms, surrogates and what is above U+10FFFF. */
	unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

	*bad = 1;
	if (want > 1 && (p[0] < 0xc2 || p[0] > 0xf4))
		return 0;
	for (size_t i = 1; i < want; i++) {
		*bad = i;
		if (i >= len || p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return want;
}

/* One well-formed character. */
static void
json_char(struct out *out, const char *p, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)*p;

	if (c == '"' || c == '\\') {
		out_char(out, '\\');
		out_char(out, *p);
	} else if (c < 0x20 || c == 0x7f) {
		out_str(out, "\\u00");
		out_char(out, hex[c >> 4]);
		out_char(out, hex[c & 15]);
	} else {
		out_mem(out, p, len);
	}
}

/* How many bytes from p on stand for themselves. */
static size_t
plain_run(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && p[n] >= 0x20 && p[n] < 0x7f && p[n] != '"' && p[n] != '\\')
		n++;
	return n;
}

void
out_json(struct out *out, const char *p, size_t len)
{
	size_t bad;

	out_char(out, '"');
	for (size_t i = 0, n; i < len; i += n) {
		n = plain_run(p + i, len - i);
		if (n) {
			out_mem(out, p + i, n);
			continue;
		}
		n = utf8((const unsigned char *)p + i, len - i, &bad);
		if (n) {
			json_char(out, p + i, n);
		} else {
			out_str(out, "\xef\xbf\xbd");
			n = bad;
		}
	}
	out_char(out, '"');
}

void
out_label(struct out *out, const char *s)
{
	size_t len = strlen(s), bad;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8((const unsigned char *)s + i, len - i, &bad);
		if (!n) {
			out_str(out, "\xef\xbf\xbd");
			n = bad;
		} else if (s[i] == '\n') {
			out_str(out, "\\n");
		} else {
			if (s[i] == '"' || s[i] == '\\')
				out_char(out, '\\');
			out_mem(out, s + i, n);
		}
	}
}

void
out_clear(struct out *out)
{
	out->len = 0;
	out->failed = false;
}

void
out_free(struct out *out)
{
	if (out->cap)
		sys_unmap(out->text, out->cap);
	*out = (struct out){ 0 };
}
