#include "cli/page.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ---- */

static void
add_line(struct page *page, enum mark mark, const char *escaped)
{
	struct text cut = { 0 };

	text_cut(&cut, escaped, page->width ? page->width : text_columns(escaped));
	if (page->nr == page->cap) {
		page->cap = page->cap ? 2 * page->cap : 64;
		page->at = have(realloc(page->at, (size_t)page->cap * sizeof *page->at));
	}
	page->at[page->nr++] = (struct line){ cut.at ? cut.at : have(strdup("")), mark };
}

static void say(struct page *page, enum mark mark, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void
say(struct page *page, enum mark mark, const char *format, ...)
{
	struct text raw = { 0 }, safe = { 0 };
	va_list args;

	va_start(args, format);
	text_vadd(&raw, format, args);
	va_end(args);
	text_escape(&safe, text_string(&raw));
	add_line(page, mark, text_string(&safe));
	text_fini(&raw);
	text_fini(&safe);
}

/* The table's rows; row `selected` (-1: none) is the chosen one. */
static void
add_table(struct page *page, const struct table *t, int selected, const bool *blocked)
{
	struct text line = { 0 };

	for (int row = -1; row < table_rows(t); row++) {
		enum mark mark = row < 0                   ? MARK_HEAD
				 : row == selected         ? MARK_SELECTED
				 : blocked && blocked[row] ? MARK_BLOCKED
							   : MARK_PLAIN;

		text_clear(&line);
		table_line(t, row, page->width, &line);
		if (mark == MARK_SELECTED)
			page->selected_line = page->nr;
		add_line(page, mark, text_string(&line));
	}
	text_fini(&line);
}

static int
within(int at, int nr)
{
	return at >= nr ? (nr ? nr - 1 : 0) : at < 0 ? 0 : at;
}

void
page_clear(struct page *page)
{
	for (int i = 0; i < page->nr; i++)
		free(page->at[i].text);
	free(page->at);
	*page = (struct page){ .width = page->width, .selected_line = -1 };
}

/* ---- families ---- */

static double
per_second(double n, const struct sample *s)
{
	return s->seconds > 0 ? n / s->seconds : 0;
}

/* A family's place in the watch, in the order in which they are shown. */
struct ranked {
	int at;
	double keys[3]; /* the greater first */
};

static int
by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	for (int i = 0; i < 3; i++)
		if (x->keys[i] != y->keys[i])
			return (x->keys[i] < y->keys[i]) - (x->keys[i] > y->keys[i]);
	return (x->at > y->at) - (x->at < y->at);
}

/* watch->nr_now of them, to be freed. */
static struct ranked *
rank(const struct watch *w, enum listing_sort sort)
{
	struct ranked *order = have(calloc((size_t)w->nr_now + 1, sizeof *order));

	for (int i = 0; i < w->nr_now; i++) {
		const json_t *metrics = w->now[i].family->metrics;
		struct sample change;
		struct flow both;
		double bytes, stall;

		watch_change(w, i, &change);
		flow_both(&both, change.way);
		bytes = per_second(both.bytes, &change);
		stall = per_second(both.stall_ms, &change);
		order[i] = (struct ranked){ i, { stall, change.blocked, bytes } };
		if (sort == BY_BYTES)
			order[i].keys[0] = bytes;
		else if (sort == BY_BLOCKED)
			order[i].keys[0] = change.blocked;
		else if (sort == BY_AGE)
			order[i].keys[0] = json_figure(metrics, "timestamp") -
					   json_figure(metrics, "startTime");
	}
	qsort(order, (size_t)w->nr_now, sizeof *order, by_rank);
	return order;
}

static const char *
hold_figure(char *out, const struct holds *holds)
{
	double p99 = holds_quantile(holds, 0.99);

	return p99 < 0 ? "-" : figure_time(out, p99 * 1e3);
}

