#ifndef WEIR_CLI_TUNE_TUNE_H
#define WEIR_CLI_TUNE_TUNE_H
/* cli/tune/tune: what weir tune measures, and what it makes of it.
 *
 * Settings 0 and 1 are both the server without the library: what differs between the two is
 * noise. A round has one trial of each setting under each load, in an order drawn anew, so that
 * neither a place in the round nor a neighbour favours anybody; figures are compared within
 * rounds only. */
#include "cli/figures.h"
#include "cli/tune/interval.h"
#include "cli/text.h"
#include <regex.h>
#include <stdbool.h>

enum { OFF, OFF_AGAIN, FIRST_SETTING, MOST_SETTINGS = 16, MOST_LOADS = 2 };

/* The library's own values, if nothing is set. */
enum { DEFAULT_CHUNK = 32768, DEFAULT_DELAY_US = 500 };

struct setting {
	char name[32]; /* "off", "32K/500us" */
	long chunk, delay_us;
	struct text out; /* why it is measured no more; "" while it is */
};

struct load {
	struct text command;
	int clients; /* 0: the user did not say where their number goes */
};

struct trial {
	int round; /* from 1; 0: it was not measured */
	int setting, load;
	double value;   /* the metric, or 1 / seconds: higher is better */
	double seconds; /* the load's wall time */
	double cpu;     /* seconds of the server's meanwhile */
	double at_ms;   /* Unix time at which the load began */
};

struct tune {
	/* What was asked for. */
	char **server; /* argv */
	const char *load_command, *metric, *out_file, *png_file;
	regex_t expression; /* of metric */
	long rounds_wanted;
	long max_seconds;   /* 0: no bound */
	long wait_seconds;  /* until the server has to listen */
	long grace_seconds; /* from SIGTERM to SIGKILL */
	bool json;
	struct setting settings[MOST_SETTINGS];
	int nr_settings;
	struct load loads[MOST_LOADS]; /* the user's first */
	int nr_loads;

	/* What was measured. */
	struct trial *trials; /* of rounds_trial(), room for `cap_rounds` */
	int rounds;           /* that are whole */
	int cap_rounds;
	struct holds holds[MOST_SETTINGS][MOST_LOADS];
	double seconds;      /* all of it took */
	struct text failure; /* why it ended early; "" otherwise */
};
#endif
