#include "cli/export/accept.h"
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *type, *kind, *version;
} formats[] = { { "text/plain", "text/*", "0.0.4" },
		{ "application/openmetrics-text", "application/*", "1.0.0" } };

/* The word without the spaces around it, in place. */
static char *
trimmed(char *word)
{
	size_t len;

	word += strspn(word, " \t");
	for (len = strlen(word); len && strchr(" \t", word[len - 1]);)
		word[--len] = '\0';
	return word;
}

/* "type/subtype;version=x;q=0.5", taken to pieces. How closely it names the format, 0: not. */
static int
closeness(const char *range, int format, double *q)
{
	char *copy = have(strdup(range)), *rest = NULL;
	char *word = strtok_r(copy, ";", &rest);
	const char *type = word ? trimmed(word) : "";
	int close = strcasecmp(type, formats[format].type) == 0 ? 3
		    : strcasecmp(type, formats[format].kind) == 0
			    ? 2
			    : strcmp(type, "*/*") == 0;

	*q = 1;
	while ((word = strtok_r(NULL, ";", &rest))) {
		char *value = strchr(word, '=');

		if (!value)
			continue;
		*value++ = '\0';
		word = trimmed(word);
		value = trimmed(value);
		if (strcasecmp(word, "q") == 0)
			*q = *value == '0' || *value == '1' ? strtod(value, NULL) : 0;
		else if (close == 3 && strcasecmp(word, "version") == 0)
			close = strcmp(value, formats[format].version) == 0 ? 4 : 0;
	}
	free(copy);
	return close;
}

bool
accept_openmetrics(const char *header)
{
	char *copy = have(strdup(header ? header : "")), *rest = NULL;
	int best_close[2] = { 0, 0 };
	double best_q[2] = { 0, 0 };

	for (char *range = strtok_r(copy, ",", &rest); range;
	     range = strtok_r(NULL, ",", &rest))
		for (int f = 0; f < 2; f++) {
			double q;
			int close = closeness(range, f, &q);

			if (!close || close < best_close[f] ||
			    (close == best_close[f] && q <= best_q[f]))
				continue;
			best_close[f] = close;
			best_q[f] = q;
		}
	free(copy);
	return best_q[1] > best_q[0];
}