/* What is the same on every page: all of the families that fit. */
static void
add_summary(struct page *page, const struct watch *w)
{
	char f[8][FIGURE_CAP];
	struct sample rates;
	struct flow both;
	double known = 0;

	watch_rates(w, &rates);
	flow_both(&both, rates.way);
	for (int i = 0; i < NR_CAUSES; i++)
		known += both.cause_ms[i];
	say(page, MARK_TITLE, "weir top: %d %s, %s streams, %s blocked now; %s",
	    w->nr_now, w->nr_now == 1 ? "family" : "families",
	    figure_count(f[0], rates.streams), figure_count(f[1], rates.blocked),
	    w->nr_before ? "rates of the last interval" : "rates since the start");
	say(page, MARK_PLAIN, "calls   %s/s, to the kernel %s/s: ratio %s; hold p99 %s",
	    figure_count(f[0], both.app_calls), figure_count(f[1], both.kernel_calls),
	    figure_count(f[2], flow_ratio(&both)), hold_figure(f[3], &rates.holds));
	say(page, MARK_PLAIN,
	    "bytes   in %s/s, out %s/s, chunks of %s; pool %s, %.0f of %.0f in use",
	    figure_bytes(f[0], rates.way[0].bytes),
	    figure_bytes(f[1], rates.way[1].bytes),
	    figure_bytes(f[2], flow_chunk(&both)), figure_bytes(f[3], rates.pool_bytes),
	    rates.pool_in_use, rates.pool_buffers);
	say(page, MARK_PLAIN,
	    "held up each second by peer %s, network %s, local %s, unknown %s, reader %s",
	    figure_time(f[0], both.cause_ms[CAUSE_PEER]),
	    figure_time(f[1], both.cause_ms[CAUSE_NETWORK]),
	    figure_time(f[2], both.cause_ms[CAUSE_LOCAL]),
	    figure_time(f[3], both.cause_ms[CAUSE_UNKNOWN]),
	    figure_time(f[4], both.stall_ms > known ? both.stall_ms - known : 0));
	add_line(page, MARK_PLAIN, "");
}

/* In five columns. */
static const char *
short_cause(const char *cause)
{
	return strcmp(cause, "network") == 0   ? "net"
	       : strcmp(cause, "unknown") == 0 ? "?"
	       : strcmp(cause, "reader") == 0  ? "read"
					       : cause;
}

static void
family_row(struct table *t, const struct sample *change)
{
	char f[FIGURE_CAP];
	struct flow both;

	flow_both(&both, change->way);
	table_cell(t, "%d", (int)change->family->seen_pid);
	table_cell(t, "%s", change->family->program);
	table_cell(t, "%s", figure_count(f, change->streams));
	table_cell(t, "%s", figure_count(f, change->blocked));
	table_cell(t, "%s", figure_count(f, per_second(both.app_calls, change)));
	table_cell(t, "%s", figure_count(f, per_second(both.kernel_calls, change)));
	table_cell(t, "%s", figure_count(f, flow_ratio(&both)));
	table_cell(t, "%s", figure_bytes(f, per_second(both.bytes, change)));
	table_cell(t, "%s", figure_bytes(f, flow_chunk(&both)));
	table_cell(t, "%s", hold_figure(f, &change->holds));
	table_cell(t, "%s", figure_time(f, per_second(both.stall_ms, change)));
	table_cell(t, "%s", short_cause(flow_cause(&both)));
	table_cell(t, "%s", figure_bytes(f, change->pool_bytes));
}

