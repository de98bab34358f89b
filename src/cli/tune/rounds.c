#include "cli/tune/rounds.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- what was measured ---- */

static struct trial *
place_of(const struct tune *t, int round, int setting, int load)
{
	return &t->trials[((round - 1) * MOST_SETTINGS + setting) * MOST_LOADS + load];
}

const struct trial *
rounds_trial(const struct tune *t, int round, int setting, int load)
{
	const struct trial *trial = place_of(t, round, setting, load);

	return trial->round ? trial : NULL;
}

void
rounds_keep(struct tune *t, const struct trial *trial)
{
	enum { A_ROUND = MOST_SETTINGS * MOST_LOADS };

	while (trial->round > t->cap_rounds) {
		int cap = t->cap_rounds ? 2 * t->cap_rounds : 16;

		t->trials = have(
			realloc(t->trials, (size_t)cap * A_ROUND * sizeof *t->trials));
		memset(t->trials + (size_t)t->cap_rounds * A_ROUND, 0,
		       (size_t)(cap - t->cap_rounds) * A_ROUND * sizeof *t->trials);
		t->cap_rounds = cap;
	}
	*place_of(t, trial->round, trial->setting, trial->load) = *trial;
}

bool
rounds_settings_left(const struct tune *t)
{
	for (int i = FIRST_SETTING; i < t->nr_settings; i++)
		if (!t->settings[i].out.len)
			return true;
	return false;
}

/* ---- progress ---- */

struct progress {
	const struct tune *tune;
	bool terminal;
	int round, done, in_round; /* trials of this round */
	int setting, load;         /* of the trial under way */
	double began, trial_began, deadline;
	int nr_trials; /* done in all */
	bool shown;    /* a line is on the terminal */
};

/* Below 0: unknown. */
static double
seconds_left(const struct progress *p)
{
	const struct tune *t = p->tune;
	double now = now_seconds(), left = -1, in_trial = now - p->trial_began;
	double trials = t->nr_settings * t->nr_loads * (double)t->rounds_wanted;

	/* Those before this one; settings that are out by now are counted, which is soon
	 * made good. */
	if (p->round)
		trials = (double)(t->rounds_wanted - p->round + 1) * p->in_round -
			 p->done;
	if (p->nr_trials && t->rounds_wanted < MOST_VALUES) {
		double average = (p->trial_began - p->began) / p->nr_trials;

		left = trials * average - (in_trial < average ? in_trial : average);
	}
	if (p->deadline > 0 && (left < 0 || p->deadline - now < left))
		left = p->deadline - now;
	return left;
}

static void
line(const struct progress *p, struct text *out)
{
	const struct tune *t = p->tune;
	double left = seconds_left(p);
	int clients = t->loads[p->load].clients;

	if (!p->round)
		text_add(out, "warming up");
	else
		text_add(out, "round %d", p->round);
	if (p->round && t->rounds_wanted < MOST_VALUES)
		text_add(out, " of %ld", t->rounds_wanted);
	if (p->round)
		text_add(out, ", run %d of %d", p->done + 1, p->in_round);
	text_add(out, ": %s", t->settings[p->setting].name);
	if (clients)
		text_add(out, ", %d client%s", clients, clients == 1 ? "" : "s");
	if (left > 0)
		text_add(out, "; %d:%02d left", (int)left / 60, (int)left % 60);
}

static void
progress_on(struct progress *p, const struct trial *trial)
{
	p->setting = trial->setting;
	p->load = trial->load;
	p->trial_began = now_seconds();
}

