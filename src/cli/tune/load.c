#include "cli/tune/load.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
load_expand(const char *command, int clients, struct text *out, bool *has_clients)
{
	*has_clients = false;
	for (const char *s = command; *s; s++) {
		if (*s != '%') {
			text_bytes(out, s, 1);
		} else if (*++s == 'c') {
			text_add(out, "%d", clients);
			*has_clients = true;
		} else if (*s == '%') {
			text_bytes(out, "%", 1);
		} else {
			return false;
		}
	}
	return true;
}

void
load_expression(const char *metric, struct text *out)
{
	const char *bracket = NULL; /* where it was opened */

	for (const char *s = metric; *s; s++) {
		if (s[0] == '\\' && s[1] == 'd') {
			text_add(out, bracket ? "0-9" : "[0-9]");
			s++;
			continue;
		}
		text_bytes(out, s, 1);
		if (!bracket && s[0] == '\\' && s[1])
			text_bytes(out, ++s, 1);
		else if (!bracket && *s == '[')
			bracket = s;
		/* The first one in brackets is one of the characters. */
		else if (bracket && *s == ']' && s > bracket + 1 &&
			 !(s == bracket + 2 && bracket[1] == '^'))
			bracket = NULL;
	}
}

/* The number that [s, end) is, spaces around it aside. */
static bool
whole_number(const char *s, const char *end, double *value)
{
	char *rest;

	while (s < end && isspace((unsigned char)*s))
		s++;
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	/* strtod would take inf, nan and hexadecimal as well. */
	if (s == end || strspn(s, "+0123456789.eE-") < (size_t)(end - s))
		return false;
	*value = strtod(s, &rest);
	return rest == end && isfinite(*value) && *value > 0;
}

/* The one number in [begin, end). A word with digits in it, as p99, is none. */
static bool
number_within(const char *begin, const char *end, double *value)
{
	bool found = false;

	for (const char *s = begin, *next; s < end; s = next) {
		bool apart;

		next = s + 1;
		if (!isdigit((unsigned char)*s) ||
		    (s > begin && (isalpha((unsigned char)s[-1]) || s[-1] == '_'))) {
			while (isalnum((unsigned char)*s) && next < end &&
			       isalnum((unsigned char)*next))
				next++;
			continue;
		}
		next = s + strspn(s, "0123456789.");
		if (next > end)
			next = end;
		/* No unit, and no separator with digits behind it. */
		apart = !isalpha((unsigned char)*next) &&
			!(*next == ',' && isdigit((unsigned char)next[1]));
		if (found || !apart || !whole_number(s, next, value))
			return false;
		found = true;
	}
	return found;
}

bool
load_metric(const regex_t *metric, const char *output, double *value)
{
	regmatch_t match[2], last[2];
	bool found = false;

	for (const char *s = output;
	     regexec(metric, s, 2, match, s == output ? 0 : REG_NOTBOL) == 0;) {
		for (int i = 0; i < 2; i++) {
			bool is = match[i].rm_so >= 0;

			last[i].rm_so =
				is ? match[i].rm_so + (regoff_t)(s - output) : -1;
			last[i].rm_eo =
				is ? match[i].rm_eo + (regoff_t)(s - output) : -1;
		}
		found = true;
		if (!*s)
			break;
		/* An empty match would be found for ever. */
		s += match[0].rm_eo > 0 ? match[0].rm_eo : 1;
	}
	if (!found)
		return false;
	if (metric->re_nsub)
		return last[1].rm_so >= 0 && whole_number(output + last[1].rm_so,
							  output + last[1].rm_eo, value);
	return number_within(output + last[0].rm_so, output + last[0].rm_eo, value);
}
