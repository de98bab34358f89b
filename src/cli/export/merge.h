#ifndef WEIR_CLI_EXPORT_MERGE_H
#define WEIR_CLI_EXPORT_MERGE_H
/* cli/export/merge: /streams of several families as one, with the words of the library's own. */
#include "cli/export/gather.h"
#include "cli/listing.h"

struct text;

struct merge_query {
	enum listing_sort sort; /* NR_SORTS: open ones first, oldest first */
	const char *state;      /* "open", "closed"; NULL: both */
	long limit;             /* -1: none */
	const char *socket;     /* of the only family, as it is shown; NULL: all */
};

/* From the words of a query, NULL where it has none. False: one makes no sense. */
bool merge_query_read(struct merge_query *, const char *sort, const char *state,
		      const char *limit, const char *socket);

/* What a family is asked. */
void merge_query_write(const struct merge_query *, struct text *target);

/* The document, with program, familyPid and socket in each entry. docs[i]: what member i
 * answered, or NULL. */
json_t *merge_streams(const struct gathering *, json_t *const *docs,
		      const struct merge_query *);
#endif
