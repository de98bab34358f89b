/* weir tune's arithmetic: medians and their intervals, what is recommended of which rounds, the
 * number in a load's output, and the words of a load. */
#include "cli/tune/interval.h"
#include "cli/tune/load.h"
#include "cli/tune/rounds.h"
#include "cli/tune/verdict.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- intervals ---- */

/* By the binomial distribution. */
static void
the_ranks_reach_the_coverage(void **state)
{
	static const struct {
		int nr, rank;
		double coverage;
	} known[] = { { 5, 1, 0.9375 },    { 6, 1, 0.96875 },      { 7, 1, 0.984375 },
		      { 8, 2, 0.9296875 }, { 10, 2, 0.978515625 }, { 20, 6, 0.9586105 },
		      { 100, 42, 0.9113 } };

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		assert_int_equal(interval_rank(known[i].nr), known[i].rank);
		assert_true(fabs(interval_coverage(known[i].nr, known[i].rank) -
				 known[i].coverage) < 1e-4);
		assert_true(interval_coverage(known[i].nr, known[i].rank + 1) <
			    LEAST_COVERAGE);
	}
	assert_int_equal(interval_rank(1), 1);
	assert_true(interval_coverage(4, 1) < LEAST_COVERAGE);
	/* No power of two gets out of hand. */
	assert_true(interval_coverage(MOST_VALUES, interval_rank(MOST_VALUES)) >= 0.9);
}

static void
an_interval_is_of_order_statistics(void **state)
{
	static const double values[] = { 5, 1, 9, 3, 7, 100, 0.5, 4 };
	struct interval i = interval_of(values, 5);

	(void)state;
	assert_true(i.median == 5 && i.low == 1 && i.high == 9);
	/* Of eight, one outlier on each side is forgiven. */
	i = interval_of(values, 8);
	assert_true(i.median == 4.5 && i.low == 1 && i.high == 9);
	i = interval_of(values, 1);
	assert_true(i.median == 5 && i.low == 5 && i.high == 5);
	assert_true(values[0] == 5 && values[5] == 100);
}

/* The promise itself: of many samples of a skewed distribution, the share of intervals that hold
 * the true median. The seed is fixed, so this cannot fail by chance. */
static void
intervals_hold_the_median_as_often_as_they_say(void **state)
{
	enum { SAMPLES = 20000 };

	(void)state;
	srand48(20261126);
	for (int nr = 5; nr <= 20; nr += 3) {
		int held = 0;
		double share;

		for (int k = 0; k < SAMPLES; k++) {
			double values[20];
			struct interval i;

			for (int n = 0; n < nr; n++)
				values[n] = -log(1 - drand48()); /* exponential */
			i = interval_of(values, nr);
			held += i.low <= M_LN2 && M_LN2 <= i.high;
		}
		share = (double)held / SAMPLES;
		assert_true(fabs(share - interval_coverage(nr, interval_rank(nr))) <
			    0.01);
	}
}

static void
noise_works_both_ways_and_has_a_floor(void **state)
{
	struct interval slow = { 0.9, 0.5, 1.1 }, quiet = { 1, 0.999, 1.001 };
	struct interval gain = { 2.1, 1.1, 3 }, loss = { 0.49, 0.3, 0.9 };
	struct interval wide = { 2.5, 0.99, 3 }, small = { 1.9, 1.8, 2.2 };

	(void)state;
	assert_true(interval_noise(&slow) == 2);
	assert_true(interval_noise(&quiet) == 1.03);
	assert_int_equal(interval_tells(&gain, 2), 1);
	assert_int_equal(interval_tells(&loss, 2), -1);
	assert_int_equal(interval_tells(&wide, 2), 0);
	assert_int_equal(interval_tells(&small, 2), 0);
}

/* ---- verdicts ---- */

struct world {
	struct tune tune;
	struct verdict verdict;
};

enum { USUAL = FIRST_SETTING, OTHER, NR_SETTINGS };

