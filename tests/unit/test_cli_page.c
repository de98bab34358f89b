/* cli/page: what weir top shows fits into 80 columns, however large the figures are. */
#include "cli/page.h"
#include "cli/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BIG "123456789012345"
#define FLOW \
	"{\"totalBytes\":" BIG ",\"chunkCount\":3,\"appCalls\":" BIG \
	",\"kernelCalls\":12345678,\"backpressureEvents\":" BIG \
	",\"backpressureTime\":123456789,\"duration\":123456789,\"causes\":" \
	"{\"peer\":1,\"network\":2,\"local\":123456,\"unknown\":0}," \
	"\"blocked\":{\"for\":654321.5,\"cause\":\"network\"},\"flushes\":{\"full\":" BIG \
	",\"turn\":0,\"sleep\":7}}"

static const char metrics[] =
	"{\"schema\":\"weir.metrics/1\",\"program\":\"a_program_with_a_long_name\",\"pid\":4194304,"
	"\"startTime\":1000,\"timestamp\":2000,\"streams\":{\"open\":1048576},\"totals\":"
	"{\"request\":" FLOW ",\"response\":" FLOW
	"},\"pool\":{\"totalBytes\":268435456,"
	"\"totalInUse\":99999,\"totalBuffers\":99999,\"maxBytes\":268435456,\"tiers\":"
	"[{\"size\":4096,\"buffers\":99999}]},\"errors\":{\"bypassed\":{\"dup\":" BIG
	"},\"internal\":{\"memory\":3}}}";

static const char stream_entry[] =
	"{\"pid\":4194304,\"fd\":1048575,\"role\":\"accepted\",\"local\":\"[::1]:65535\",\"peer\":"
	"\"[2001:db8:1234:5678:9abc:def0:1234:5678]:65535\",\"mode\":\"managed\",\"inode\":" BIG
	",\"idle\":5,\"request\":" FLOW ",\"response\":" FLOW "}";

/* One family with one stream, as a watch and a listing have them. */
struct fixture {
	struct family family;
	struct place place;
	struct sample sample;
	struct watch watch;
	struct stream stream;
	struct listing listing;
	struct choice choice;
	struct page page;
};

static void
fill(struct fixture *f, int width)
{
	char path[] = "/proc/4194304/root/run/some/where/weir.sock", key[] = "key";

	*f = (struct fixture){ .page = { .width = width, .selected_line = -1 } };
	f->family.metrics = json_loads(metrics, 0, NULL);
	assert_non_null(f->family.metrics);
	f->family.program = json_word(f->family.metrics, "program");
	f->family.seen_pid = 4194304;
	f->place.path = strdup(path);
	f->family.place = &f->place;
	f->sample = (struct sample){ .family = &f->family,
				     .key = strdup(key),
				     .at_ms = 2000,
				     .seconds = 1,
				     .streams = 1048576,
				     .blocked = 1048576,
				     .pool_bytes = 268435456 };
	f->sample.holds =
		(struct holds){ .nr = 2, .le = { 0.02, 1e300 }, .count = { 5, 5 } };
	f->stream.family = &f->family;
	f->stream.entry = json_loads(stream_entry, 0, NULL);
	assert_non_null(f->stream.entry);
	f->stream.blocked_ms = 654321.5;
	f->stream.blocked_cause = "network";
	for (int i = 0; i < 2; i++) {
		const json_t *totals = json_object_get(f->family.metrics, "totals");
		const char *way = i ? "response" : "request";

		flow_read(json_object_get(totals, way), &f->sample.way[i]);
		flow_read(json_object_get(f->stream.entry, way), &f->stream.way[i]);
	}
	f->watch.now = &f->sample;
	f->watch.nr_now = 1;
	f->listing.at = &f->stream;
	f->listing.nr = 1;
	f->choice.selects = true;
}

static void
drain(struct fixture *f)
{
	page_clear(&f->page);
	json_decref(f->family.metrics);
	json_decref(f->stream.entry);
	free(f->sample.key);
	free(f->place.path);
	free(f->choice.family);
	free(f->choice.stream);
}

static void
build(struct fixture *f)
{
	page_clear(&f->page);
	page_build(&f->page, &f->watch, &f->listing, &f->choice);
	for (int i = 0; i < f->page.nr; i++)
		assert_true(text_columns(f->page.at[i].text) <= f->page.width);
}

static const char *
line_with(const struct fixture *f, const char *word)
{
	for (int i = 0; i < f->page.nr; i++)
		if (strstr(f->page.at[i].text, word))
			return f->page.at[i].text;
	return "";
}

static bool
ends_with(const char *line, const char *end)
{
	return strlen(line) >= strlen(end) &&
	       strcmp(line + strlen(line) - strlen(end), end) == 0;
}

static void
the_largest_figures_fit_into_80_columns(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f, 80);
	build(&f);
	assert_true(ends_with(line_with(&f, "PROGRAM"), " POOL"));
	assert_true(ends_with(line_with(&f, "4194304 a_pro"), " 256M"));
	assert_true(ends_with(line_with(&f, "PEER"), " BLOCKED"));
	assert_true(ends_with(line_with(&f, "1048575 [2001:"), " 11m"));
	assert_non_null(strstr(line_with(&f, "1048575 [2001:"), " net "));
	assert_int_equal(f.page.at[f.page.selected_line].mark, MARK_SELECTED);
	drain(&f);
}

static void
a_wider_screen_shows_names_whole(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f, 132);
	build(&f);
	assert_true(*line_with(&f, "a_program_with_a_long_name"));
	assert_true(*line_with(&f, "[2001:db8:1234:5678:9abc:def0:1234:5678]"));
	drain(&f);
}

static void
every_page_fits_every_width(void **state)
{
	(void)state;
	for (int width = 1; width < 200; width += width < 20 ? 1 : 30) {
		struct fixture f;

		fill(&f, width);
		build(&f);
		assert_true(page_open_row(&f.watch, &f.listing, &f.choice));
		build(&f);
		assert_int_equal(f.choice.depth, SHOW_FAMILY);
		assert_true(page_open_row(&f.watch, &f.listing, &f.choice));
		build(&f);
		assert_int_equal(f.choice.depth, SHOW_STREAM);
		if (width >= 80) {
			assert_true(*line_with(&f, "descriptor 1048575"));
			assert_true(*line_with(&f, "full 123T sleep 7"));
		}
		assert_false(page_open_row(&f.watch, &f.listing, &f.choice));
		assert_true(page_back(&f.choice) && page_back(&f.choice));
		assert_false(page_back(&f.choice));
		drain(&f);
	}
}

static void
what_is_gone_leads_back(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f, 80);
	page_open_row(&f.watch, &f.listing, &f.choice);
	page_open_row(&f.watch, &f.listing, &f.choice);
	f.listing.nr = 0;
	build(&f);
	assert_int_equal(f.choice.depth, SHOW_FAMILY);
	f.watch.nr_now = 0;
	build(&f);
	assert_int_equal(f.choice.depth, SHOW_ALL);
	assert_true(*line_with(&f, "0 families"));
	/* A selection beyond the end comes back to the last row. */
	f.watch.nr_now = 1;
	f.choice.at = 1000;
	build(&f);
	assert_int_equal(f.choice.at, 0);
	drain(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_figures_fit_into_80_columns),
		cmocka_unit_test(a_wider_screen_shows_names_whole),
		cmocka_unit_test(every_page_fits_every_width),
		cmocka_unit_test(what_is_gone_leads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
