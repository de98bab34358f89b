/* metrics/text, accept: both formats, line by line, and which one a client gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "metrics/text.h"
#include "text_check.h"

static struct config settings = {
	.request_chunk = 32768,
	.response_chunk = 0,
	.pool_max = 268435456,
	.delay_us = 500,
	.enabled = true,
	.pool_enabled = true,
	.metrics = true,
};
static struct snapshot snap;
static struct out out;

/* The text of a snapshot with something in it, terminated. */
static char *
render(enum text_format format)
{
	config = &settings;
	memset(&snap, 0, sizeof snap);
	snap.started_wall_ms = 1700000000123;
	snap.nr_pids = 2;
	snap.open[ROLE_CONNECTED][MODE_BYPASSED] = 3;
	snap.total[ROLE_ACCEPTED][RECEIVED].kernel_bytes = 5;
	snap.total[ROLE_ACCEPTED][SENT].app_bytes = 100;
	snap.total[ROLE_CONNECTED][SENT].app_bytes = 11;
	snap.total[ROLE_ACCEPTED][SENT].pending = 60;
	snap.total[ROLE_CONNECTED][SENT].pending = 7;
	snap.total[ROLE_ACCEPTED][SENT].flushes[FLUSH_DELAY] = 4;
	snap.sizes[SIZE_APP_WRITE][0] = 2;
	snap.sizes[SIZE_APP_WRITE][NR_SIZE_BOUNDS] = 1;
	snap.totals.hold[0] = 1;
	snap.totals.hold[7] = 2;
	snap.totals.hold_ns = 12345678901;
	snap.accept_queue = 5;
	snap.accept_limit = 128;
	snap.pool[3] = (struct pool_count){ .buffers = 6, .in_use = 2, .hits = 490 };
	out_clear(&out);
	text_metrics(&out, &snap, format);
	out_char(&out, '\0');
	assert_false(out.failed);
	return out.text;
}

static void
has(const char *text, const char *line)
{
	char want[256];

	snprintf(want, sizeof want, "\n%s\n", line);
	if (!strstr(text, want))
		fail_msg("no line: %s", line);
}

static void
samples_say_what_the_snapshot_says(void **state)
{
	static const char *const lines[] = {
		"weir_build_info{version=\"" WEIR_VERSION "\"} 1",
		"weir_config_chunk_size_bytes{direction=\"request\"} 32768",
		"weir_config_chunk_size_bytes{direction=\"response\"} 0",
		"weir_config_flush_delay_seconds 0.0005",
		"process_start_time_seconds 1700000000.123",
		"weir_processes 2",
		"weir_processes_ended_total{how=\"killed\"} 0",
		"weir_streams{role=\"connected\",mode=\"bypassed\"} 3",
		"weir_streams{role=\"accepted\",mode=\"managed\"} 0",
		"weir_received_bytes_total{role=\"accepted\"} 5",
		"weir_app_written_bytes_total{role=\"accepted\"} 100",
		"weir_app_written_bytes_total{role=\"connected\"} 11",
		/* What a connected socket sends is a request. */
		"weir_pending_bytes{direction=\"request\"} 7",
		"weir_pending_bytes{direction=\"response\"} 60",
		"weir_flushes_total{reason=\"delay\"} 4",
		"weir_app_write_size_bytes_bucket{le=\"64.0\"} 2",
		"weir_app_write_size_bytes_bucket{le=\"262144.0\"} 2",
		"weir_app_write_size_bytes_bucket{le=\"+Inf\"} 3",
		"weir_app_write_size_bytes_count 3",
		"weir_app_write_size_bytes_sum 111",
		"weir_write_hold_seconds_bucket{le=\"0.00001\"} 1",
		"weir_write_hold_seconds_bucket{le=\"0.02\"} 3",
		"weir_write_hold_seconds_sum 12.345678901",
		"weir_stream_duration_seconds_bucket{le=\"600.0\"} 0",
		"weir_send_backpressure_seconds_total{cause=\"unknown\"} 0",
		"weir_pool_buffers{tier=\"32768\",state=\"in_use\"} 2",
		"weir_pool_buffers{tier=\"32768\",state=\"free\"} 4",
		"weir_pool_bytes{tier=\"32768\"} 196608",
		"weir_pool_hits_total{tier=\"32768\"} 490",
		"weir_pool_hits_total{tier=\"1048576\"} 0",
		"weir_pool_max_bytes 268435456",
		"weir_errors_total{operation=\"write\",errno=\"ETIMEDOUT\"} 0",
		"weir_internal_errors_total{what=\"refused\"} 0",
		"weir_accept_queue 5",
		"weir_accept_queue_limit 128",
	};

	(void)state;
	for (int f = 0; f < 2; f++) {
		const char *text = render((enum text_format)f);

		for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
			has(text, lines[i]);
	}
}

static void
families_are_whole_and_in_form(void **state)
{
	(void)state;
	for (int f = 0; f < 2; f++) {
		const char *wrong = text_wrong(render((enum text_format)f), f);

		if (wrong)
			fail_msg("%s", wrong);
	}
}

static void
the_higher_q_wins(void **state)
{
	static const struct {
		const char *accept;
		enum text_format want;
	} cases[] = {
		{ "", TEXT_PROMETHEUS },
		{ "*/*", TEXT_PROMETHEUS },
		{ "text/plain", TEXT_PROMETHEUS },
		{ "application/openmetrics-text", TEXT_OPENMETRICS },
		{ "Application/OpenMetrics-Text; Version=\"1.0.0\"", TEXT_OPENMETRICS },
		{ "application/openmetrics-text;version=0.0.1", TEXT_PROMETHEUS },
		{ "application/*", TEXT_OPENMETRICS },
		{ "application/openmetrics-text;q=0", TEXT_PROMETHEUS },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.6",
		  TEXT_PROMETHEUS },
		{ "text/plain;q=0.5 , application/openmetrics-text ; q=0.501",
		  TEXT_OPENMETRICS },
		{ "text/plain;q=0.5,*/*;q=0.9", TEXT_OPENMETRICS },
		{ "application/openmetrics-text;q=junk,text/plain;q=0.1",
		  TEXT_PROMETHEUS },
		{ "application/json", TEXT_PROMETHEUS },
		{ ",,;;q=,=;\"", TEXT_PROMETHEUS },
		/* Prometheus 2.42 and 3 */
		{ "application/openmetrics-text;version=1.0.0,"
		  "application/openmetrics-text;version=0.0.1;q=0.75,"
		  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		  TEXT_OPENMETRICS },
		{ "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
		  "application/openmetrics-text;version=0.0.1;q=0.4,"
		  "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
		  "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
		  TEXT_OPENMETRICS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (text_negotiate(cases[i].accept, strlen(cases[i].accept)) !=
		    cases[i].want)
			fail_msg("Accept: %s", cases[i].accept);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_say_what_the_snapshot_says),
		cmocka_unit_test(families_are_whole_and_in_form),
		cmocka_unit_test(the_higher_q_wins),
	};

	/* For other programs to parse: prints the text, 0 Prometheus, 1 OpenMetrics. */
	if (argc > 1)
		return fputs(render((enum text_format)(atoi(argv[1]) & 1)), stdout) < 0;
	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