/* A value of a setting in a round: `rate` with a few percent of something like noise. */
static void
keep(struct tune *t, int round, int setting, int load, double rate, double cpu)
{
	static const double wobble[] = { 1, 1.02, 0.98, 1.01, 0.99, 1.015, 0.985 };
	double value = rate * wobble[(round * 3 + setting * 2 + load) % 7];

	rounds_keep(t, &(struct trial){ .round = round,
					.setting = setting,
					.load = load,
					.value = value,
					.seconds = 2,
					.cpu = cpu * value * 2 });
}

/* Rates and CPU time for each unit of off, of the library's own values and of another setting. */
static struct world *
world_of(int rounds, int nr_loads, const double rates[MOST_LOADS][3],
	 const double cpu[3])
{
	struct world *w = calloc(1, sizeof *w);
	struct tune *t = &w->tune;

	assert_non_null(w);
	t->nr_settings = NR_SETTINGS;
	t->nr_loads = nr_loads;
	t->settings[USUAL] = (struct setting){ .chunk = DEFAULT_CHUNK,
					       .delay_us = DEFAULT_DELAY_US };
	t->settings[OTHER] = (struct setting){ .chunk = 4096, .delay_us = 500 };
	for (int round = 1; round <= rounds; round++)
		for (int load = 0; load < nr_loads; load++)
			for (int i = OFF; i < NR_SETTINGS; i++) {
				int k = i < FIRST_SETTING ? 0 : i - 1;

				keep(t, round, i, load, rates[load][k], cpu[k]);
			}
	t->rounds = rounds;
	return w;
}

static int
recommended(struct world *w)
{
	verdict_find(&w->tune, &w->verdict);
	assert_true(w->verdict.decided);
	return w->verdict.setting;
}

static void
destroy(struct world *w)
{
	for (int i = 0; i < MOST_SETTINGS; i++)
		text_fini(&w->tune.settings[i].out);
	free(w->tune.trials);
	free(w);
}

static const double same_cpu[] = { 1, 1, 1 };

static void
expect(const double rates[MOST_LOADS][3], int nr_loads, int setting)
{
	struct world *w = world_of(6, nr_loads, rates, same_cpu);

	assert_int_equal(recommended(w), setting);
	destroy(w);
}

static void
what_is_recommended(void **state)
{
	(void)state;
	/* Nothing gains, or less than noise. */
	expect((double[2][3]){ { 100, 100, 100 } }, 1, OFF);
	expect((double[2][3]){ { 100, 103, 97 } }, 1, OFF);
	expect((double[2][3]){ { 100, 50, 20 } }, 1, OFF);
	/* The usual values where they gain, unless another setting beats them as well. */
	expect((double[2][3]){ { 100, 200, 202 } }, 1, USUAL);
	expect((double[2][3]){ { 100, 200, 300 } }, 1, OTHER);
	expect((double[2][3]){ { 100, 100, 300 } }, 1, OTHER);
	/* A gain under one load, but no loss under the other. */
	expect((double[2][3]){ { 100, 200, 100 }, { 100, 100, 100 } }, 2, USUAL);
	expect((double[2][3]){ { 100, 200, 100 }, { 100, 50, 100 } }, 2, OFF);
	expect((double[2][3]){ { 100, 200, 150 }, { 100, 50, 100 } }, 2, OTHER);
	expect((double[2][3]){ { 100, 200, 300 }, { 100, 100, 60 } }, 2, USUAL);
}

static void
noise_hides_a_gain(void **state)
{
	static const double rates[MOST_LOADS][3] = { { 100, 140, 140 } };
	struct world *w = world_of(6, 1, rates, same_cpu);

	(void)state;
	assert_int_equal(recommended(w), USUAL);
	/* In one round, off was half as fast as off. */
	keep(&w->tune, 2, OFF_AGAIN, 0, 50, 1);
	assert_int_equal(recommended(w), OFF);
	assert_int_equal(w->verdict.at[USUAL][0].tells, 0);
	assert_true(w->verdict.noise[0] > 1.9);
	destroy(w);
	/* Of eight rounds, one is forgiven. */
	w = world_of(8, 1, rates, same_cpu);
	keep(&w->tune, 2, OFF_AGAIN, 0, 50, 1);
	assert_int_equal(recommended(w), USUAL);
	destroy(w);
}

