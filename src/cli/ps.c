/* weir ps and weir targets: the families that there are. */
#include "cli/cli.h"
#include "cli/family.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>
#include <string.h>

static int
nr_live(const json_t *metrics)
{
	json_t *process;
	size_t i;
	int nr = 0;

	json_array_foreach(json_object_get(metrics, "processes"), i, process) nr +=
		strcmp(json_word(process, "state"), "live") == 0;
	return nr;
}

static json_t *
described(const struct family *f)
{
	return json_pack("{s:i, s:i, s:s, s:s, s:O?, s:i, s:O?, s:o}", "pid",
			 f->seen_pid, "ownPid", f->pid, "program", f->program,
			 "version", json_word(f->metrics, "version"), "startTime",
			 json_object_get(f->metrics, "startTime"), "processes",
			 nr_live(f->metrics), "streams",
			 json_object_get(f->metrics, "streams"), "socket",
			 json_path(f->place->path));
}

static void
print(const struct families *families)
{
	static const struct column columns[] = {
		{ "PID", 0, 0, 0 },    { "PROGRAM", 1, 32, 0 }, { "AGE", 0, 0, 0 },
		{ "PROCS", 0, 0, 0 },  { "STREAMS", 0, 0, 0 },  { "VERSION", 1, 16, 0 },
		{ "SOCKET", 1, 0, 0 },
	};
	struct table *t = table_new(columns, sizeof columns / sizeof *columns);
	char figure[FIGURE_CAP];

	for (int i = 0; i < families->nr; i++) {
		const struct family *f = &families->at[i];

		table_cell(t, "%d", (int)f->seen_pid);
		table_cell(t, "%s", f->program);
		table_cell(t, "%s",
			   figure_time(figure,
				       json_figure(f->metrics, "timestamp") -
					       json_figure(f->metrics, "startTime")));
		table_cell(t, "%d", nr_live(f->metrics));
		table_cell(t, "%.0f",
			   json_figure(json_object_get(f->metrics, "streams"), "open"));
		table_cell(t, "%s", json_word(f->metrics, "version"));
		table_cell(t, "%s", f->place->path);
	}
	table_print(t, stdout);
	table_free(t);
}

static int
run_ps(int argc, char **argv)
{
	struct families families = { 0 };
	bool json = false;
	int ret = options_read(&verb_ps, argc, argv, &json, NULL);

	if (ret < 0)
		return -1 - ret;
	if (ret > 0)
		return usage(&verb_ps);
	ret = families_open(&families, NULL);
	if (json) {
		json_t *list = json_array();

		for (int i = 0; i < families.nr; i++)
			json_array_append_new(list, described(&families.at[i]));
		if (json_out(list) != END_FINE)
			ret = END_FAILED;
		json_decref(list);
	} else if (families.nr) {
		print(&families);
	}
	families_close(&families);
	return ret;
}

/* Prometheus' file_sd. A target needs a name for its instance label: the program and the pid.
 * A scraper that speaks Unix sockets goes by __unix_socket__. */
static int
run_targets(int argc, char **argv)
{
	struct families families = { 0 };
	json_t *list;
	bool json = false;
	int ret = options_read(&verb_targets, argc, argv, &json, NULL), out;

	if (ret < 0)
		return -1 - ret;
	if (ret > 0)
		return usage(&verb_targets);
	ret = families_open(&families, NULL);
	list = json_array();
	for (int i = 0; i < families.nr; i++) {
		const struct family *f = &families.at[i];
		char pid[16];
		struct text name = { 0 };

		snprintf(pid, sizeof pid, "%d", (int)f->seen_pid);
		text_add(&name, "%s.%s", f->program, pid);
		json_array_append_new(
			list, json_pack("{s:[s], s:{s:o, s:s, s:s}}", "targets",
					text_string(&name), "labels", "__unix_socket__",
					json_path(f->place->path), "program",
					f->program, "pid", pid));
		text_fini(&name);
	}
	out = json_out(list);
	json_decref(list);
	families_close(&families);
	return out == END_FINE ? ret : out;
}

const struct verb verb_ps = {
	"ps",
	"[-j|--json]",
	"list the families: servers that run under the library",
	"A family is the processes of one server: they have one metrics socket.\n"
	"\n"
	"  -j, --json   an array of {pid, ownPid, program, version, startTime, processes,\n"
	"               streams, socket}\n"
	"\n"
	"Exit status: 0, or 3 where no family was found. Sockets that may not be asked\n"
	"are named on stderr.\n",
	false,
	run_ps
};

const struct verb verb_targets = {
	"targets",
	"[-j|--json]",
	"list the sockets for Prometheus' file_sd",
	"For scrapers that speak Unix sockets: labels __unix_socket__, program and pid.\n"
	"\n"
	"  -j, --json   changes nothing: it is always JSON\n"
	"\n"
	"Exit status: 0, or 3 where no family was found, with an empty list.\n",
	false,
	run_targets
};
