#ifndef WEIR_CLI_TABLE_H
#define WEIR_CLI_TABLE_H
/* cli/table: rows under a head, columns as wide as what is in them.
 *
 * Cells are escaped when they are put in, so a table is safe to show. */
#include <stdio.h>

struct text;

struct column {
	const char *head;
	int left; /* columns from the left; else from the right */
	int most; /* wider cells are cut; 0: none is */
	int least; /* how far it may be narrowed so that a line fits; 0: not. One column at most */
};

struct table;

struct table *table_new(const struct column *columns, int nr_columns);
void table_free(struct table *);

/* The next cell; rows end by themselves. */
void table_cell(struct table *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

int table_rows(const struct table *);

/* Adds row `row` (-1: the head) without a line's end or spaces before it, cut at `width`
 * columns (0: not), for which a column that may be is narrowed first. */
void table_line(const struct table *, int row, int width, struct text *out);

/* Head and rows, not cut: what reads a pipe gets all of it. */
void table_print(const struct table *, FILE *);
#endif
