/* cli/text and cli/table: what may be shown on a terminal, and how figures look. */
#include "cli/table.h"
#include "cli/text.h"
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void
is_escaped(const char *raw, const char *wanted)
{
	struct text t = { 0 };

	text_escape(&t, raw);
	assert_string_equal(text_string(&t), wanted);
	text_fini(&t);
}

static void
control_characters_never_reach_a_terminal(void **state)
{
	(void)state;
	is_escaped("plain name", "plain name");
	is_escaped("\x1b]0;owned\x07", "\\x1b]0;owned\\x07");
	is_escaped("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d");
	is_escaped("\x7f", "\\x7f");
	is_escaped("\xc2\x9b"
		   "31m",
		   "\\xc2\\x9b31m"); /* the C1 form of ESC [ */
	is_escaped("\xe2\x80\xae"
		   "gpj",
		   "\\xe2\\x80\\xaegpj"); /* right-to-left override */
	is_escaped("\\x1b", "\\x5cx1b"); /* so that nothing else looks like an escape */
}

static void
broken_sequences_are_shown_byte_by_byte(void **state)
{
	(void)state;
	is_escaped("a\xff"
		   "b",
		   "a\\xff"
		   "b");
	is_escaped("\xe2\x82", "\\xe2\\x82"); /* cut short by the end */
	is_escaped("\xc0\xaf", "\\xc0\\xaf"); /* overlong */
	is_escaped("\xe2\x82\xac", "\xe2\x82\xac");
}

static void
columns_are_those_of_a_terminal(void **state)
{
	struct text t = { 0 };

	(void)state;
	assert_int_equal(text_columns("abc"), 3);
	assert_int_equal(text_columns("\xe2\x82\xac"
				      "5"),
			 2);
	assert_int_equal(text_columns("\xe6\xbc\xa2"), 2);
	text_cut(&t, "abcdef", 6);
	assert_string_equal(text_string(&t), "abcdef");
	text_clear(&t);
	text_cut(&t, "abcdef", 4);
	assert_string_equal(text_string(&t), "abc~");
	text_clear(&t);
	/* A character of two columns is not cut in half. */
	text_cut(&t, "a\xe6\xbc\xa2\xe6\xbc\xa2", 3);
	assert_string_equal(text_string(&t), "a~");
	text_fini(&t);
}

static void
figures_take_five_columns(void **state)
{
	static const double numbers[] = { 0,      1,     7.53,    9.96,  99.96,
					  999,    999.6, 1023,    1024,  9999,
					  9999.6, 10000, 99949,   99951, 999499,
					  999501, 1e6,   999.6e6, 5e13,  1e15 };
	char out[FIGURE_CAP];

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		assert_true(strlen(figure_count(out, numbers[i])) <= 5);
		assert_true(strlen(figure_bytes(out, numbers[i])) <= 5);
		if (numbers[i] < 1e12)
			assert_true(strlen(figure_time(out, numbers[i])) <= 6);
	}
	assert_string_equal(figure_count(out, 0), "0");
	assert_string_equal(figure_count(out, 7.53), "7.5");
	assert_string_equal(figure_count(out, 9999), "9999");
	assert_string_equal(figure_count(out, 12345), "12.3k");
	assert_string_equal(figure_count(out, 999501), "1.0M");
	assert_string_equal(figure_bytes(out, 1023), "1023");
	assert_string_equal(figure_bytes(out, 1024), "1.0K");
	assert_string_equal(figure_bytes(out, 32768), "32.0K");
	assert_string_equal(figure_bytes(out, 1048576), "1.0M");
	assert_string_equal(figure_time(out, 0), "0");
	assert_string_equal(figure_time(out, 0.045), "45us");
	assert_string_equal(figure_time(out, 1.23), "1.2ms");
	assert_string_equal(figure_time(out, 850), "850ms");
	assert_string_equal(figure_time(out, 3400), "3.4s");
	assert_string_equal(figure_time(out, 86400e3 * 12), "12d");
}

static void
a_table_is_as_wide_as_its_cells(void **state)
{
	static const struct column columns[] = { { "PID", 0, 0, 0 },
						 { "NAME", 1, 6, 0 },
						 { "X", 1, 0, 0 } };
	struct table *t = table_new(columns, 3);
	struct text line = { 0 };

	(void)state;
	table_cell(t, "%d", 12345);
	table_cell(t, "ab\x1b");
	table_cell(t, "end");
	table_cell(t, "%d", 7);
	table_cell(t, "a_long_name");
	table_cell(t, "-");
	assert_int_equal(table_rows(t), 2);
	table_line(t, -1, 0, &line);
	assert_string_equal(text_string(&line), "  PID NAME   X");
	text_clear(&line);
	table_line(t, 0, 0, &line);
	assert_string_equal(text_string(&line), "12345 ab\\x1b end");
	text_clear(&line);
	table_line(t, 1, 0, &line);
	assert_string_equal(text_string(&line), "    7 a_lon~ -");
	text_clear(&line);
	table_line(t, 1, 8, &line);
	assert_string_equal(text_string(&line), "    7 a~");
	text_fini(&line);
	table_free(t);
}

static void
a_table_gives_way_in_one_column(void **state)
{
	static const struct column columns[] = { { "A", 0, 0, 0 },
						 { "PEER", 1, 0, 5 },
						 { "B", 0, 0, 0 } };
	struct table *t = table_new(columns, 3);
	struct text line = { 0 };

	(void)state;
	table_cell(t, "1");
	table_cell(t, "10.20.30.40:50");
	table_cell(t, "22");
	table_line(t, 0, 19, &line);
	assert_string_equal(text_string(&line), "1 10.20.30.40:50 22");
	text_clear(&line);
	table_line(t, 0, 15, &line);
	assert_string_equal(text_string(&line), "1 10.20.30.~ 22");
	text_clear(&line);
	table_line(t, -1, 15, &line);
	assert_string_equal(text_string(&line), "A PEER        B");
	/* No further than that: then the line is cut. */
	text_clear(&line);
	table_line(t, 0, 9, &line);
	assert_string_equal(text_string(&line), "1 10.2~ ~");
	text_fini(&line);
	table_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_never_reach_a_terminal),
		cmocka_unit_test(broken_sequences_are_shown_byte_by_byte),
		cmocka_unit_test(columns_are_those_of_a_terminal),
		cmocka_unit_test(figures_take_five_columns),
		cmocka_unit_test(a_table_is_as_wide_as_its_cells),
		cmocka_unit_test(a_table_gives_way_in_one_column),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