static void
what_is_out_or_too_short_is_not_recommended(void **state)
{
	static const double rates[MOST_LOADS][3] = { { 100, 200, 300 } };
	struct world *w = world_of(6, 1, rates, same_cpu);

	(void)state;
	text_add(&w->tune.settings[OTHER].out, "it crashed");
	assert_int_equal(recommended(w), USUAL);
	text_add(&w->tune.settings[USUAL].out, "it crashed");
	/* Then one round is enough to say so. */
	w->tune.rounds = 1;
	assert_int_equal(recommended(w), OFF);
	destroy(w);
	w = world_of(4, 1, rates, same_cpu);
	verdict_find(&w->tune, &w->verdict);
	assert_false(w->verdict.decided);
	assert_true(w->verdict.at[OTHER][0].gain.median > 2.5);
	destroy(w);
	w = world_of(0, 1, rates, same_cpu);
	verdict_find(&w->tune, &w->verdict);
	assert_false(w->verdict.decided);
	destroy(w);
}

/* A busy machine: one run in five takes a multiple or a part of the time. */
static double
disturbed(void)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += drand48();
	return exp((sum - 6) * (drand48() < 0.8 ? 0.05 : 0.6));
}

static void
settings_that_are_alike_are_seldom_recommended(void **state)
{
	enum { SESSIONS = 2000, ROUNDS = 8 };
	int recommendations = 0;

	(void)state;
	srand48(20261126);
	for (int k = 0; k < SESSIONS; k++) {
		static const double rates[MOST_LOADS][3] = { { 1, 1, 1 } };
		struct world *w = world_of(ROUNDS, 1, rates, same_cpu);

		for (int round = 1; round <= ROUNDS; round++)
			for (int i = OFF; i < NR_SETTINGS; i++)
				rounds_keep(&w->tune,
					    &(struct trial){ .round = round,
							     .setting = i,
							     .value = disturbed(),
							     .seconds = 1,
							     .cpu = 1 });
		recommendations += recommended(w) != OFF;
		destroy(w);
	}
	assert_in_range(recommendations, 1, SESSIONS / 50);
}

/* A load of a fixed rate is as fast under every setting. */
static void
less_cpu_time_for_the_same_work_is_noticed(void **state)
{
	static const double rates[MOST_LOADS][3] = { { 100, 100, 100 } };
	struct world *w = world_of(6, 1, rates, (double[]){ 1, 0.5, 0.7 });

	(void)state;
	assert_int_equal(recommended(w), OFF);
	assert_int_equal(w->verdict.saving, USUAL);
	assert_true(fabs(w->verdict.at[USUAL][0].cpu.median - 0.5) < 0.01);
	destroy(w);
	/* Not where it is slower, or takes more. */
	w = world_of(6, 1, (double[2][3]){ { 100, 50, 100 } },
		     (double[]){ 1, 0.5, 1.5 });
	assert_int_equal(recommended(w), OFF);
	assert_int_equal(w->verdict.saving, OFF);
	assert_int_equal(w->verdict.at[OTHER][0].cpu_tells, 1);
	destroy(w);
}

/* ---- loads ---- */

static double
metric(const char *expression, const char *output)
{
	struct text own = { 0 };
	regex_t regex;
	double value;

	load_expression(expression, &own);
	assert_int_equal(regcomp(&regex, text_string(&own), REG_EXTENDED | REG_NEWLINE),
			 0);
	text_fini(&own);
	if (!load_metric(&regex, output, &value))
		value = -1;
	regfree(&regex);
	return value;
}

