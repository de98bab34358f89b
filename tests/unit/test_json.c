/* metrics/out, json, streams, address: every document is JSON whatever is in it, and says
 * what interface and snapshot say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/config.h"
#include "json_check.h"
#include "metrics/json.h"

static struct config settings = {
	.request_chunk = 32768,
	.response_chunk = 16384,
	.pool_max = 268435456,
	.delay_us = 500,
	.socket_mode = 0640,
	.log_level = 2,
	.enabled = true,
	.pool_enabled = true,
	.metrics = true,
	.programs = "*",
	.program = "a\"b\\c\n\xff",
};

static struct out out;

static const char *
text(void)
{
	out_char(&out, '\0');
	out.len--;
	return out.text;
}

static int
setup(void **state)
{
	(void)state;
	config = &settings;
	out_clear(&out);
	return 0;
}

static void
numbers_are_plain_decimals(void **state)
{
	(void)state;
	out_u64(&out, UINT64_MAX);
	out_char(&out, ' ');
	out_i64(&out, INT64_MIN);
	out_char(&out, ' ');
	out_fixed(&out, 10000, 9);
	out_char(&out, ' ');
	out_fixed(&out, 12500, 3);
	out_char(&out, ' ');
	out_fixed(&out, 12000, 3);
	out_char(&out, ' ');
	out_fixed(&out, UINT64_MAX, 9);
	out_char(&out, ' ');
	out_float(&out, 64, 0);
	out_char(&out, ' ');
	out_float(&out, 10000, 9);
	assert_string_equal(text(),
			    "18446744073709551615 -9223372036854775808 0.00001 12.5 12 "
			    "18446744073.709551615 64.0 0.00001");
}

static void
strings_escape_and_replace(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "", "\"\"" },
		{ "a\"\\\n\x7f", "\"a\\\"\\\\\\u000a\\u007f\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xff"
		  "a",
		  "\"\xef\xbf\xbd"
		  "a\"" },
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", "\"\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf4\x90\x80\x80",
		  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		out_clear(&out);
		out_json(&out, cases[i].in, strlen(cases[i].in));
		assert_string_equal(text(), cases[i].want);
	}
	out_clear(&out);
	out_label(&out, "a\"\\\n\xff");
	assert_string_equal(text(), "a\\\"\\\\\\n\xef\xbf\xbd");
}

static void
a_long_text_grows(void **state)
{
	(void)state;
	for (int i = 0; i < 300000; i++)
		out_str(&out, "0123456789");
	assert_false(out.failed);
	assert_int_equal(out.len, 3000000);
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(out.text[i], '0' + (int)(i % 10));
}

static const char *
address_of(const void *sa, size_t len)
{
	struct region_addr addr = { .len = (uint32_t)len };

	memcpy(addr.bytes, sa, len);
	out_clear(&out);
	json_address(&out, &addr);
	return text();
}

static void
addresses_are_written_as_people_do(void **state)
{
	static const struct {
		const char *in, *want;
	} inet6[] = {
		{ "::", "\"[::]:80\"" },
		{ "::1", "\"[::1]:80\"" },
		{ "1::", "\"[1::]:80\"" },
		{ "2001:db8::1:0:0:1", "\"[2001:db8::1:0:0:1]:80\"" },
		{ "2001:db8:0:1:1:1:1:1", "\"[2001:db8:0:1:1:1:1:1]:80\"" },
		{ "2001:0:0:1:0:0:0:1", "\"[2001:0:0:1::1]:80\"" },
		{ "::ffff:1.2.3.4", "\"[::ffff:1.2.3.4]:80\"" },
		{ "fe80::abcd:ef01", "\"[fe80::abcd:ef01]:80\"" },
	};
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(65535) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct region_addr hostile = { .len = sizeof hostile.bytes };

	(void)state;
	in.sin_addr.s_addr = inet_addr("192.0.2.255");
	assert_string_equal(address_of(&in, sizeof in), "\"192.0.2.255:65535\"");
	assert_string_equal(address_of(&in, sizeof in - 1), "\"\"");
	for (size_t i = 0; i < sizeof inet6 / sizeof inet6[0]; i++) {
		inet_pton(AF_INET6, inet6[i].in, &in6.sin6_addr);
		assert_string_equal(address_of(&in6, sizeof in6), inet6[i].want);
	}
	strcpy(un.sun_path, "/run/x.sock");
	assert_string_equal(address_of(&un, sizeof un), "\"/run/x.sock\"");
	assert_string_equal(address_of(&un, 2), "\"\"");
	assert_string_equal(address_of(&un, 0), "\"\"");
	assert_string_equal(address_of(&un, 2 + 4), "\"/run\"");
	memcpy(un.sun_path, "\0a\0b", 4);
	assert_string_equal(address_of(&un, 2 + 4), "\"@a\\u0000b\"");
	memset(hostile.bytes, 'x', sizeof hostile.bytes);
	hostile.bytes[0] = AF_UNIX;
	hostile.bytes[1] = 0;
	out_clear(&out);
	json_address(&out, &hostile);
	assert_int_equal(strlen(text()), sizeof hostile.bytes);
}

/* The example of the manual. */
static void
a_direction_is_written_as_documented(void **state)
{
	struct flow_view flow = { .app_calls = 1,
				  .app_bytes = 1048576,
				  .kernel_calls = 1,
				  .kernel_bytes = 1048576,
				  .chunks = 32 };

	(void)state;
	flow.flushes[FLUSH_LARGE] = 1;
	json_flow(&out, &flow, 12500000, "peer");
	assert_string_equal(
		text(),
		"{\"totalBytes\":1048576,\"chunkCount\":32,\"avgChunkSize\":32768,"
		"\"duration\":12.5,\"throughput\":83.88,\"backpressureEvents\":0,"
		"\"backpressureTime\":0,\"blocked\":null,\"appCalls\":1,\"kernelCalls\":1,"
		"\"appBytes\":1048576,\"pendingBytes\":0,\"discardedBytes\":0,"
		"\"causes\":{\"peer\":0,\"network\":0,\"local\":0,\"unknown\":0},"
		"\"flushes\":{\"full\":0,\"turn\":0,\"sleep\":0,\"delay\":0,\"large\":1,"
		"\"order\":0,\"close\":0,\"shutdown\":0,\"share\":0,\"exit\":0}}");
	flow.stall_ns = flow.running_ns = 812000000;
	out_clear(&out);
	json_flow(&out, &flow, 12500000, "peer");
	assert_non_null(strstr(text(), "\"backpressureTime\":812,\"blocked\":"
				       "{\"for\":812,\"cause\":\"peer\"}"));
	memset(&flow, 0xff, sizeof flow);
	out_clear(&out);
	json_flow(&out, &flow, 1, "peer");
	out_char(&out, '\n');
	assert_true(json_valid(out.text, out.len));
}

