#ifndef WEIR_CLI_PAGE_H
#define WEIR_CLI_PAGE_H
/* cli/page: what weir top shows, as lines of text; the screen is another's business.
 *
 * Three pages: all families with the worst of their streams, one family with its streams, one
 * stream. Every line is escaped and no wider than the page. */
#include "cli/listing.h"
#include "cli/watch.h"
#include <stdbool.h>

enum mark { MARK_PLAIN, MARK_TITLE, MARK_HEAD, MARK_SELECTED, MARK_BLOCKED };

struct line {
	char *text;
	enum mark mark;
};

struct page {
	struct line *at;
	int nr, cap;
	int width;         /* columns of the screen; 0: no end */
	int selected_line; /* where the selection is; -1: nowhere */
};

enum depth { SHOW_ALL, SHOW_FAMILY, SHOW_STREAM };

/* What the user has chosen. The strings are the chosen ones' keys, NULL while there is none. */
struct choice {
	enum depth depth;
	enum listing_sort sort;
	char *family, *stream;
	int at; /* the row selected in the page's list; kept inside of it by page_build() */
	bool selects; /* false: no row is marked, as nobody could move the mark */
};

/* Fills an empty page. Counters are rates per second for families, and since their opening for
 * streams. A chosen family or stream that is gone leads one page back. */
void page_build(struct page *, const struct watch *, const struct listing *,
		struct choice *);

/* The list's row `at` is opened; false: there is none, or this page has no list. */
bool page_open_row(const struct watch *, const struct listing *, struct choice *);

/* One page back; false: this is the first. */
bool page_back(struct choice *);

/* The family whose streams the page needs: its place in watch->now, or -1: all of them. */
int page_family(const struct watch *, const struct choice *);

void page_clear(struct page *);
#endif
