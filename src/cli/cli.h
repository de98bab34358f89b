#ifndef WEIR_CLI_CLI_H
#define WEIR_CLI_CLI_H
/* cli: the weir command, a client of the metrics sockets. It shares no code with the library
 * that is preloaded, so it may allocate, use stdio and know errno.
 *
 * Whatever a family, a file or a process says (names, addresses, paths) is untrusted: it comes
 * to a terminal through text_escape() alone, which table cells and complain() do themselves.
 *
 * Data goes to stdout, everything else to stderr. One thread. Where memory ends, the command
 * does, with exit status 1. */
#include <stdbool.h>
#include <stddef.h>

#ifdef PACKAGE_VERSION
#define WEIR_VERSION PACKAGE_VERSION
#else
#define WEIR_VERSION "unknown"
#endif

/* What every verb returns; weir run has 126 and 127 beside these, as env(1) does. */
enum {
	END_FINE = 0,
	END_FAILED = 1,
	END_USAGE = 2,
	END_NOTHING = 3,
	END_REFUSED = 125
};

struct verb {
	const char *name;
	const char *arguments; /* as in its usage line */
	const char *summary;   /* one line, for the list of verbs */
	/* What `weir help NAME` says below the usage line: what it does, its options and exit
	 * status; weir(1) has the rest. An option's line begins with two spaces and the option,
	 * which shells complete by (completion/). */
	const char *help;
	bool takes_command; /* what follows its first operand is no option of its own */
	/* argv[0] is the verb; returns an exit status. */
	int (*run)(int argc, char **argv);
};

extern const struct verb verb_check, verb_export, verb_ps, verb_run, verb_stat,
	verb_streams, verb_targets, verb_top, verb_tune;

/* The verb of that name, or NULL. */
const struct verb *verb_find(const char *name);

/* The options that every reporting verb has, and its own. `own` lists further options of the
 * verb, ended by a NULL name: those that take a value, which is stored in *value, and those that
 * set *flag. */
struct option_value {
	const char *name;   /* with its dashes */
	const char **value; /* NULL: it takes none */
	bool *flag;
};

/* Takes the options off argv, wherever they stand before a "--". Returns the number of operands,
 * which are then argv[1..]; or, below 0, -1 - the exit status with which the verb has to end
 * (-h was answered, or a bad option complained of). */
int options_read(const struct verb *verb, int argc, char **argv, bool *json,
		 const struct option_value *own);

/* The usage line on stderr; END_USAGE. */
int usage(const struct verb *verb);

/* What `weir help NAME` and `weir NAME -h` say, on stdout. */
void help(const struct verb *verb);

/* A whole number from least to most; false if it is none. */
bool number_read(const char *word, long least, long most, long *number);

/* What the library takes for a switch that is off. */
bool is_off(const char *value);

/* "weir: " and the message, one line on stderr, escaped. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* While kept, complaints are not printed: a full screen shows the last one. */
void complaints_keep(bool keep);
/* The last one kept, escaped, and forgotten when the next is asked for; "" if there is none. */
const char *complaint_last(void);

/* CLOCK_MONOTONIC in milliseconds. */
double now_ms(void);

/* Gives `memory` back, or ends the command where that is NULL. */
void *have(void *memory);
#endif
