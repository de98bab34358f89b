#ifndef WEIR_CLI_TUNE_DROPIN_H
#define WEIR_CLI_TUNE_DROPIN_H
/* cli/tune/dropin: what makes a setting last: the library's variables, and a systemd unit's drop-in. */
#include "cli/text.h"
#include "cli/tune/tune.h"
#include <jansson.h>

/* An object of strings: LD_PRELOAD, and what was measured, the library's own values too, whatever is
 * set elsewhere. To be given back with json_decref(). */
json_t *dropin_variables(const struct setting *, const char *preload);

/* Adds what `systemctl edit` takes, in which a percent sign is written twice. The metrics socket is
 * named too, as PrivateTmp hides the usual place; its directory has the server's name. */
void dropin_unit(const char *server, json_t *variables, struct text *out);
#endif
