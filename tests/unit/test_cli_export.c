/* cli/export/exposition, sums and accept: what families say is read strictly, added up exactly, and
 * written so that Prometheus takes it. */
#include "cli/export/accept.h"
#include "cli/export/billionths.h"
#include "cli/export/exposition.h"
#include "cli/export/sums.h"
#include "cli/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool
read_text(struct exposition *e, const char *text)
{
	return exposition_read(e, strdup(text), strlen(text));
}

static bool
is_taken(const char *text)
{
	struct exposition e;
	bool taken = read_text(&e, text);

	exposition_fini(&e);
	return taken;
}

/* The sum of the texts, each of group program="N" where `groups` has digit N. */
static char *
sum_of(const char *const *texts, const char *groups, bool openmetrics)
{
	static const char *const names[] = { "program=\"0\"", "program=\"1\"",
					     "program=\"2\"" };
	struct exposition said[8];
	struct sums sums = { .own = true };
	struct text out = { 0 };
	int nr = 0;

	for (; texts[nr]; nr++) {
		assert_true(read_text(&said[nr], texts[nr]));
		sums_add(&sums, &said[nr], names[groups[nr] - '0'], true);
	}
	while (nr)
		exposition_fini(&said[--nr]);
	sums_settle(&sums);
	sums_write(&sums, false, openmetrics, &out);
	sums_fini(&sums);
	return out.at ? out.at : strdup("");
}

static void
assert_sum(const char *const *texts, const char *groups, const char *expected)
{
	char *sum = sum_of(texts, groups, false);

	assert_string_equal(sum, expected);
	free(sum);
}

static void
written(const char *number, const char *expected)
{
	struct text out = { 0 };
	__int128 value;

	assert_true(billionths_read(number, &value));
	billionths_write(&out, value);
	assert_string_equal(text_string(&out), expected);
	text_fini(&out);
}

static void
numbers_are_exact(void **state)
{
	static const char *const bad[] = { "",      "-",    ".5",
					   "NaN",   "+Inf", "1x",
					   "0x10",  "1 ",   " 1",
					   "1_000", "1e",   "e5",
					   "1e400", "1e20", "18446744073709551616",
					   "--1" };
	__int128 value;

	(void)state;
	written("0", "0");
	written("0.000000001", "0.000000001");
	written("123.456000000", "123.456");
	written("-1.5", "-1.5");
	written("18446744073709551615", "18446744073709551615");
	written("18446744073709551615.999999999", "18446744073709551615.999999999");
	written("1e3", "1000");
	written("1.5e-3", "0.0015");
	written("0.12345678949", "0.123456789");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (billionths_read(bad[i], &value))
			fail_msg("%s was taken", bad[i]);
}

static void
sums_are_by_program_and_labels(void **state)
{
	(void)state;
	assert_sum(
		(const char *[]){ "# HELP weir_a_total Of a.\n"
				  "# TYPE weir_a_total counter\n"
				  "weir_a_total{x=\"1\",y=\"2\"} 18446744073709551615\n"
				  "weir_a_total{x=\"2\",y=\"2\"} 1\n",
				  "# TYPE weir_a_total counter\n"
				  "weir_a_total{y=\"2\",x=\"1\"} 0.000000001\n",
				  "# TYPE weir_a_total counter\n"
				  "weir_a_total 7\n",
				  NULL },
		"001",
		"# HELP weir_a_total Of a.\n# TYPE weir_a_total counter\n"
		"weir_a_total{program=\"0\",x=\"1\",y=\"2\"} "
		"18446744073709551615.000000001\n"
		"weir_a_total{program=\"0\",x=\"2\",y=\"2\"} 1\n"
		"weir_a_total{program=\"1\"} 7\n");
}

static void
histograms_are_summed_by_bucket(void **state)
{
	static const char one[] = "# TYPE weir_h histogram\n"
				  "weir_h_bucket{le=\"9.0\"} 1\n"
				  "weir_h_bucket{le=\"10.0\"} 2\n"
				  "weir_h_bucket{le=\"+Inf\"} 3\n"
				  "weir_h_count 3\nweir_h_sum 0.5\n";
	static const char sum[] = "# TYPE weir_h histogram\n"
				  "weir_h_bucket{program=\"0\",le=\"9.0\"} 2\n"
				  "weir_h_bucket{program=\"0\",le=\"10.0\"} 4\n"
				  "weir_h_bucket{program=\"0\",le=\"+Inf\"} 6\n"
				  "weir_h_sum{program=\"0\"} 1\n"
				  "weir_h_count{program=\"0\"} 6\n";

	(void)state;
	assert_sum((const char *[]){ one, one, NULL }, "00", sum);
}

