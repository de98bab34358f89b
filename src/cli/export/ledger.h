#ifndef WEIR_CLI_EXPORT_LEDGER_H
#define WEIR_CLI_EXPORT_LEDGER_H
/* cli/export/ledger: what the families said, gathering by gathering, so that no sum's counter falls.
 *
 * The sum of a program is what its live families say now, and what the others said last: those
 * that did not answer this time, and those that ended. A family is the same if its socket, its
 * first process and its start are; one that begins at the place of another is a new one, and so is one
 * whose counters fell. Gauges are only those of families that answered.
 *
 * A family that is gone is known for a while, as it may have been overlooked; then it goes into
 * its program's sum. Those are kept for up to MOST_KEPT samples; programs beyond lose what ended. */
#include "cli/export/gather.h"

enum { MOST_KEPT = 200000 };

struct text;

struct ledger;

/* per_family: nothing is summed, and what ended is forgotten. */
struct ledger *ledger_new(bool per_family);
void ledger_free(struct ledger *);

/* A new gathering. Takes what its members say over. */
void ledger_note(struct ledger *, struct gathering *);

/* The samples of all as they were noted last. */
void ledger_write(const struct ledger *, bool openmetrics, struct text *);
#endif
