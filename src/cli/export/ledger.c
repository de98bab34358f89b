#include "cli/export/ledger.h"
#include "cli/cli.h"
#include "cli/export/sums.h"
#include "cli/text.h"
#include <stdlib.h>
#include <string.h>

enum {
	GONE_MS = 60000, /* how long one that is gone may come back */
	MOST_GONE = 256,
	MOST_ITEMS = 1000000 /* that are summed: some thousand families */
};

struct known {
	dev_t dev;
	ino_t ino;
	pid_t pid;
	__int128 start; /* in the words of process_start_time_seconds */
	char *group;
	struct exposition said; /* last */
	bool live;              /* it said so in the newest gathering */
	bool there;             /* its socket was there */
	long long gone_ms;      /* since when it is not; 0: it is */
};

struct ledger {
	bool per_family;
	struct known *at;
	int nr, cap;
	struct sums ended;
};

struct ledger *
ledger_new(bool per_family)
{
	struct ledger *l = have(calloc(1, sizeof *l));

	l->per_family = per_family;
	l->ended.own = true;
	return l;
}

static void
forget(struct known *k)
{
	free(k->group);
	exposition_fini(&k->said);
}

void
ledger_free(struct ledger *l)
{
	for (int i = 0; i < l->nr; i++)
		forget(&l->at[i]);
	free(l->at);
	sums_fini(&l->ended);
	free(l);
}

static void
escape(struct text *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			text_bytes(out, "\\n", 2);
		else if (*value == '"' || *value == '\\')
			text_add(out, "\\%c", *value);
		else
			text_bytes(out, value, 1);
	}
}

static void
add_label(struct text *group, const char *name, const char *value)
{
	text_add(group, "%s%s=\"", group->len ? "," : "", name);
	escape(group, value);
	text_add(group, "\"");
}

static char *
group_of(const struct ledger *l, const struct member *m)
{
	struct text group = { 0 };
	json_t *socket;
	char pid[16];

	add_label(&group, "program", m->family.program);
	if (l->per_family) {
		socket = json_path(m->place->path);
		snprintf(pid, sizeof pid, "%d", (int)m->family.seen_pid);
		add_label(&group, "pid", pid);
		add_label(&group, "socket", json_string_value(socket));
		json_decref(socket);
	}
	return group.at;
}

/* What it said goes into its program's sum for good. */
static void
end(struct ledger *l, const struct known *k)
{
	size_t nr = (size_t)k->said.nr_samples;

	if (l->per_family)
		return;
	if (l->ended.nr + nr > MOST_KEPT)
		sums_settle(&l->ended);
	if (l->ended.nr + nr <= MOST_KEPT || sums_have(&l->ended, k->group))
		sums_add(&l->ended, &k->said, k->group, false);
}

static struct known *
find(struct ledger *l, const struct known *like)
{
	for (struct known *k = l->at; k < l->at + l->nr; k++)
		if (k->dev == like->dev && k->ino == like->ino && k->pid == like->pid &&
		    k->start == like->start && strcmp(k->group, like->group) == 0)
			return k;
	return NULL;
}

static void
note_live(struct ledger *l, struct member *m)
{
	struct known now = { .dev = m->place->dev,
			     .ino = m->place->ino,
			     .pid = m->family.pid,
			     .group = group_of(l, m),
			     .said = m->said,
			     .live = true,
			     .there = true };
	struct known *k;

	m->said = (struct exposition){ 0 };
	exposition_value(&now.said, "process_start_time_seconds", &now.start);
	k = find(l, &now);
	if (k) {
		if (!exposition_grew(&k->said, &now.said))
			end(l, k);
		forget(k);
		*k = now;
		return;
	}
	if (l->nr == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->at = have(realloc(l->at, (size_t)l->cap * sizeof *l->at));
	}
	l->at[l->nr++] = now;
}

/* Whoever was there and does not answer now. */
static void
note_silent(struct ledger *l, const struct member *m)
{
	for (struct known *k = l->at; k < l->at + l->nr; k++)
		if (k->dev == m->place->dev && k->ino == m->place->ino && !k->live)
			k->there = true;
}

static bool
is_over(const struct known *k, const struct ledger *l, long long now, int *nr_gone)
{
	if (k->live || (k->there && !l->per_family))
		return false;
	return l->per_family || now - k->gone_ms > GONE_MS || ++*nr_gone > MOST_GONE;
}

/* Who is gone for long leaves. */
static void
tidy(struct ledger *l, long long now)
{
	int nr = 0, nr_gone = 0;

	for (int i = 0; i < l->nr; i++) {
		struct known *k = &l->at[i];

		if (k->there)
			k->gone_ms = 0;
		else if (!k->gone_ms)
			k->gone_ms = now;
		if (!is_over(k, l, now, &nr_gone)) {
			l->at[nr++] = *k;
			continue;
		}
		end(l, k);
		forget(k);
	}
	l->nr = nr;
}

void
ledger_note(struct ledger *l, struct gathering *g)
{
	for (int i = 0; i < l->nr; i++)
		l->at[i].live = l->at[i].there = false;
	for (int i = 0; i < g->nr; i++)
		if (g->at[i].state == STATE_LIVE)
			note_live(l, &g->at[i]);
	for (int i = 0; i < g->nr; i++)
		if (g->at[i].state != STATE_LIVE && g->at[i].state != STATE_DEAD)
			note_silent(l, &g->at[i]);
	tidy(l, g->timestamp);
	sums_settle(&l->ended);
}

void
ledger_write(const struct ledger *l, bool openmetrics, struct text *out)
{
	struct sums sums = { .own = false };

	sums_add_sums(&sums, &l->ended);
	for (int i = 0; i < l->nr; i++)
		if (sums.nr + (size_t)l->at[i].said.nr_samples <= MOST_ITEMS)
			sums_add(&sums, &l->at[i].said, l->at[i].group, l->at[i].live);
	sums_settle(&sums);
	sums_write(&sums, l->per_family, openmetrics, out);
	sums_fini(&sums);
}