static void
the_most_decide_what_a_metric_is(void **state)
{
	static const char gauge[] = "# TYPE weir_h gauge\nweir_h 1\n";
	static const char other[] = "# TYPE weir_h histogram\n"
				    "weir_h_bucket{le=\"+Inf\"} 3\n"
				    "weir_h_count 3\nweir_h_sum 1\n";
	static const char total[] = "# TYPE weir_h_total counter\nweir_h_total 5\n";

	(void)state;
	assert_sum((const char *[]){ gauge, other, gauge, NULL }, "012",
		   "# TYPE weir_h gauge\nweir_h{program=\"0\"} 1\n"
		   "weir_h{program=\"2\"} 1\n");
	assert_sum((const char *[]){ gauge, other, other, total, NULL }, "0120",
		   "# TYPE weir_h histogram\n"
		   "weir_h_bucket{program=\"1\",le=\"+Inf\"} 3\n"
		   "weir_h_sum{program=\"1\"} 1\nweir_h_count{program=\"1\"} 3\n"
		   "weir_h_bucket{program=\"2\",le=\"+Inf\"} 3\n"
		   "weir_h_sum{program=\"2\"} 1\nweir_h_count{program=\"2\"} 3\n");
}

static void
what_makes_no_sum_is_left_out(void **state)
{
	char *sum;

	(void)state;
	assert_sum(
		(const char *[]){ "# TYPE weir_build_info gauge\n"
				  "weir_build_info{version=\"1\"} 1\n"
				  "# TYPE weir_config_x gauge\nweir_config_x 1\n"
				  "# TYPE weir_pool_enabled gauge\nweir_pool_enabled 1\n"
				  "# TYPE process_start_time_seconds gauge\n"
				  "process_start_time_seconds 1795668305.413\n",
				  NULL },
		"0", "");
	sum = sum_of((const char *[]){ "# HELP weir_b_total Of b.\n"
				       "# TYPE weir_b_total counter\nweir_b_total 2\n",
				       NULL },
		     "0", true);
	assert_string_equal(sum, "# HELP weir_b Of b.\n# TYPE weir_b counter\n"
				 "weir_b_total{program=\"0\"} 2\n");
	free(sum);
}

static void
what_prometheus_takes_is_taken(void **state)
{
	(void)state;
	assert_true(is_taken("# a comment\n\n# TYPE weir_a gauge\nweir_a -1.5\n"));
	assert_true(is_taken("# TYPE weir_a gauge\nweir_a{x=\"\\\"\\\\\\n}\",} 1\n"));
	assert_true(is_taken("# HELP weir_a\n# TYPE weir_a gauge\nweir_a{} 1\n"));
	/* Other libraries in the process have metrics of their own. */
	assert_true(is_taken("# TYPE up summary\nup{quantile=\"0.5\"} NaN\n"
			     "# TYPE weir_a gauge\nweir_a 1\n"));
}