static void
add_families(struct page *page, const struct watch *w, struct choice *choice)
{
	static const struct column columns[] = {
		{ "PID", 0, 0, 0 },   { "PROGRAM", 1, 32, 9 }, { "STRM", 0, 0, 0 },
		{ "BLK", 0, 0, 0 },   { "APP/s", 0, 0, 0 },    { "KRN/s", 0, 0, 0 },
		{ "RATIO", 0, 0, 0 }, { "B/s", 0, 0, 0 },      { "CHUNK", 0, 0, 0 },
		{ "HOLD", 0, 0, 0 },  { "HELD", 0, 0, 0 },     { "CAUSE", 1, 0, 0 },
		{ "POOL", 0, 0, 0 },
	};
	struct table *t = table_new(columns, sizeof columns / sizeof *columns);
	bool *blocked = have(calloc((size_t)w->nr_now + 1, sizeof *blocked));
	struct ranked *order = rank(w, choice->sort);

	for (int i = 0; i < w->nr_now; i++) {
		struct sample change;

		watch_change(w, order[i].at, &change);
		family_row(t, &change);
		blocked[i] = change.blocked > 0;
	}
	choice->at = within(choice->at, w->nr_now);
	add_table(page, t, choice->selects ? choice->at : -1, blocked);
	free(order);
	free(blocked);
	table_free(t);
}

/* ---- streams ---- */

static void
stream_row(struct table *t, const struct stream *s)
{
	const char *peer = json_word(s->entry, "peer");
	char f[FIGURE_CAP];
	struct flow both;

	flow_both(&both, s->way);
	table_cell(t, "%.0f", json_figure(s->entry, "pid"));
	table_cell(t, "%.0f", json_figure(s->entry, "fd"));
	table_cell(t, "%s", *peer ? peer : "-");
	table_cell(t, "%s", figure_count(f, both.app_calls));
	table_cell(t, "%s", figure_count(f, both.kernel_calls));
	table_cell(t, "%s", figure_count(f, flow_ratio(&both)));
	table_cell(t, "%s", figure_bytes(f, both.bytes));
	table_cell(t, "%s", figure_bytes(f, flow_chunk(&both)));
	table_cell(t, "%s", figure_time(f, stream_stall_ms(s)));
	table_cell(
		t, "%s",
		short_cause(s->blocked_ms > 0 ? s->blocked_cause : flow_cause(&both)));
	table_cell(t, "%s", s->blocked_ms > 0 ? figure_time(f, s->blocked_ms) : "-");
}

static void
add_streams(struct page *page, const struct listing *l, int selected)
{
	static const struct column columns[] = {
		{ "PID", 0, 0, 0 },   { "FD", 0, 0, 0 },      { "PEER", 1, 48, 10 },
		{ "APP", 0, 0, 0 },   { "KERN", 0, 0, 0 },    { "RATIO", 0, 0, 0 },
		{ "BYTES", 0, 0, 0 }, { "CHUNK", 0, 0, 0 },   { "HELD", 0, 0, 0 },
		{ "CAUSE", 1, 0, 0 }, { "BLOCKED", 0, 0, 0 },
	};
	struct table *t = table_new(columns, sizeof columns / sizeof *columns);
	bool *blocked = have(calloc((size_t)l->nr + 1, sizeof *blocked));

	for (int i = 0; i < l->nr; i++) {
		stream_row(t, &l->at[i]);
		blocked[i] = l->at[i].blocked_ms > 0;
	}
	add_table(page, t, selected, blocked);
	free(blocked);
	table_free(t);
}

static char *
stream_key(const struct stream *s)
{
	struct text key = { 0 };

	text_add(&key, "%.0f %.0f %.0f", json_figure(s->entry, "pid"),
		 json_figure(s->entry, "fd"), json_figure(s->entry, "inode"));
	return key.at;
}

static int
find_stream(const struct listing *l, const char *wanted)
{
	for (int i = 0; wanted && i < l->nr; i++) {
		char *key = stream_key(&l->at[i]);
		bool same = strcmp(key, wanted) == 0;

		free(key);
		if (same)
			return i;
	}
	return -1;
}

/* ---- one family, one stream ---- */