static void
the_number_in_the_output(void **state)
{
	static const char wrk[] =
		"Thread Stats   Avg\nRequests/sec:  96042.11\nTransfer/sec: 3.20MB\n";
	static const char redis[] =
		"GET: rps=0.0 (overall: 0.0)\rGET: rps=1500.5\r"
		"GET: 162508.00 requests per second, p50=0.159 msec\n";

	(void)state;
	assert_true(metric("Requests/sec: +([0-9.]+)", wrk) == 96042.11);
	assert_true(metric("Requests/sec:.*", wrk) == 96042.11);
	assert_true(metric("GET: ([0-9.]+) requests", redis) == 162508);
	assert_true(metric("[0-9.]+ requests", redis) == 162508);
	/* The last match, and all of its group. */
	assert_true(metric("rate ([0-9]+)", "rate 1\nrate 22\nrate x\n") == 22);
	assert_true(metric("^([0-9]+)$", "1\n2\n3\n") == 3);
	assert_true(metric("\"rate\":([-+0-9.e]+)", "{\"rate\":1.5e3,") == 1500);
	assert_true(metric("p99 of ([0-9]+)", "p99 of 7") == 7);
	assert_true(metric("p99 of [0-9]+", "p99 of 7") == 7);
	assert_true(metric("\\d+", "7") == 7);
	assert_true(metric("n ([\\d.]+) x", "n 1.5 x") == 1.5);
	assert_true(metric("[]d[]\\[([^]\\d]\\d)", "d[a4") < 0);
	assert_true(metric("[]d[]\\[[^]\\d](\\d)", "d[a4") == 4);
	/* A unit could change from run to run. */
	assert_true(metric("Transfer/sec: +([0-9.A-Z]+)", wrk) < 0);
	assert_true(metric("Transfer/sec: +[0-9.]+", wrk) < 0);
	assert_true(metric("n=([0-9,]+)", "n=1,234") < 0);
	assert_true(metric("n=[0-9]", "n=1,234") < 0);
	/* Two numbers, none, no match, nothing to divide by. */
	assert_true(metric("second, p50.*", "1 per second, p50=0.1 and 2") < 0);
	assert_true(metric("([0-9]+) and ([a-z]+)", "3 and x") == 3);
	assert_true(metric("rate", "rate") < 0);
	assert_true(metric("rate", "") < 0);
	assert_true(metric("x*", "yyy") < 0);
	assert_true(metric("x*", "") < 0);
	assert_true(metric("n=([0-9.]+)", "n=0") < 0);
	assert_true(metric("n=(.*)", "n=inf") < 0);
	assert_true(metric("n=(.*)", "n=0x10") < 0);
	assert_true(metric("n=(.*)", "n=-4") < 0);
	assert_true(metric("(n=1)?", "n=2") < 0);
}

static void
the_words_of_a_load(void **state)
{
	struct text out = { 0 };
	bool has;

	(void)state;
	assert_true(load_expand("a -c %c -d '%%c' %c%%", 16, &out, &has));
	assert_string_equal(text_string(&out), "a -c 16 -d '%c' 16%");
	assert_true(has);
	text_clear(&out);
	assert_true(load_expand("a 100%%", 16, &out, &has));
	assert_string_equal(text_string(&out), "a 100%");
	assert_false(has);
	assert_false(load_expand("a %d", 16, &out, &has));
	assert_false(load_expand("a %", 16, &out, &has));
	text_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ranks_reach_the_coverage),
		cmocka_unit_test(an_interval_is_of_order_statistics),
		cmocka_unit_test(intervals_hold_the_median_as_often_as_they_say),
		cmocka_unit_test(noise_works_both_ways_and_has_a_floor),
		cmocka_unit_test(what_is_recommended),
		cmocka_unit_test(noise_hides_a_gain),
		cmocka_unit_test(what_is_out_or_too_short_is_not_recommended),
		cmocka_unit_test(settings_that_are_alike_are_seldom_recommended),
		cmocka_unit_test(less_cpu_time_for_the_same_work_is_noticed),
		cmocka_unit_test(the_number_in_the_output),
		cmocka_unit_test(the_words_of_a_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