static struct snapshot *
make_snapshot(uint32_t nr)
{
	static struct snapshot snap;

	free(snap.streams);
	free(snap.order);
	memset(&snap, 0, sizeof snap);
	snap.streams = calloc(nr + 1, sizeof *snap.streams);
	snap.order = calloc(nr + 1, sizeof *snap.order);
	snap.nr_streams = nr;
	snap.now_ns = 5000000000;
	snap.first_pid = 42;
	for (uint32_t i = 0; i < nr; i++) {
		struct stream_view *s = &snap.streams[i];

		s->pid = 42;
		s->fd = (int)i;
		s->opened_ns = 1000 + i;
		s->open = i % 2 == 0;
		s->closed_seq = s->open ? 0 : i;
		s->flow[SENT].kernel_bytes = (i * 7919) % 1009;
		s->flow[RECEIVED].stall_ns = (i * 104729) % 997;
		s->flow[SENT].running_ns = s->open ? (i * 31) % 53 : 0;
	}
	return &snap;
}

static uint32_t
listed(struct snapshot *snap, enum stream_sort sort, enum stream_state state,
       uint32_t limit)
{
	struct stream_query query = { sort, state, limit };
	uint32_t nr = 0;

	out_clear(&out);
	json_streams(&out, snap, &query);
	assert_true(json_valid(out.text, out.len));
	for (const char *p = text(); (p = strstr(p, "\"pid\":")); p++)
		nr++;
	return nr;
}

static void
documents_are_json(void **state)
{
	struct snapshot *snap = make_snapshot(3);

	(void)state;
	snap->nr_pids = 2;
	snap->pids[0] = 42;
	snap->pids[1] = 43;
	snap->nr_ended = 1;
	snap->ended[0] = (struct ended){ 41, ENDED_KILLED };
	json_metrics(&out, snap);
	assert_true(json_valid(out.text, out.len));
	assert_non_null(
		strstr(text(), "\"program\":\"a\\\"b\\\\c\\u000a\xef\xbf\xbd\""));
	assert_non_null(strstr(text(), "\"STREAM_METRICS_SOCKET_MODE\":\"0640\""));
	assert_non_null(
		strstr(text(), "\"processes\":[{\"pid\":42,\"state\":\"live\"},"));
	assert_non_null(strstr(text(), ",{\"pid\":41,\"state\":\"killed\"}]"));
	out_clear(&out);
	json_pool(&out, snap);
	assert_true(json_valid(out.text, out.len));
	out_clear(&out);
	json_health(&out);
	assert_true(json_valid(out.text, out.len));
}

static void
streams_are_chosen_sorted_and_cut(void **state)
{
	struct snapshot *snap = make_snapshot(1000);
	uint64_t last = UINT64_MAX;

	(void)state;
	assert_int_equal(listed(snap, SORT_NONE, STATE_OPEN, UINT32_MAX), 500);
	assert_int_equal(listed(snap, SORT_NONE, STATE_CLOSED, UINT32_MAX), 256);
	assert_int_equal(listed(snap, SORT_NONE, STATE_ANY, UINT32_MAX), 756);
	assert_int_equal(listed(snap, SORT_BYTES, STATE_ANY, 0), 0);
	assert_int_equal(listed(snap, SORT_BYTES, STATE_ANY, 10), 10);
	listed(snap, SORT_BYTES, STATE_OPEN, UINT32_MAX);
	for (uint32_t i = 0; i < 500; i++) {
		uint64_t bytes = snap->streams[snap->order[i]].flow[SENT].kernel_bytes;

		assert_true(bytes <= last);
		last = bytes;
	}
	listed(snap, SORT_AGE, STATE_OPEN, UINT32_MAX);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(snap->order[i], 2 * i);
	listed(snap, SORT_BLOCKED, STATE_ANY, UINT32_MAX);
	assert_int_equal(snap->streams[snap->order[0]].flow[SENT].running_ns, 52);
	/* Of the closed ones the newest are kept. */
	listed(snap, SORT_AGE, STATE_CLOSED, UINT32_MAX);
	assert_int_equal(snap->order[0], 999 - 2 * 255);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(numbers_are_plain_decimals, setup),
		cmocka_unit_test_setup(strings_escape_and_replace, setup),
		cmocka_unit_test_setup(a_long_text_grows, setup),
		cmocka_unit_test_setup(addresses_are_written_as_people_do, setup),
		cmocka_unit_test_setup(a_direction_is_written_as_documented, setup),
		cmocka_unit_test_setup(documents_are_json, setup),
		cmocka_unit_test_setup(streams_are_chosen_sorted_and_cut, setup),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
