#ifndef WEIR_CLI_LISTING_H
#define WEIR_CLI_LISTING_H
/* cli/listing: the streams of several families in one list. */
#include "cli/family.h"
#include "cli/figures.h"

enum listing_sort { BY_BACKPRESSURE, BY_BYTES, BY_BLOCKED, BY_AGE, NR_SORTS };

/* As in ?sort= of /streams. */
extern const char *const sort_names[NR_SORTS];

/* The sort of that name; NR_SORTS: none. */
enum listing_sort listing_sort_of(const char *name);

struct stream {
	const struct family *family;
	json_t *entry;      /* of /streams; the listing's */
	struct flow way[2]; /* requests, responses */
	double blocked_ms;  /* how long one direction is held up by now; 0: it is not */
	const char *blocked_cause; /* in `entry` */
};

struct listing {
	struct stream *at;
	int nr;
	json_int_t at_ms; /* the newest snapshot's time */
};

/* Asks for streams in `state` ("open", "closed"; NULL: both). Most first, `most` of them at most
 * (0: all). A family that does not answer has none. */
void listing_open(struct listing *, const struct families *, const char *state,
		  enum listing_sort sort, int most);
void listing_close(struct listing *);

/* A stream out of an entry of /streams, which it keeps: to be given back with json_decref(). */
void stream_read(const struct family *, json_t *entry, struct stream *);
/* What a sort goes by, the greatest first. */
double stream_rank(const struct stream *, enum listing_sort sort);
/* Backpressure of both directions. */
double stream_stall_ms(const struct stream *);
/* "812ms peer", or "-". */
struct text;
void stream_blocked(const struct stream *, struct text *out);
#endif