static void
add_flows(struct page *page, const struct flow way[2])
{
	static const struct column columns[] = {
		{ "", 1, 0, 0 },      { "APP", 0, 0, 0 },      { "KERN", 0, 0, 0 },
		{ "RATIO", 0, 0, 0 }, { "BYTES", 0, 0, 0 },    { "CHUNK", 0, 0, 0 },
		{ "HELD", 0, 0, 0 },  { "PEER", 0, 0, 0 },     { "NET", 0, 0, 0 },
		{ "LOCAL", 0, 0, 0 }, { "EPISODES", 0, 0, 0 },
	};
	struct table *t = table_new(columns, sizeof columns / sizeof *columns);
	char f[FIGURE_CAP];

	for (int i = 0; i < 2; i++) {
		table_cell(t, "%s", flow_ways[i]);
		table_cell(t, "%s", figure_count(f, way[i].app_calls));
		table_cell(t, "%s", figure_count(f, way[i].kernel_calls));
		table_cell(t, "%s", figure_count(f, flow_ratio(&way[i])));
		table_cell(t, "%s", figure_bytes(f, way[i].bytes));
		table_cell(t, "%s", figure_bytes(f, flow_chunk(&way[i])));
		table_cell(t, "%s", figure_time(f, way[i].stall_ms));
		table_cell(t, "%s", figure_time(f, way[i].cause_ms[CAUSE_PEER]));
		table_cell(t, "%s", figure_time(f, way[i].cause_ms[CAUSE_NETWORK]));
		table_cell(t, "%s", figure_time(f, way[i].cause_ms[CAUSE_LOCAL]));
		table_cell(t, "%s", figure_count(f, way[i].stalls));
	}
	add_table(page, t, -1, NULL);
	table_free(t);
}

/* Those of a set of counters that are not 0: "full 3, turn 12". */
static void
add_counts(struct page *page, const char *title, const json_t *counts)
{
	struct text line = { 0 };
	char f[FIGURE_CAP];
	const char *key;
	json_t *value;

	text_add(&line, "%-8s", title);
	json_object_foreach((json_t *)counts, key, value)
	{
		if (json_number_value(value) > 0)
			text_add(&line, " %s %s", key,
				 figure_count(f, json_number_value(value)));
	}
	say(page, MARK_PLAIN, "%s", text_string(&line));
	text_fini(&line);
}

static void
add_pool(struct page *page, const json_t *pool)
{
	struct text line = { 0 };
	char f[3][FIGURE_CAP];
	json_t *tier;
	size_t i;

	text_add(&line, "%-8s %.0f of %.0f buffers in use, %s of at most %s:", "pool",
		 json_figure(pool, "totalInUse"), json_figure(pool, "totalBuffers"),
		 figure_bytes(f[0], json_figure(pool, "totalBytes")),
		 figure_bytes(f[1], json_figure(pool, "maxBytes")));
	json_array_foreach(json_object_get(pool, "tiers"), i, tier)
	{
		if (json_figure(tier, "buffers") > 0)
			text_add(&line, " %.0f x %s", json_figure(tier, "buffers"),
				 figure_bytes(f[2], json_figure(tier, "size")));
	}
	say(page, MARK_PLAIN, "%s", text_string(&line));
	text_fini(&line);
}

static void
add_family(struct page *page, const struct sample *now, const struct listing *l,
	   struct choice *choice)
{
	const json_t *metrics = now->family->metrics;
	const json_t *errors = json_object_get(metrics, "errors");
	char f[FIGURE_CAP];

	say(page, MARK_TITLE, "%s, pid %d, up %s, %s", now->family->program,
	    (int)now->family->seen_pid,
	    figure_time(f, json_figure(metrics, "timestamp") -
				   json_figure(metrics, "startTime")),
	    now->family->place->path);
	add_flows(page, now->way);
	add_pool(page, json_object_get(metrics, "pool"));
	add_counts(page, "bypassed", json_object_get(errors, "bypassed"));
	add_counts(page, "internal", json_object_get(errors, "internal"));
	add_line(page, MARK_PLAIN, "");
	choice->at = within(choice->at, l->nr);
	add_streams(page, l, choice->selects ? choice->at : -1);
}

