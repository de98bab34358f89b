#include "cli/table.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 1 };

struct table {
	const struct column *columns;
	int nr_columns, nr_cells, cap;
	int *width;   /* of each column */
	char **cells; /* escaped, row by row */
};

struct table *
table_new(const struct column *columns, int nr_columns)
{
	struct table *t = have(calloc(1, sizeof *t));

	t->columns = columns;
	t->nr_columns = nr_columns;
	t->width = have(calloc((size_t)nr_columns, sizeof *t->width));
	for (int i = 0; i < nr_columns; i++)
		t->width[i] = text_columns(columns[i].head);
	return t;
}

void
table_free(struct table *t)
{
	if (!t)
		return;
	for (int i = 0; i < t->nr_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->width);
	free(t);
}

void
table_cell(struct table *t, const char *format, ...)
{
	int column = t->nr_cells % t->nr_columns, most = t->columns[column].most,
	    columns;
	struct text raw = { 0 }, safe = { 0 }, cut = { 0 };
	va_list args;

	va_start(args, format);
	text_vadd(&raw, format, args);
	va_end(args);
	text_escape(&safe, text_string(&raw));
	columns = text_columns(text_string(&safe));
	text_cut(&cut, text_string(&safe), most && columns > most ? most : columns);
	text_fini(&raw);
	text_fini(&safe);
	columns = text_columns(text_string(&cut));
	if (columns > t->width[column])
		t->width[column] = columns;
	if (t->nr_cells == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->cells = have(realloc(t->cells, (size_t)t->cap * sizeof *t->cells));
	}
	t->cells[t->nr_cells++] = cut.at ? cut.at : have(strdup(""));
}

int
table_rows(const struct table *t)
{
	return t->nr_cells / t->nr_columns;
}

static void
spaces(struct text *out, int nr)
{
	text_add(out, "%*s", nr, "");
}

/* The columns by which column `i` has to give way. */
static int
too_wide(const struct table *t, int i, int width)
{
	int sum = (t->nr_columns - 1) * GAP, give = t->width[i] - t->columns[i].least;

	if (!width || !t->columns[i].least || give <= 0)
		return 0;
	for (int k = 0; k < t->nr_columns; k++)
		sum += t->width[k];
	return sum <= width ? 0 : sum - width < give ? sum - width : give;
}

void
table_line(const struct table *t, int row, int width, struct text *out)
{
	struct text line = { 0 };

	for (int i = 0; i < t->nr_columns; i++) {
		const char *cell = row < 0 ? t->columns[i].head
					   : t->cells[row * t->nr_columns + i];
		int wide = t->width[i] - too_wide(t, i, width);
		int pad = wide - text_columns(cell);

		if (i)
			spaces(&line, GAP);
		if (!t->columns[i].left && pad > 0)
			spaces(&line, pad);
		text_cut(&line, cell, wide);
		/* The last column leaves no spaces behind it. */
		if (t->columns[i].left && pad > 0 && i + 1 < t->nr_columns)
			spaces(&line, pad);
	}
	text_cut(out, text_string(&line),
		 width ? width : text_columns(text_string(&line)));
	text_fini(&line);
}

void
table_print(const struct table *t, FILE *file)
{
	struct text line = { 0 };

	for (int row = -1; row < table_rows(t); row++) {
		text_clear(&line);
		table_line(t, row, 0, &line);
		fprintf(file, "%s\n", text_string(&line));
	}
	text_fini(&line);
}
