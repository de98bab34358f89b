#ifndef WEIR_CLI_TEXT_H
#define WEIR_CLI_TEXT_H
/* cli/text: a string that grows, what is safe to show on a terminal, and figures as people read
 * them.
 *
 * Columns are those a terminal uses, by the locale's character set. */
#include <stdarg.h>
#include <stddef.h>

struct text {
	char *at; /* NULL while nothing was added; else ended by a NUL */
	size_t len, cap;
};

void text_add(struct text *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void text_vadd(struct text *, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
void text_bytes(struct text *, const char *bytes, size_t len);
/* "" where nothing was added. */
const char *text_string(const struct text *);
void text_clear(struct text *);
void text_fini(struct text *);

/* Adds `s` with everything that is no printable character of the locale (control characters of
 * both kinds, broken sequences, what turns the direction of writing, what has no width) and
 * every backslash as \xNN, byte by byte. So what is shown can be told apart, and no terminal
 * acts on it. */
void text_escape(struct text *, const char *s);

/* The columns that an escaped string needs. */
int text_columns(const char *s);

/* Adds at most `columns` columns of an escaped string; what is cut ends in '~'. */
void text_cut(struct text *, const char *s, int columns);

/* At most five columns each, into out[FIGURE_CAP]; returns out. */
enum { FIGURE_CAP = 16 };
/* 0, 7.5, 412, 9999, 12.3k, 456k, 7.8M */
const char *figure_count(char *out, double n);
/* 0, 412, 1023, 1.5K, 32.0K, 900K, 7.8M, in powers of 1,024 */
const char *figure_bytes(char *out, double n);
/* 0, 45us, 1.2ms, 850ms, 3.4s, 12m, 5.5h, 12d */
const char *figure_time(char *out, double ms);
#endif
