/* weir streams: every stream of the families, as ss. */
#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>
#include <string.h>

static const char *
address(const json_t *entry, const char *key)
{
	const char *word = json_word(entry, key);

	return *word ? word : "-";
}

static void
print_row(struct table *t, const struct stream *s)
{
	char figure[FIGURE_CAP];
	struct text blocked = { 0 };
	struct flow both;
	const char *bypassed = json_word(s->entry, "bypassReason");

	flow_both(&both, s->way);
	stream_blocked(s, &blocked);
	table_cell(t, "%s", s->family->program);
	table_cell(t, "%.0f", json_figure(s->entry, "pid"));
	table_cell(t, "%.0f", json_figure(s->entry, "fd"));
	table_cell(t, "%s", json_word(s->entry, "role"));
	table_cell(t, "%s", *bypassed ? bypassed : json_word(s->entry, "mode"));
	table_cell(t, "%s", address(s->entry, "local"));
	table_cell(t, "%s", address(s->entry, "peer"));
	table_cell(t, "%s", figure_count(figure, both.app_calls));
	table_cell(t, "%s", figure_count(figure, both.kernel_calls));
	table_cell(t, "%s", figure_count(figure, flow_ratio(&both)));
	table_cell(t, "%s", figure_bytes(figure, s->way[0].bytes));
	table_cell(t, "%s", figure_bytes(figure, s->way[1].bytes));
	table_cell(t, "%s", figure_bytes(figure, flow_chunk(&both)));
	table_cell(t, "%s", figure_time(figure, stream_stall_ms(s)));
	table_cell(t, "%s", flow_cause(&both));
	table_cell(t, "%s", text_string(&blocked));
	text_fini(&blocked);
}

static void
print(const struct listing *l)
{
	static const struct column columns[] = {
		{ "PROGRAM", 1, 24, 0 }, { "PID", 0, 0, 0 },    { "FD", 0, 0, 0 },
		{ "ROLE", 1, 0, 0 },     { "MODE", 1, 0, 0 },   { "LOCAL", 1, 0, 0 },
		{ "PEER", 1, 0, 0 },     { "APP", 0, 0, 0 },    { "KERNEL", 0, 0, 0 },
		{ "RATIO", 0, 0, 0 },    { "IN", 0, 0, 0 },     { "OUT", 0, 0, 0 },
		{ "CHUNK", 0, 0, 0 },    { "HELDUP", 0, 0, 0 }, { "CAUSE", 1, 0, 0 },
		{ "BLOCKED", 1, 0, 0 },
	};
	struct table *t = table_new(columns, sizeof columns / sizeof *columns);

	for (int i = 0; i < l->nr; i++)
		print_row(t, &l->at[i]);
	table_print(t, stdout);
	table_free(t);
}

/* The entries as they came, with whose they are. */
static int
print_json(const struct listing *l)
{
	json_t *list = json_array(), *doc;
	int ret;

	for (int i = 0; i < l->nr; i++) {
		const struct family *f = l->at[i].family;

		json_object_set_new(l->at[i].entry, "program", json_string(f->program));
		json_object_set_new(l->at[i].entry, "familyPid",
				    json_integer(f->seen_pid));
		json_object_set_new(l->at[i].entry, "socket", json_path(f->place->path));
		json_array_append(list, l->at[i].entry);
	}
	doc = json_pack("{s:s, s:I, s:o}", "schema", "weir.streams/1", "timestamp",
			l->at_ms, "streams", list);
	ret = json_out(doc);
	json_decref(doc);
	return ret;
}

static int
run_streams(int argc, char **argv)
{
	const char *sort_name = NULL, *limit = NULL, *state = "open";
	const struct option_value own[] = { { "--sort", &sort_name, NULL },
					    { "--limit", &limit, NULL },
					    { "--state", &state, NULL },
					    { 0 } };
	struct families families = { 0 };
	enum listing_sort sort = BY_BACKPRESSURE;
	struct listing l = { 0 };
	bool json = false;
	long most = 0;
	int nr = options_read(&verb_streams, argc, argv, &json, own), ret;

	if (nr < 0)
		return -1 - nr;
	if (sort_name)
		sort = listing_sort_of(sort_name);
	if (nr > 1 || sort == NR_SORTS ||
	    (limit && !number_read(limit, 1, 1000000, &most)) ||
	    (strcmp(state, "open") != 0 && strcmp(state, "closed") != 0 &&
	     strcmp(state, "all") != 0))
		return usage(&verb_streams);
	ret = families_open(&families, nr ? argv[1] : NULL);
	if (ret == END_FINE) {
		listing_open(&l, &families, strcmp(state, "all") == 0 ? NULL : state,
			     sort, (int)most);
		if (json)
			ret = print_json(&l);
		else
			print(&l);
		listing_close(&l);
	}
	families_close(&families);
	return ret;
}

const struct verb verb_streams = {
	"streams",
	"[-j|--json] [--sort KEY] [--limit N] [--state STATE] [TARGET]",
	"list streams, worst backpressure first",
	"  --sort KEY     backpressure (total time, the default), bytes, blocked (longest\n"
	"                 now) or age\n"
	"  --limit N      the first N\n"
	"  --state STATE  open (the default), closed (the last 256 of each family) or all\n"
	"  -j, --json     the entries of /streams, with program, familyPid and socket\n"
	"\n"
	"Exit status: 0, 3 where no family fits.\n",
	false,
	run_streams
};
