#include "cli/text.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

static void
text_room(struct text *t, size_t more)
{
	size_t want = t->len + more + 1;

	if (want <= t->cap)
		return;
	t->cap = want < 2 * t->cap ? 2 * t->cap : want;
	t->at = have(realloc(t->at, t->cap));
}

void
text_bytes(struct text *t, const char *bytes, size_t len)
{
	text_room(t, len);
	memcpy(t->at + t->len, bytes, len);
	t->len += len;
	t->at[t->len] = '\0';
}

void
text_vadd(struct text *t, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		return;
	text_room(t, (size_t)len);
	vsnprintf(t->at + t->len, (size_t)len + 1, format, args);
	t->len += (size_t)len;
}

void
text_add(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vadd(t, format, args);
	va_end(args);
}

const char *
text_string(const struct text *t)
{
	return t->at ? t->at : "";
}

void
text_clear(struct text *t)
{
	t->len = 0;
	if (t->at)
		t->at[0] = '\0';
}

void
text_fini(struct text *t)
{
	free(t->at);
	*t = (struct text){ 0 };
}

/* The bytes of the character at `s`, at least 1, and its columns; 0 columns: not to be shown. */
static size_t
character(const char *s, size_t left, int *columns)
{
	mbstate_t state = { 0 };
	wchar_t c;
	size_t len = mbrtowc(&c, s, left, &state);

	*columns = 0;
	if (len == 0 || len > left) /* an end, broken, or cut short */
		return 1;
	if (iswprint((wint_t)c) && wcwidth(c) > 0)
		*columns = wcwidth(c);
	return len;
}

void
text_escape(struct text *t, const char *s)
{
	size_t left = strlen(s), len;
	int columns;

	for (; left; s += len, left -= len) {
		len = character(s, left, &columns);
		if (columns && *s != '\\') {
			text_bytes(t, s, len);
			continue;
		}
		for (size_t i = 0; i < len; i++)
			text_add(t, "\\x%02x", (unsigned char)s[i]);
	}
}

int
text_columns(const char *s)
{
	size_t left = strlen(s), len;
	int columns, sum = 0;

	for (; left; s += len, left -= len) {
		len = character(s, left, &columns);
		sum += columns;
	}
	return sum;
}

void
text_cut(struct text *t, const char *s, int columns)
{
	size_t left = strlen(s), len;
	int wide, sum = 0;

	if (text_columns(s) <= columns) {
		text_bytes(t, s, left);
		return;
	}
	for (; left; s += len, left -= len) {
		len = character(s, left, &wide);
		if (sum + wide > columns - 1)
			break;
		sum += wide;
		text_bytes(t, s, len);
	}
	if (sum < columns)
		text_bytes(t, "~", 1);
}

/* n with a unit, in at most five columns. */
static const char *
figure(char *out, double n, double step, const char *units)
{
	size_t last = strlen(units) - 1, i = 0;

	/* What would be rounded up to a fourth digit takes the next unit. */
	while (n >= (i ? 999.5 : step == 1000 ? 9999.5 : step) && i < last) {
		n /= step;
		i++;
	}
	if (!i)
		snprintf(out, FIGURE_CAP,
			 n > 0 && n < 9.95 && n != (double)(long)n ? "%.1f" : "%.0f", n);
	else
		snprintf(out, FIGURE_CAP, n < 99.95 ? "%.1f%c" : "%.0f%c", n, units[i]);
	return out;
}

const char *
figure_count(char *out, double n)
{
	return figure(out, n, 1000, " kMGT");
}

const char *
figure_bytes(char *out, double n)
{
	/* Whole bytes, where the type has room for them. */
	if (n < 1e18)
		n = n > 0 ? (double)(unsigned long long)n : 0;
	return figure(out, n, 1024, " KMGTP");
}

const char *
figure_time(char *out, double ms)
{
	static const struct {
		double least, ms;
		const char *unit;
	} units[] = { { 86400e3 * 2, 86400e3, "d" }, { 3600e3 * 2, 3600e3, "h" },
		      { 60e3 * 10, 60e3, "m" },      { 999.5, 1e3, "s" },
		      { 0.9995, 1, "ms" },           { 0, 1e-3, "us" } };
	size_t i = 0;
	double n;

	if (ms <= 0)
		return memcpy(out, "0", 2);
	while (ms < units[i].least)
		i++;
	n = ms / units[i].ms;
	if (n > 99999)
		n = 99999;
	snprintf(out, FIGURE_CAP, n < 9.95 && i < 5 ? "%.1f%s" : "%.0f%s", n,
		 units[i].unit);
	return out;
}