static void
progress_clear(void *arg)
{
	struct progress *p = arg;

	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

static void
progress_show(void *arg)
{
	struct progress *p = arg;
	struct text out = { 0 };

	if (!p->terminal)
		return;
	line(p, &out);
	fprintf(stderr, "\r\033[Kweir: tune: %s", text_string(&out));
	fflush(stderr);
	p->shown = true;
	text_fini(&out);
}

/* Without a terminal a line for each round. */
static void
progress_round(const struct progress *p)
{
	struct text out = { 0 };

	if (p->terminal)
		return;
	line(p, &out);
	complain("tune: %s", text_string(&out));
	text_fini(&out);
}

/* ---- rounds ---- */

struct rounds {
	struct tune *tune;
	struct bench *bench;
	struct progress progress;
};

static void
tell(struct rounds *r, int setting, const struct failure *f)
{
	char *lines = have(strdup(text_string(&f->tail))), *rest = NULL;

	progress_clear(&r->progress);
	complain("tune: %s: %s", r->tune->settings[setting].name, text_string(&f->why));
	if (f->tail.len)
		complain("tune: the end of %s:", text_string(&f->file));
	for (char *l = strtok_r(lines, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
		complain("tune: | %.200s", l);
	free(lines);
}

/* False where nothing more can be measured: t->failure says why, unless the time was up. */
static bool
one_trial(struct rounds *r, struct trial *trial)
{
	struct tune *t = r->tune;
	struct failure f = { 0 };
	enum outcome o;
	bool go_on = true;

	progress_show(&r->progress);
	o = trial_run(r->bench, t, trial, &f);
	r->progress.nr_trials++;
	if (o == TRIAL_GOOD) {
		if (trial->round)
			rounds_keep(t, trial);
	} else if (o == TRIAL_SERVER && trial->setting >= FIRST_SETTING) {
		tell(r, trial->setting, &f);
		text_add(&t->settings[trial->setting].out, "%s", text_string(&f.why));
	} else {
		go_on = false;
		if (o != TRIAL_STOPPED)
			tell(r, trial->setting, &f);
		if (o != TRIAL_STOPPED)
			text_add(&t->failure, "%s", text_string(&f.why));
		else if (r->bench->jobs.nr_stops) {
			text_add(&t->failure, "interrupted");
			progress_clear(&r->progress);
			complain("tune: interrupted");
		}
	}
	failure_fini(&f);
	return go_on;
}

static void
shuffle(struct trial *trials, int nr)
{
	for (int i = nr - 1; i > 0; i--) {
		struct trial other = trials[i];
		unsigned random = 0;
		int k;

		if (getrandom(&random, sizeof random, 0) != sizeof random)
			random = (unsigned)(now_seconds() * 1e6);
		k = (int)(random % (unsigned)(i + 1));
		trials[i] = trials[k];
		trials[k] = other;
	}
}

/* Every setting that is not out, under every load. */
static bool
one_round(struct rounds *r, int round)
{
	struct tune *t = r->tune;
	struct trial trials[MOST_SETTINGS * MOST_LOADS];
	int nr = 0;

	for (int i = OFF; i < t->nr_settings; i++)
		for (int load = 0; load < t->nr_loads && !t->settings[i].out.len; load++)
			trials[nr++] = (struct trial){ .round = round,
						       .setting = i,
						       .load = load };
	shuffle(trials, nr);
	r->progress.round = round;
	r->progress.in_round = nr;
	for (int i = 0; i < nr; i++) {
		r->progress.done = i;
		progress_on(&r->progress, &trials[i]);
		if (i == 0)
			progress_round(&r->progress);
		/* It may have gone out in this round. */
		if (t->settings[trials[i].setting].out.len)
			continue;
		if (!one_trial(r, &trials[i]))
			return false;
	}
	t->rounds = round;
	return true;
}

/* The first runs are not counted: files are not in memory yet, and a server or a load that does
 * not work at all shows here. */
static bool
warm_up(struct rounds *r)
{
	for (int load = 0; load < r->tune->nr_loads; load++) {
		struct trial trial = { .setting = OFF, .load = load };

		progress_on(&r->progress, &trial);
		if (load == 0)
			progress_round(&r->progress);
		if (!one_trial(r, &trial))
			return false;
	}
	return true;
}

/* Where the time is too short for all settings, those that come last are not tried. */
static void
choose_settings(struct rounds *r)
{
	struct tune *t = r->tune;
	double now = now_seconds(), left = r->bench->deadline - now;
	double average = (now - r->progress.began) / r->progress.nr_trials;
	long rounds = t->rounds_wanted < LEAST_VALUES ? t->rounds_wanted : LEAST_VALUES;
	/* A tenth more, as runs differ. */
	double fit = left / (1.1 * average * (double)rounds * t->nr_loads);
	int first_out = fit < FIRST_SETTING + 1 ? FIRST_SETTING + 1 : (int)fit;

	if (r->bench->deadline <= 0 || fit >= t->nr_settings)
		return;
	for (int i = first_out; i < t->nr_settings; i++)
		text_add(&t->settings[i].out, "--max-time leaves no time for it");
	progress_clear(&r->progress);
	complain("tune: %ld s are too short for %ld rounds of %d settings: the last %d are "
		 "left out",
		 t->max_seconds, rounds, t->nr_settings - FIRST_SETTING,
		 t->nr_settings - first_out);
}

void
rounds_run(struct tune *t, struct bench *bench)
{
	double began = now_seconds();
	struct rounds all = { t,
			      bench,
			      { .tune = t, .terminal = isatty(2), .began = began } };
	struct rounds *r = &all;

	if (t->max_seconds)
		bench->deadline = began + (double)t->max_seconds;
	r->progress.deadline = bench->deadline;
	bench->tick = progress_show;
	bench->clear = progress_clear;
	bench->arg = &r->progress;
	if (warm_up(r)) {
		double rounds_began;

		choose_settings(r);
		rounds_began = now_seconds();
		for (int n = 1; n <= t->rounds_wanted && rounds_settings_left(t); n++) {
			double spent = now_seconds() - rounds_began;

			/* A round that would not come to its end is not begun, unless a
			 * recommendation hangs on it. */
			if (bench->deadline > 0 && t->rounds >= LEAST_VALUES &&
			    now_seconds() + spent / t->rounds > bench->deadline)
				break;
			if (!one_round(r, n))
				break;
		}
	}
	progress_clear(&r->progress);
	t->seconds = now_seconds() - began;
}
