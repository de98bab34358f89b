/* The document of weir tune. */
#include "cli/cli.h"
#include "cli/tune/dropin.h"
#include "cli/family.h"
#include "cli/tune/report.h"
#include "cli/tune/rounds.h"

static json_t *
interval_json(const struct interval *i)
{
	return json_pack("{s:f, s:f, s:f}", "median", i->median, "low", i->low, "high",
			 i->high);
}

static json_t *
load_json(const struct tune *t, int load)
{
	return json_pack("{s:o, s:o}", "command",
			 json_path(text_string(&t->loads[load].command)), "clients",
			 t->loads[load].clients ? json_integer(t->loads[load].clients)
						: json_null());
}

static json_t *
finding_json(const struct tune *t, const struct verdict *v, int setting, int load)
{
	const struct finding *f = &v->at[setting][load];
	double hold = holds_quantile(&t->holds[setting][load], 0.99);

	if (!f->rounds)
		return json_null();
	return json_pack(
		"{s:i, s:o, s:o, s:o, s:f, s:o, s:o}", "rounds", f->rounds, "value",
		interval_json(&f->value), "gain", interval_json(&f->gain), "cpu",
		interval_json(&f->cpu), "cpuSeconds", f->cpu_seconds, "holdP99",
		hold < 0 ? json_null() : json_real(hold * 1e3), "verdict",
		v->decided ? json_string(verdict_words[f->tells + 1]) : json_null());
}

static json_t *
setting_json(const struct tune *t, const struct verdict *v, int i)
{
	const struct setting *s = &t->settings[i];
	bool off = i < FIRST_SETTING;
	json_t *loads = json_array();

	for (int load = 0; load < t->nr_loads; load++)
		json_array_append_new(loads, finding_json(t, v, i, load));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", s->name, "chunk",
			 off ? json_null() : json_integer(s->chunk), "delayUs",
			 off ? json_null() : json_integer(s->delay_us), "out",
			 s->out.len ? json_path(s->out.at) : json_null(), "loads",
			 loads);
}

static json_t *
sample_json(const struct trial *s)
{
	return json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:I}", "round", s->round,
			 "setting", s->setting, "load", s->load, "value", s->value,
			 "seconds", s->seconds, "cpuSeconds", s->cpu, "at",
			 (json_int_t)s->at_ms);
}

static json_t *
samples_json(const struct tune *t)
{
	json_t *all = json_array();

	for (int round = 1; round <= t->rounds; round++)
		for (int i = OFF; i < t->nr_settings; i++)
			for (int load = 0; load < t->nr_loads; load++) {
				const struct trial *s = rounds_trial(t, round, i, load);

				if (s)
					json_array_append_new(all, sample_json(s));
			}
	return all;
}

static json_t *
recommendation_json(const struct tune *t, const struct verdict *v, const char *preload)
{
	const char *name = t->settings[v->setting].name;
	struct text unit = { 0 };
	json_t *all, *doc;

	if (!v->decided)
		return json_null();
	if (v->setting == OFF)
		return json_pack("{s:s, s:s?, s:{}, s:n}", "setting", name, "saving",
				 v->saving ? t->settings[v->saving].name : NULL,
				 "variables", "dropIn");
	all = dropin_variables(&t->settings[v->setting], preload);
	dropin_unit(t->server[0], all, &unit);
	doc = json_pack("{s:s, s:n, s:o, s:o}", "setting", name, "saving", "variables",
			all, "dropIn", json_path(unit.at));
	text_fini(&unit);
	return doc;
}

json_t *
report_json(const struct tune *t, const struct verdict *v, const char *preload)
{
	json_t *server = json_array(), *loads = json_array(), *settings = json_array();
	json_t *noise = json_array();

	for (char **word = t->server; *word; word++)
		json_array_append_new(server, json_path(*word));
	for (int load = 0; load < t->nr_loads; load++) {
		json_array_append_new(loads, load_json(t, load));
		json_array_append_new(noise, interval_json(&v->off_to_off[load]));
	}
	for (int i = OFF; i < t->nr_settings; i++)
		json_array_append_new(settings, setting_json(t, v, i));
	return json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o}",
		"schema", "weir.tune/1", "version", WEIR_VERSION, "server", server,
		"loads", loads, "metric", t->metric ? json_path(t->metric) : json_null(),
		"rounds", t->rounds, "seconds", t->seconds, "coverage",
		t->rounds ? interval_coverage(t->rounds, interval_rank(t->rounds)) : 0.0,
		"failure", t->failure.len ? json_path(t->failure.at) : json_null(),
		"offToOff", noise, "settings", settings, "samples", samples_json(t),
		"recommendation", recommendation_json(t, v, preload));
}
