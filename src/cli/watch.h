#ifndef WEIR_CLI_WATCH_H
#define WEIR_CLI_WATCH_H
/* cli/watch: the families that fit a TARGET, looked at again and again.
 *
 * Counters are differences to the look before. A family that was not there then is counted since
 * its start, as is every one at the first look; one that is gone has no entry. Families are looked
 * for anew every few seconds, between which the known ones are asked. */
#include "cli/family.h"
#include "cli/figures.h"

/* One family at one look, or what changed between two. */
struct sample {
	const struct family *family; /* of the newest look */
	char *key;                   /* what makes it the same family */
	double at_ms;                /* the family's clock */
	double seconds;              /* since the look before, or its start */
	struct flow way[2];          /* requests, responses */
	struct holds holds;
	double streams, blocked; /* open now; kept from sending now */
	double pool_bytes, pool_in_use, pool_buffers;
};

struct watch {
	const char *target;
	struct families families;
	struct sample *now, *before;
	int nr_now, nr_before;
	double found_ms; /* when families were looked for */
};

/* A look. END_FINE; what families_open() returns where none fits, with its complaint: then there
 * is no sample. */
int watch_look(struct watch *);

/* What changed for family i of the newest look. */
void watch_change(const struct watch *, int i, struct sample *change);

/* What changed for all of them together: counters as rates per second. */
void watch_rates(const struct watch *, struct sample *rates);

void watch_fini(struct watch *);
#endif