static void
what_is_not_strictly_right_is_refused(void **state)
{
#define GAUGE "# TYPE weir_a gauge\n"
#define HISTOGRAM "# TYPE weir_h histogram\n"
	static const char *const bad[] = {
		"",
		"\n\r\n",
		"nonsense\n",
		"weir_a 1\n",
		GAUGE "weir_a 1",
		GAUGE "weir_a 1\n\377\n",
		GAUGE "weir_a  1\n",
		GAUGE "weir_a 1 1795668305413\n",
		GAUGE "weir_a NaN\n",
		GAUGE "weir_a\n",
		GAUGE "weir_b 1\n",
		GAUGE "weir_a 1\nweir_a 1\n",
		GAUGE "weir_a{x=\"1\",y=\"2\"} 1\nweir_a{y=\"2\",x=\"1\"} 1\n",
		GAUGE "weir_a{x=\"1\",x=\"2\"} 1\n",
		GAUGE "weir_a{x=\"1\"\n",
		GAUGE "weir_a{x=\"1\n",
		GAUGE "weir_a{x=\"1\\\n",
		GAUGE "weir_a{x=\"\\t\"} 1\n",
		GAUGE "weir_a{x} 1\n",
		GAUGE "weir_a{x=\"1\"y=\"2\"} 1\n",
		GAUGE "weir_a{1=\"1\"} 1\n",
		GAUGE "weir_a{program=\"1\"} 1\n",
		GAUGE "weir_a{pid=\"1\"} 1\n",
		GAUGE "weir_a{socket=\"1\"} 1\n",
		GAUGE "weir_a{__name__=\"x\"} 1\n",
		GAUGE "weir_a{le=\"1\"} 1\n",
		GAUGE "weir_a 1\n" GAUGE,
		GAUGE "weir_a 1\n# TYPE weir_b gauge\nweir_b 1\nweir_a{x=\"1\"} 1\n",
		GAUGE "# TYPE weir_a counter\n",
		"# TYPE weir_a nonsense\n",
		"# TYPE weir_a counter\nweir_a 1\n",
		"# TYPE weir_a_total gauge\nweir_a_total 1\n",
		"# TYPE weir_a_count gauge\nweir_a_count 1\n",
		"# TYPE weir_a_total counter\nweir_a_total -1\n",
		"# HELP weir_a a \"b\"\n",
		"# HELP weir_a a\\b\n",
		HISTOGRAM "weir_h_bucket{le=\"+Inf\"} 1\nweir_h_sum 1\n",
		HISTOGRAM "weir_h_bucket{le=\"1\"} 1\nweir_h_sum 1\nweir_h_count 1\n",
		HISTOGRAM "weir_h_bucket{le=\"1\"} 2\nweir_h_bucket{le=\"+Inf\"} 1\n"
			  "weir_h_sum 1\nweir_h_count 1\n",
		HISTOGRAM "weir_h_bucket{le=\"+Inf\"} 1\nweir_h_sum 1\nweir_h_count 2\n",
		HISTOGRAM "weir_h_bucket{le=\"x\"} 1\nweir_h_bucket{le=\"+Inf\"} 1\n"
			  "weir_h_sum 1\nweir_h_count 1\n",
		HISTOGRAM "weir_h_bucket 1\nweir_h_sum 1\nweir_h_count 1\n",
		HISTOGRAM "weir_h 1\n",
		HISTOGRAM "weir_h_bucket{le=\"+Inf\",x=\"1\"} 1\nweir_h_sum 1\n"
			  "weir_h_count 1\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (is_taken(bad[i]))
			fail_msg("taken: %s", bad[i]);
}

/* A family may have a million label values; what is too much is none of it. */
static void
what_is_too_much_is_refused(void **state)
{
	struct text text = { 0 };

	(void)state;
	text_add(&text, "# TYPE weir_a gauge\n");
	for (int i = 0; i < MOST_SAMPLES; i++)
		text_add(&text, "weir_a{x=\"%d\"} 1\n", i);
	assert_true(is_taken(text.at));
	text_add(&text, "weir_a{x=\"more\"} 1\n");
	assert_false(is_taken(text.at));
	text_clear(&text);
	text_add(&text, "# TYPE weir_a gauge\nweir_a{x=\"%0300d\"} 1\n", 0);
	assert_false(is_taken(text.at));
	text_fini(&text);
}

static void
a_counter_that_fell_is_seen(void **state)
{
	static const char *const texts[] = {
		"# TYPE weir_a_total counter\nweir_a_total 2\n# TYPE weir_b gauge\nweir_b 9\n",
		"# TYPE weir_b gauge\nweir_b 0\n# TYPE weir_a_total counter\nweir_a_total 3\n",
		"# TYPE weir_a_total counter\nweir_a_total 1\n",
		"# TYPE weir_b gauge\nweir_b 9\n",
	};
	struct exposition said[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(read_text(&said[i], texts[i]));
	assert_true(exposition_grew(&said[0], &said[0]));
	assert_true(exposition_grew(&said[0], &said[1]));
	assert_false(exposition_grew(&said[1], &said[0]));
	assert_false(exposition_grew(&said[0], &said[2]));
	assert_false(exposition_grew(&said[0], &said[3]));
	assert_true(exposition_grew(&said[3], &said[0]));
	for (int i = 0; i < 4; i++)
		exposition_fini(&said[i]);
}

static void
the_format_is_the_one_asked_for(void **state)
{
#define OPENMETRICS "application/openmetrics-text"
	static const char *const open[] = {
		OPENMETRICS,
		OPENMETRICS ";version=1.0.0,text/plain;version=0.0.4;q=0.5",
		"text/plain;q=0.3, " OPENMETRICS " ; version=1.0.0 ; q=0.7, */*;q=0.1",
		"application/*;q=0.9,*/*;q=0.1",
		"text/plain;q=0," OPENMETRICS ";q=0.1",
	};
	static const char *const plain[] = {
		NULL,
		"",
		"*/*",
		"text/html",
		"text/plain",
		OPENMETRICS ";version=0.0.1",
		OPENMETRICS ";q=0.5,text/plain;q=0.5",
		OPENMETRICS ";q=0",
		OPENMETRICS ";q=x",
		";;;,,,=",
		OPENMETRICS ";q=0.5,*/*",
	};

	(void)state;
	for (size_t i = 0; i < sizeof open / sizeof *open; i++)
		if (!accept_openmetrics(open[i]))
			fail_msg("%s", open[i]);
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (accept_openmetrics(plain[i]))
			fail_msg("%s", plain[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(sums_are_by_program_and_labels),
		cmocka_unit_test(histograms_are_summed_by_bucket),
		cmocka_unit_test(the_most_decide_what_a_metric_is),
		cmocka_unit_test(what_makes_no_sum_is_left_out),
		cmocka_unit_test(what_prometheus_takes_is_taken),
		cmocka_unit_test(what_is_not_strictly_right_is_refused),
		cmocka_unit_test(what_is_too_much_is_refused),
		cmocka_unit_test(a_counter_that_fell_is_seen),
		cmocka_unit_test(the_format_is_the_one_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
