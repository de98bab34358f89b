/* weir: finds the verb. */
#include "cli/cli.h"
#include <locale.h>
#include <stdio.h>
#include <string.h>

static int run_help(int argc, char **argv);

static const struct verb verb_help = {
	"help",
	"[VERB]",
	"show a verb's options",
	"Without a verb: the list of them.\n\nExit status: 0, 2 where there is no such verb.\n",
	false,
	run_help
};

static const struct verb *const verbs[] = {
	&verb_run,    &verb_check, &verb_ps,      &verb_stat, &verb_streams, &verb_top,
	&verb_export, &verb_tune,  &verb_targets, &verb_help, NULL,
};

const struct verb *
verb_find(const char *name)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (strcmp((*v)->name, name) == 0)
			return *v;
	return NULL;
}

static void
overview(FILE *out)
{
	fputs("usage: weir VERB [ARGUMENT...]\n\n", out);
	for (const struct verb *const *v = verbs; *v; v++)
		fprintf(out, "  %-8s %s\n", (*v)->name, (*v)->summary);
	fputs("\n"
	      "TARGET is a pid, a program's name or the path of a socket; left out, all\n"
	      "families are meant. -j or --json: for programs to read. weir help VERB says\n"
	      "more, weir -V the version.\n"
	      "\n"
	      "Exit status: 0 fine, 1 failed, 2 wrong usage, 3 nothing found.\n",
	      out);
}

static int
run_help(int argc, char **argv)
{
	const struct verb *verb;
	int nr = options_read(&verb_help, argc, argv, NULL, NULL);

	if (nr < 0)
		return -1 - nr;
	if (nr > 1)
		return usage(&verb_help);
	if (nr == 0) {
		overview(stdout);
		return END_FINE;
	}
	verb = verb_find(argv[1]);
	if (!verb) {
		complain("no verb %s; weir help lists them", argv[1]);
		return END_USAGE;
	}
	help(verb);
	return END_FINE;
}

int
main(int argc, char **argv)
{
	const struct verb *verb;

	/* Which characters can be shown. Numbers stay as JSON and Prometheus write them. */
	setlocale(LC_CTYPE, "");
	if (argc < 2) {
		overview(stderr);
		return END_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		overview(stdout);
		return END_FINE;
	}
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
		puts("weir " WEIR_VERSION);
		return END_FINE;
	}
	verb = verb_find(argv[1]);
	if (!verb) {
		complain("no verb %s; weir help lists them", argv[1]);
		return END_USAGE;
	}
	return verb->run(argc - 1, argv + 1);
}
