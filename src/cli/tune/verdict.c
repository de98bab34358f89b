#include "cli/tune/verdict.h"
#include "cli/tune/rounds.h"
#include <string.h>

const char *const verdict_words[3] = { "worse", "same", "better" };

/* What is compared of a trial. */
enum figure { VALUE, CPU };

/* CPU time for each unit of work: a load of a fixed time does more where the server is faster, one
 * of a fixed number of requests takes less time; value times seconds is the work of both. */
static double
figure_of(const struct trial *trial, enum figure which)
{
	return which == VALUE ? trial->value
			      : trial->cpu / (trial->value * trial->seconds);
}

/* In one round; below 0: it was not measured. */
static double
in_round(const struct tune *t, int round, int setting, int load, enum figure which)
{
	const struct trial *trial = rounds_trial(t, round, setting, load), *again;

	if (!trial)
		return -1;
	if (setting != OFF)
		return figure_of(trial, which);
	again = rounds_trial(t, round, OFF_AGAIN, load);
	return (figure_of(trial, which) + figure_of(again, which)) / 2;
}

/* The ratios of setting a by setting b in the rounds that have both. Their number. */
static int
ratio(const struct tune *t, int a, int b, int load, enum figure which,
      struct interval *interval)
{
	double values[MOST_VALUES];
	int nr = 0;

	for (int round = 1; round <= t->rounds; round++) {
		double x = in_round(t, round, a, load, which);
		double y = in_round(t, round, b, load, which);

		if (x > 0 && y > 0)
			values[nr++] = x / y;
	}
	if (nr)
		*interval = interval_of(values, nr);
	return nr;
}

static void
off_to_off(const struct tune *t, int load, enum figure which, struct interval *interval)
{
	double values[MOST_VALUES];
	int nr = 0;

	for (int round = 1; round <= t->rounds; round++) {
		double x = figure_of(rounds_trial(t, round, OFF_AGAIN, load), which);
		double y = figure_of(rounds_trial(t, round, OFF, load), which);

		if (x > 0 && y > 0)
			values[nr++] = x / y;
	}
	*interval = nr ? interval_of(values, nr) : (struct interval){ 1, 1, 1 };
}

static void
medians(const struct tune *t, int setting, int load, struct finding *f)
{
	double values[MOST_VALUES], cpu[MOST_VALUES];
	int nr = 0;

	for (int round = 1; round <= t->rounds; round++) {
		const struct trial *trial = rounds_trial(t, round, setting, load);

		if (!trial)
			continue;
		values[nr] = in_round(t, round, setting, load, VALUE);
		cpu[nr++] = trial->cpu;
	}
	f->rounds = nr;
	if (!nr)
		return;
	f->value = interval_of(values, nr);
	f->cpu_seconds = interval_of(cpu, nr).median;
}

/* True if a beats b under at least one load and is beaten under none. */
static bool
better(const struct tune *t, const struct verdict *v, int a, int b)
{
	bool beats = false;

	for (int load = 0; load < t->nr_loads; load++) {
		struct interval gain;
		int tells;

		if (ratio(t, a, b, load, VALUE, &gain) < LEAST_VALUES)
			return false;
		tells = interval_tells(&gain, v->noise[load]);
		if (tells < 0)
			return false;
		beats = beats || tells > 0;
	}
	return beats;
}

/* By all loads together. */
static double
score(const struct tune *t, const struct verdict *v, int setting)
{
	double product = 1;

	for (int load = 0; load < t->nr_loads; load++)
		product *= v->at[setting][load].gain.median;
	return product;
}

static int
recommend(const struct tune *t, const struct verdict *v)
{
	int best = OFF, usual = OFF;

	for (int i = FIRST_SETTING; i < t->nr_settings; i++)
		if (!t->settings[i].out.len && better(t, v, i, OFF) &&
		    t->settings[i].chunk == DEFAULT_CHUNK &&
		    t->settings[i].delay_us == DEFAULT_DELAY_US)
			usual = i;
	for (int i = FIRST_SETTING; i < t->nr_settings; i++)
		if (!t->settings[i].out.len && i != usual && better(t, v, i, OFF) &&
		    (usual == OFF || better(t, v, i, usual)) &&
		    (best == OFF || score(t, v, i) > score(t, v, best)))
			best = i;
	return best == OFF ? usual : best;
}

/* The setting that takes the least CPU time for the same work and is no slower. */
static int
find_saving(const struct tune *t, const struct verdict *v)
{
	int best = OFF;

	for (int i = FIRST_SETTING; i < t->nr_settings; i++) {
		bool saves = !t->settings[i].out.len;

		for (int load = 0; load < t->nr_loads; load++)
			saves = saves && v->at[i][load].tells >= 0 &&
				v->at[i][load].cpu_tells < 0;
		if (saves &&
		    (best == OFF || v->at[i][0].cpu.median < v->at[best][0].cpu.median))
			best = i;
	}
	return best;
}

void
verdict_find(const struct tune *t, struct verdict *v)
{
	memset(v, 0, sizeof *v);
	/* Where nothing but off works, there is no more to learn. */
	v->decided = t->rounds >= LEAST_VALUES || !rounds_settings_left(t);
	for (int load = 0; load < t->nr_loads && t->rounds; load++) {
		struct interval cpu;

		off_to_off(t, load, VALUE, &v->off_to_off[load]);
		off_to_off(t, load, CPU, &cpu);
		v->noise[load] = interval_noise(&v->off_to_off[load]);
		v->cpu_noise[load] = interval_noise(&cpu);
		for (int i = OFF; i < t->nr_settings; i++) {
			struct finding *f = &v->at[i][load];

			medians(t, i, load, f);
			if (ratio(t, i, OFF, load, VALUE, &f->gain) >= LEAST_VALUES)
				f->tells = interval_tells(&f->gain, v->noise[load]);
			if (ratio(t, i, OFF, load, CPU, &f->cpu) >= LEAST_VALUES)
				f->cpu_tells =
					interval_tells(&f->cpu, v->cpu_noise[load]);
		}
	}
	if (!v->decided)
		return;
	v->setting = recommend(t, v);
	if (v->setting == OFF)
		v->saving = find_saving(t, v);
}
