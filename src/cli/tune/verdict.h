#ifndef WEIR_CLI_TUNE_VERDICT_H
#define WEIR_CLI_TUNE_VERDICT_H
/* cli/tune/verdict: what the whole rounds say of the settings, and which of them is recommended.
 *
 * A setting is better than another if it beats it, beyond the noise, under at least one load and
 * is beaten under none. Off against off says what is noise. Recommended is what is better than
 * off: the library's own values if they are, unless something else is better than those too. */
#include "cli/tune/tune.h"

struct finding {
	int rounds;            /* that the figures are of; 0: there are none */
	struct interval value; /* the metric, or 1 / seconds */
	struct interval gain;  /* by off, the mean of its two trials, in each round */
	struct interval cpu;   /* for each unit of work, by off's */
	double cpu_seconds;    /* median of a run */
	int tells;             /* 1: better than off, -1: worse, 0: it cannot be told */
	int cpu_tells;         /* 1: it takes more, -1: less */
};

struct verdict {
	struct finding at[MOST_SETTINGS][MOST_LOADS];
	struct interval off_to_off[MOST_LOADS]; /* the second by the first */
	double noise[MOST_LOADS], cpu_noise[MOST_LOADS];
	bool decided; /* there were rounds enough */
	int setting;  /* that is recommended; OFF among them */
	int saving;   /* none gains, but this one takes less CPU time; 0: none does */
};

/* By finding.tells + 1. */
extern const char *const verdict_words[3];

void verdict_find(const struct tune *, struct verdict *);
#endif
