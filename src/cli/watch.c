#include "cli/watch.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIND_EVERY_MS = 5000, FRESH_TRIES = 5, FRESH_WAIT_MS = 20 };

static void
forget(struct sample *samples, int nr)
{
	for (int i = 0; i < nr; i++)
		free(samples[i].key);
	free(samples);
}

static void
read_sample(const struct family *f, const char *text, struct sample *s)
{
	const json_t *totals = json_object_get(f->metrics, "totals");
	const json_t *pool = json_object_get(f->metrics, "pool");
	struct text key = { 0 };
	double started = json_figure(f->metrics, "startTime");

	*s = (struct sample){ .family = f };
	text_add(&key, "%s %.0f", f->place->path, started);
	s->key = key.at;
	s->at_ms = json_figure(f->metrics, "timestamp");
	s->seconds = (s->at_ms - started) / 1e3;
	for (int i = 0; i < 2; i++)
		flow_read(json_object_get(totals, flow_ways[i]), &s->way[i]);
	s->streams = json_figure(json_object_get(f->metrics, "streams"), "open");
	s->pool_bytes = json_figure(pool, "totalBytes");
	s->pool_in_use = json_figure(pool, "totalInUse");
	s->pool_buffers = json_figure(pool, "totalBuffers");
	if (text) {
		holds_read(text, &s->holds);
		s->blocked = metric_value(text, "weir_streams_backpressured");
	}
}

/* Families share one snapshot a second among all who ask, so it may still be the one that the
 * look before got. Then a moment later there is a new one. */
static bool
is_stale(const struct watch *w)
{
	for (int i = 0; i < w->families.nr; i++) {
		const struct family *f = &w->families.at[i];

		for (int k = 0; k < w->nr_now; k++)
			if (strncmp(w->now[k].key, f->place->path,
				    strlen(f->place->path)) == 0 &&
			    w->now[k].at_ms == json_figure(f->metrics, "timestamp"))
				return true;
	}
	return false;
}

static void
refresh(struct watch *w)
{
	static const struct timespec moment = { 0, FRESH_WAIT_MS * 1000000L };

	for (int i = 0; i < FRESH_TRIES && is_stale(w); i++) {
		nanosleep(&moment, NULL);
		families_refresh(&w->families);
	}
}

int
watch_look(struct watch *w)
{
	double now = now_ms();
	char **texts;

	if (w->nr_now && now - w->found_ms < FIND_EVERY_MS)
		families_refresh(&w->families);
	if (!w->families.nr || now - w->found_ms >= FIND_EVERY_MS) {
		int ret;

		families_close(&w->families);
		ret = families_open(&w->families, w->target);
		w->found_ms = now;
		if (ret != END_FINE) {
			forget(w->now, w->nr_now);
			w->now = NULL;
			w->nr_now = 0;
			return ret;
		}
	}
	refresh(w);
	forget(w->before, w->nr_before);
	w->before = w->now;
	w->nr_before = w->nr_now;
	w->nr_now = w->families.nr;
	w->now = have(calloc((size_t)w->nr_now + 1, sizeof *w->now));
	texts = have(calloc((size_t)w->nr_now + 1, sizeof(char *)));
	families_ask_text(&w->families, "/metrics", texts);
	for (int i = 0; i < w->nr_now; i++) {
		read_sample(&w->families.at[i], texts[i], &w->now[i]);
		free(texts[i]);
	}
	free(texts);
	return END_FINE;
}

void
watch_change(const struct watch *w, int i, struct sample *change)
{
	const struct sample *old = NULL;

	*change = w->now[i];
	for (int k = 0; k < w->nr_before && !old; k++)
		if (strcmp(w->before[k].key, change->key) == 0)
			old = &w->before[k];
	if (!old)
		return;
	/* By the family's own clock. */
	change->seconds = (change->at_ms - old->at_ms) / 1e3;
	for (int k = 0; k < 2; k++)
		flow_add(&change->way[k], &old->way[k], -1);
	holds_add(&change->holds, &old->holds, -1);
}

void
watch_rates(const struct watch *w, struct sample *rates)
{
	*rates = (struct sample){ 0 };
	for (int i = 0; i < w->nr_now; i++) {
		struct sample change;

		watch_change(w, i, &change);
		if (change.at_ms > rates->at_ms)
			rates->at_ms = change.at_ms;
		if (change.seconds > rates->seconds)
			rates->seconds = change.seconds;
		for (int k = 0; k < 2 && change.seconds > 0; k++)
			flow_add(&rates->way[k], &change.way[k], 1 / change.seconds);
		holds_add(&rates->holds, &change.holds, 1);
		rates->streams += change.streams;
		rates->blocked += change.blocked;
		rates->pool_bytes += change.pool_bytes;
		rates->pool_in_use += change.pool_in_use;
		rates->pool_buffers += change.pool_buffers;
	}
}

void
watch_fini(struct watch *w)
{
	forget(w->now, w->nr_now);
	forget(w->before, w->nr_before);
	families_close(&w->families);
	*w = (struct watch){ 0 };
}
