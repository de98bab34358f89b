#ifndef TESTS_TEXT_CHECK_H
#define TESTS_TEXT_CHECK_H
/* Is it a whole document of /metrics? Families in form, none twice, numbers without exponent or
 * sign. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_FAMILIES = 45 };

struct text_at {
	bool openmetrics, ended;
	char family[80], type[16];
	unsigned long long bucket; /* the last one of the histogram */
	char seen[TEXT_FAMILIES][80];
	int nr;
};

static inline const char *
text_after(const char *line, const char *start)
{
	size_t len = strlen(start);

	return strncmp(line, start, len) ? NULL : line + len;
}

static inline bool
text_help(struct text_at *t, const char *rest)
{
	t->type[0] = '\0';
	t->bucket = 0;
	if (sscanf(rest, "%79s", t->family) != 1 || t->nr == TEXT_FAMILIES)
		return false;
	for (int i = 0; i < t->nr; i++)
		if (!strcmp(t->family, t->seen[i]))
			return false;
	strcpy(t->seen[t->nr++], t->family);
	return true;
}

static inline bool
text_type(struct text_at *t, const char *rest)
{
	char name[80];
	size_t len = strlen(t->family);
	bool total = len > 6 && !strcmp(t->family + len - 6, "_total");

	return sscanf(rest, "%79s %15s", name, t->type) == 2 &&
	       !strcmp(name, t->family) &&
	       total == (!t->openmetrics && !strcmp(t->type, "counter"));
}

/* They grow, and the last is the count. */
static inline bool
text_buckets(struct text_at *t, const char *rest, const char *value)
{
	unsigned long long n = strtoull(value, NULL, 10), last = t->bucket;

	if (text_after(rest, "_count "))
		return n == last;
	if (!text_after(rest, "_bucket{"))
		return text_after(rest, "_sum ") != NULL;
	t->bucket = n;
	return n >= last;
}

static inline bool
text_sample(struct text_at *t, const char *line)
{
	const char *p = text_after(line, t->family), *value = strrchr(line, ' ');

	if (!p || !t->type[0] || !value || !value[1] ||
	    value[1 + strspn(value + 1, "0123456789.")])
		return false;
	if (t->openmetrics && !strcmp(t->type, "counter"))
		p = text_after(p, "_total");
	else if (!strcmp(t->type, "histogram"))
		return text_buckets(t, p, value + 1);
	return p && (*p == '{' || *p == ' ');
}

static inline bool
text_line(struct text_at *t, const char *line)
{
	const char *rest;

	if (t->ended || line[strlen(line) - 1] == ' ')
		return false;
	if (!strcmp(line, "# EOF"))
		return t->ended = true;
	if ((rest = text_after(line, "# HELP ")))
		return text_help(t, rest);
	if ((rest = text_after(line, "# TYPE ")))
		return text_type(t, rest);
	return text_sample(t, line);
}

/* NULL, or the first line that is wrong. Cuts the terminated text into lines. */
static inline const char *
text_wrong(char *text, bool openmetrics)
{
	struct text_at t = { .openmetrics = openmetrics };
	char *save;

	if (strstr(text, "\n\n"))
		return "an empty line";
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (!text_line(&t, line))
			return line;
	if (t.ended != openmetrics)
		return "the end";
	return t.nr == TEXT_FAMILIES ? NULL : "too few families";
}
#endif
