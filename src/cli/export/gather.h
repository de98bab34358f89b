#ifndef WEIR_CLI_EXPORT_GATHER_H
#define WEIR_CLI_EXPORT_GATHER_H
/* cli/export/gather: what all families of the machine say at one time.
 *
 * All are asked at once. Who does not answer within GATHER_TIMEOUT_MS is left out, and nobody
 * else is later for that. Answers are bounded. */
#include "cli/export/exposition.h"
#include "cli/family.h"

enum { GATHER_TIMEOUT_MS = 1000 };

enum state {
	STATE_LIVE,
	STATE_DEAD,    /* nobody listens at the socket */
	STATE_SLOW,    /* no answer in time */
	STATE_INVALID, /* no answer of a kind that is known */
	STATE_DENIED,  /* the socket may not be asked */
	NR_STATES
};

extern const char *const state_names[NR_STATES];

struct member {
	struct place *place;
	enum state state;
	struct family family;   /* of a live one; else metrics is NULL */
	struct exposition said; /* of a live one: /metrics; else empty */
	/* Taken from it. */
	double blocked;
	json_t *histograms;
};

struct gathering {
	struct member *at;
	int nr;
	struct places places;
	double seconds;      /* that it took */
	long long timestamp; /* Unix milliseconds */
};

struct seen;

/* `seen` is what is remembered from one gathering to the next. */
void gather(struct gathering *, struct seen *seen);
void gathering_fini(struct gathering *);

int gathering_count(const struct gathering *, enum state);

/* Asks the live ones for one more document, or only the one whose socket is shown as `socket`
 * (NULL: all); docs[i] is member i's, or NULL. */
void gathering_ask(const struct gathering *, const char *socket, const char *target,
		   json_t **docs);

/* The newer of `newest` and the document's timestamp, unless that lies in the future. */
json_int_t gathering_newest(const struct gathering *, json_int_t newest,
			    const json_t *doc);

/* {"schema":"weir.families/1","timestamp":..,"families":[..]}: of each program, pid, socket,
 * state; of the live ones their /metrics.json as `metrics`, how many streams are `blocked`, and
 * `histograms` of hold times and sizes as {"le":[..,null],"count":[..]}. */
json_t *gathering_json(const struct gathering *);
/* /buffer-pool-metrics: the sum of all live ones. */
json_t *gathering_pool(const struct gathering *);
#endif
