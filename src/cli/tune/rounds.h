#ifndef WEIR_CLI_TUNE_ROUNDS_H
#define WEIR_CLI_TUNE_ROUNDS_H
/* cli/tune/rounds: round after round of trials, with the progress on stderr, and where they are kept. */
#include "cli/tune/trial.h"
#include "cli/tune/tune.h"

/* Measures until the rounds that were wanted are done, the time is up, no setting but off is left,
 * or something fails: then t->failure says what, and stderr has said more. */
void rounds_run(struct tune *t, struct bench *bench);

/* A trial of a round from 1 to t->rounds, or NULL where the setting was out by then. Off always
 * has one. */
const struct trial *rounds_trial(const struct tune *, int round, int setting, int load);

/* Keeps a trial that has a round. */
void rounds_keep(struct tune *, const struct trial *);

/* True while a setting beside off is not out. */
bool rounds_settings_left(const struct tune *);
#endif
