#include "cli/cli.h"
#include "cli/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
	bool keep;
	struct text last, shown;
} complaints;

void
complain(const char *format, ...)
{
	struct text raw = { 0 }, safe = { 0 };
	va_list args;

	va_start(args, format);
	text_vadd(&raw, format, args);
	va_end(args);
	text_escape(&safe, text_string(&raw));
	if (complaints.keep) {
		text_clear(&complaints.last);
		text_add(&complaints.last, "%s", text_string(&safe));
	} else {
		fprintf(stderr, "weir: %s\n", text_string(&safe));
	}
	text_fini(&raw);
	text_fini(&safe);
}

void
complaints_keep(bool keep)
{
	complaints.keep = keep;
	text_fini(&complaints.last);
	text_fini(&complaints.shown);
}

const char *
complaint_last(void)
{
	text_clear(&complaints.shown);
	text_add(&complaints.shown, "%s", text_string(&complaints.last));
	text_clear(&complaints.last);
	return text_string(&complaints.shown);
}

void *
have(void *memory)
{
	if (!memory) {
		fputs("weir: no memory left\n", stderr);
		exit(END_FAILED);
	}
	return memory;
}

bool
number_read(const char *word, long least, long most, long *number)
{
	char *end;

	/* strtol would take spaces and signs. */
	if (*word < '0' || *word > '9')
		return false;
	errno = 0;
	*number = strtol(word, &end, 10);
	return !errno && !*end && *number >= least && *number <= most;
}

bool
is_off(const char *value)
{
	static const char *const off[] = { "0", "off", "no", "false" };

	for (size_t i = 0; i < sizeof off / sizeof *off; i++)
		if (strcmp(value, off[i]) == 0)
			return true;
	return false;
}

int
usage(const struct verb *verb)
{
	fprintf(stderr, "usage: weir %s %s\n", verb->name, verb->arguments);
	return END_USAGE;
}

void
help(const struct verb *verb)
{
	printf("usage: weir %s %s\n\n%s\nThe manual: man 1 weir\n", verb->name,
	       verb->arguments, verb->help);
}

/* The number of words that the option at argv[i] takes; 0: it is not one of the verb's own. */
static int
own_option(char **argv, int i, const struct option_value *own)
{
	for (; own && own->name; own++) {
		size_t len = strlen(own->name);

		if (strncmp(argv[i], own->name, len) != 0)
			continue;
		if (!own->value && !argv[i][len]) {
			*own->flag = true;
			return 1;
		}
		if (own->value && argv[i][len] == '=') {
			*own->value = argv[i] + len + 1;
			return 1;
		}
		if (own->value && !argv[i][len]) {
			*own->value = argv[i + 1]; /* NULL at the end */
			return 2;
		}
	}
	return 0;
}

int
options_read(const struct verb *verb, int argc, char **argv, bool *json,
	     const struct option_value *own)
{
	int nr = 0;

	for (int i = 1; i < argc; i++) {
		int words;

		if (strcmp(argv[i], "--") == 0) {
			while (++i < argc)
				argv[++nr] = argv[i];
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1] || (nr && verb->takes_command)) {
			argv[++nr] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			help(verb);
			return -1 - END_FINE;
		}
		if (json &&
		    (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)) {
			*json = true;
			continue;
		}
		words = own_option(argv, i, own);
		if (!words || i + words > argc) {
			complain(words ? "%s needs a value" : "no option %s", argv[i]);
			return -1 - usage(verb);
		}
		i += words - 1;
	}
	argv[nr + 1] = NULL;
	return nr;
}

double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}
