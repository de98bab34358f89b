#include "cli/tune/report.h"
#include "cli/cli.h"
#include "cli/tune/dropin.h"
#include "cli/tune/rounds.h"
#include "cli/table.h"
#include <stdio.h>
#include <string.h>

/* Where off against off differs by more, a gain of some size is out of sight. */
#define NOISY 1.25

/* ---- the table ---- */

/* Four figures at least, so that what differs can be seen. */
static void
value_cell(struct table *table, double value)
{
	if (value >= 1000)
		table_cell(table, "%.0f", value);
	else
		table_cell(table, "%.4g", value);
}

static void
ratio_cell(struct table *table, double ratio)
{
	table_cell(table, ratio < 100 ? "%.2f" : "%.0f", ratio);
}

/* A wall time is kept as its inverse: so the interval turns round. */
static void
value_cells(const struct tune *t, struct table *table, const struct interval *v)
{
	value_cell(table, t->metric ? v->median : 1 / v->median);
	value_cell(table, t->metric ? v->low : 1 / v->high);
	value_cell(table, t->metric ? v->high : 1 / v->low);
}

static void
row(const struct tune *t, const struct verdict *v, int i, int load, struct table *table)
{
	const struct finding *f = &v->at[i][load];
	const struct interval *gain = i == OFF ? &v->off_to_off[load] : &f->gain;
	double hold = holds_quantile(&t->holds[i][load], 0.99);
	char time[FIGURE_CAP];

	table_cell(table, "%s", t->settings[i].name);
	if (t->loads[load].clients)
		table_cell(table, "%d", t->loads[load].clients);
	else
		table_cell(table, "-");
	if (t->settings[i].out.len || !f->rounds) {
		for (int k = 0; k < 8; k++)
			table_cell(table, "-");
		table_cell(table, "out");
		return;
	}
	value_cells(t, table, &f->value);
	/* Of off, what its two trials differ. */
	ratio_cell(table, f->gain.median);
	ratio_cell(table, gain->low);
	ratio_cell(table, gain->high);
	if (f->cpu.median > 0)
		ratio_cell(table, f->cpu.median);
	else
		table_cell(table, "-"); /* too little to be seen */
	table_cell(table, "%s", hold < 0 ? "-" : figure_time(time, hold * 1e3));
	table_cell(table, "%s",
		   i == OFF || !v->decided ? "-" : verdict_words[f->tells + 1]);
}

static void
print_table(const struct tune *t, const struct verdict *v)
{
	const struct column columns[] = {
		{ "SETTING", 1, 0, 0 },
		{ "CLIENTS", 0, 0, 0 },
		{ t->metric ? "MEDIAN" : "SECONDS", 0, 0, 0 },
		{ "LOW", 0, 0, 0 },
		{ "HIGH", 0, 0, 0 },
		{ "GAIN", 0, 0, 0 },
		{ "LOW", 0, 0, 0 },
		{ "HIGH", 0, 0, 0 },
		{ "CPU", 0, 0, 0 },
		{ "HOLD", 0, 0, 0 },
		{ "VERDICT", 1, 0, 0 },
	};
	struct table *table = table_new(columns, sizeof columns / sizeof *columns);

	for (int load = 0; load < t->nr_loads; load++)
		for (int i = OFF; i < t->nr_settings; i++)
			if (i != OFF_AGAIN)
				row(t, v, i, load, table);
	table_print(table, stdout);
	table_free(table);
}

/* ---- what follows ---- */

static void
print_with_clients(const struct tune *t, int load)
{
	if (t->loads[load].clients)
		printf(" with %d client%s", t->loads[load].clients,
		       t->loads[load].clients == 1 ? "" : "s");
}

static void
print_noise(const struct tune *t, const struct verdict *v)
{
	for (int load = 0; load < t->nr_loads; load++) {
		printf("%s", load ? "; " : "Off against off ran from ");
		printf("%.2f to %.2f", v->off_to_off[load].low,
		       v->off_to_off[load].high);
		print_with_clients(t, load);
	}
	puts(".");
}

static void
print_gain(const struct tune *t, const struct verdict *v)
{
	printf("Recommended: %s.\n", t->settings[v->setting].name);
	for (int load = 0; load < t->nr_loads; load++) {
		const struct interval *gain = &v->at[v->setting][load].gain;

		printf("%.2f times off (%.2f to %.2f)", gain->median, gain->low,
		       gain->high);
		print_with_clients(t, load);
		printf(", %.2f of its CPU time for the same work.\n",
		       v->at[v->setting][load].cpu.median);
	}
	print_noise(t, v);
}

static void
print_off(const struct tune *t, const struct verdict *v)
{
	if (!rounds_settings_left(t)) {
		puts("Recommended: off. Leave the library off: the server failed under every "
		     "setting.");
		return;
	}
	puts("Recommended: off. Leave the library off: no setting gains more than noise.");
	print_noise(t, v);
	if (v->noise[0] > NOISY)
		printf("This machine was noisy: a longer load, more rounds or less company "
		       "would show\ngains below %.2f.\n",
		       v->noise[0]);
	if (v->saving)
		printf("But %s takes %.2f of the CPU time for the same work (%.2f to "
		       "%.2f).\n",
		       t->settings[v->saving].name, v->at[v->saving][0].cpu.median,
		       v->at[v->saving][0].cpu.low, v->at[v->saving][0].cpu.high);
}

static void
print_escaped(const char *s)
{
	struct text safe = { 0 };

	text_escape(&safe, s);
	fputs(text_string(&safe), stdout);
	text_fini(&safe);
}

static void
print_variables(const struct tune *t, int setting, const char *preload)
{
	json_t *all = dropin_variables(&t->settings[setting], preload), *value;
	struct text unit = { 0 };
	char *line, *rest = NULL;
	const char *key;

	puts("\nIts variables:");
	json_object_foreach(all, key, value)
	{
		printf("    %s=", key);
		print_escaped(json_string_value(value));
		puts("");
	}
	puts("The same for a systemd unit, with systemctl edit:");
	dropin_unit(t->server[0], all, &unit);
	for (line = strtok_r(unit.at, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		printf("    ");
		print_escaped(line);
		puts("");
	}
	text_fini(&unit);
	json_decref(all);
}

static void
print_undecided(const struct tune *t)
{
	printf("Too few rounds to tell: %d, and it takes %d.", t->rounds, LEAST_VALUES);
	if (t->rounds)
		printf(" They would take %.0f s.",
		       t->seconds * (LEAST_VALUES + 1) / t->rounds);
	puts("");
}

void
report_print(const struct tune *t, const struct verdict *v, const char *preload)
{
	if (t->rounds) {
		printf("%d round%s in %.0f s; LOW and HIGH ", t->rounds,
		       t->rounds == 1 ? "" : "s", t->seconds);
		if (v->decided)
			printf("hold the true median with %.0f %%\n\n",
			       100 * interval_coverage(t->rounds,
						       interval_rank(t->rounds)));
		else
			puts("are the extremes\n");
		print_table(t, v);
		puts("");
	}
	for (int i = FIRST_SETTING; i < t->nr_settings; i++)
		if (t->settings[i].out.len) {
			printf("%s is out: ", t->settings[i].name);
			print_escaped(t->settings[i].out.at);
			puts(".");
		}
	if (!v->decided)
		print_undecided(t);
	else if (v->setting == OFF)
		print_off(t, v);
	else
		print_gain(t, v);
	if (v->setting != OFF || v->saving)
		print_variables(t, v->setting != OFF ? v->setting : v->saving, preload);
}