static void
add_stream(struct page *page, const struct stream *s)
{
	const char *bypassed = json_word(s->entry, "bypassReason");
	char f[FIGURE_CAP];

	say(page, MARK_TITLE, "%s, pid %.0f, descriptor %.0f, inode %.0f",
	    s->family->program, json_figure(s->entry, "pid"),
	    json_figure(s->entry, "fd"), json_figure(s->entry, "inode"));
	say(page, MARK_PLAIN, "%-8s %s %s, %s", "address", json_word(s->entry, "role"),
	    json_word(s->entry, "local"), json_word(s->entry, "peer"));
	say(page, MARK_PLAIN, "%-8s %s%s%s, open for %s, idle for %s", "mode",
	    json_word(s->entry, "mode"), *bypassed ? ": " : "", bypassed,
	    figure_time(f,
			json_figure(json_object_get(s->entry, "request"), "duration")),
	    figure_time((char[FIGURE_CAP]){ 0 }, json_figure(s->entry, "idle")));
	if (s->blocked_ms > 0)
		say(page, MARK_BLOCKED, "%-8s for %s, by %s", "blocked",
		    figure_time(f, s->blocked_ms), s->blocked_cause);
	add_line(page, MARK_PLAIN, "");
	add_flows(page, s->way);
	for (int i = 0; i < 2; i++) {
		const json_t *way = json_object_get(s->entry, flow_ways[i]);

		add_line(page, MARK_PLAIN, "");
		say(page, MARK_PLAIN, "%s: %s bytes pending, %s discarded",
		    flow_ways[i], figure_bytes(f, json_figure(way, "pendingBytes")),
		    figure_bytes((char[FIGURE_CAP]){ 0 },
				 json_figure(way, "discardedBytes")));
		add_counts(page, "flushes", json_object_get(way, "flushes"));
	}
}

/* ---- pages ---- */

static void
choose(char **chosen, char *key)
{
	free(*chosen);
	*chosen = key;
}

int
page_family(const struct watch *w, const struct choice *choice)
{
	for (int i = 0; choice->depth != SHOW_ALL && i < w->nr_now; i++)
		if (strcmp(w->now[i].key, choice->family) == 0)
			return i;
	return -1;
}

bool
page_back(struct choice *choice)
{
	if (choice->depth == SHOW_ALL)
		return false;
	choose(choice->depth == SHOW_STREAM ? &choice->stream : &choice->family, NULL);
	choice->depth--;
	choice->at = 0;
	return true;
}

bool
page_open_row(const struct watch *w, const struct listing *l, struct choice *choice)
{
	if (choice->depth == SHOW_ALL && choice->at < w->nr_now) {
		struct ranked *order = rank(w, choice->sort);

		choose(&choice->family, have(strdup(w->now[order[choice->at].at].key)));
		free(order);
	} else if (choice->depth == SHOW_FAMILY && choice->at < l->nr) {
		choose(&choice->stream, stream_key(&l->at[choice->at]));
	} else {
		return false;
	}
	choice->depth++;
	choice->at = 0;
	return true;
}

void
page_build(struct page *page, const struct watch *w, const struct listing *l,
	   struct choice *choice)
{
	int family = page_family(w, choice), stream;

	while (family < 0 && page_back(choice))
		;
	stream = find_stream(l, choice->stream);
	if (choice->depth == SHOW_STREAM && stream < 0)
		page_back(choice);
	page->selected_line = -1;
	add_summary(page, w);
	switch (choice->depth) {
	case SHOW_ALL:
		add_families(page, w, choice);
		if (l->nr) {
			add_line(page, MARK_PLAIN, "");
			add_streams(page, l, -1);
		}
		break;
	case SHOW_FAMILY:
		add_family(page, &w->now[family], l, choice);
		break;
	case SHOW_STREAM:
		add_stream(page, &l->at[stream]);
		break;
	}
}
