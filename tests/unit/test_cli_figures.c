/* cli/figures: reckoning with what families say. */
#include "cli/figures.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct flow
flow_of(const char *json)
{
	json_t *doc = json_loads(json, 0, NULL);
	struct flow flow;

	flow_read(doc, &flow);
	json_decref(doc);
	return flow;
}

static void
a_direction_is_read(void **state)
{
	struct flow f = flow_of(
		"{\"appCalls\":100,\"kernelCalls\":8,\"appBytes\":900,"
		"\"totalBytes\":800,\"chunkCount\":4,\"backpressureEvents\":2,"
		"\"backpressureTime\":12.5,\"causes\":{\"peer\":2,\"network\":10,"
		"\"local\":0.5,\"unknown\":0}}");

	(void)state;
	assert_true(flow_ratio(&f) == 12.5);
	assert_true(flow_chunk(&f) == 200);
	assert_true(f.stall_ms == 12.5 && f.stalls == 2 && f.app_bytes == 900);
	assert_string_equal(flow_cause(&f), "network");
}

static void
what_is_no_number_is_nothing(void **state)
{
	struct flow f =
		flow_of("{\"appCalls\":\"100\",\"kernelCalls\":null,\"causes\":[1,2]}");

	(void)state;
	assert_true(f.app_calls == 0 && f.kernel_calls == 0);
	assert_true(flow_ratio(&f) == 0 && flow_chunk(&f) == 0);
	assert_string_equal(flow_cause(&f), "-");
	flow_read(NULL, &f);
	assert_true(f.bytes == 0);
}

static void
time_without_a_cause_is_the_reader_s(void **state)
{
	struct flow sent = flow_of("{\"backpressureTime\":30,\"causes\":{\"peer\":30}}");
	struct flow received =
		flow_of("{\"backpressureTime\":40,\"causes\":{\"peer\":0}}");

	(void)state;
	assert_string_equal(flow_cause(&sent), "peer");
	assert_string_equal(flow_cause(&received), "reader");
	flow_add(&sent, &received, 1);
	assert_string_equal(flow_cause(&sent), "reader");
	flow_add(&sent, &received, -0.5);
	assert_string_equal(flow_cause(&sent), "peer");
	assert_true(sent.stall_ms == 50);
}

static const char metrics[] = "# TYPE weir_write_hold_seconds histogram\n"
			      "weir_write_hold_seconds_bucket{le=\"0.00001\"} 0\n"
			      "weir_write_hold_seconds_bucket{le=\"0.0001\"} 90\n"
			      "weir_write_hold_seconds_bucket{le=\"0.001\"} 100\n"
			      "weir_write_hold_seconds_bucket{le=\"+Inf\"} 100\n"
			      "weir_write_hold_seconds_sum 0.01\n"
			      "weir_streams_backpressured_else 9\n"
			      "weir_streams_backpressured 3\n";

static void
a_quantile_lies_between_bounds(void **state)
{
	struct holds holds, sum = { 0 };

	(void)state;
	holds_read(metrics, &holds);
	assert_int_equal(holds.nr, 4);
	assert_true(isinf(holds.le[3]));
	assert_true(fabs(holds_quantile(&holds, 0.45) - 0.000055) < 1e-9);
	assert_true(fabs(holds_quantile(&holds, 0.99) - 0.00091) < 1e-9);
	holds_add(&sum, &holds, 1);
	holds_add(&sum, &holds, -1);
	assert_int_equal(sum.nr, 4);
	assert_true(holds_quantile(&sum, 0.99) < 0);
	/* Beyond every bound: the greatest. */
	holds.count[3] = 100000;
	assert_true(holds_quantile(&holds, 0.99) == 0.001);
}

static void
nothing_and_nonsense_are_no_histogram(void **state)
{
	struct holds holds, other;

	(void)state;
	holds_read("", &holds);
	assert_int_equal(holds.nr, 0);
	assert_true(holds_quantile(&holds, 0.99) < 0);
	holds_read("weir_write_hold_seconds_bucket{le=\"x", &holds);
	assert_int_equal(holds.nr, 0);
	/* Another version's bounds are not added. */
	holds_read(metrics, &other);
	holds.nr = 1;
	holds.le[0] = 1;
	holds.count[0] = 5;
	holds_add(&other, &holds, 1);
	assert_true(other.count[0] == 0);
}

static void
a_sample_is_found_by_its_whole_name(void **state)
{
	(void)state;
	assert_true(metric_value(metrics, "weir_streams_backpressured") == 3);
	assert_true(metric_value(metrics, "weir_streams") == 0);
	assert_true(metric_value("", "weir_streams") == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_direction_is_read),
		cmocka_unit_test(what_is_no_number_is_nothing),
		cmocka_unit_test(time_without_a_cause_is_the_reader_s),
		cmocka_unit_test(a_quantile_lies_between_bounds),
		cmocka_unit_test(nothing_and_nonsense_are_no_histogram),
		cmocka_unit_test(a_sample_is_found_by_its_whole_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
