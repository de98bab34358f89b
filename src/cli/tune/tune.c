/* weir tune: measures a server under several settings with the user's own load, and without the
 * library, and says which is worth it. */
#include "cli/tune/tune.h"
#include "cli/cli.h"
#include "cli/family.h"
#include "cli/launch.h"
#include "cli/tune/load.h"
#include "cli/tune/report.h"
#include "cli/tune/rounds.h"
#include "cli/tune/verdict.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library's own values; smaller chunks, which leave sooner and stay in the processor's cache,
 * and larger ones, for floods; a shorter delay, for servers that compute between their writes, and
 * a longer one. */
static const char usual_settings[] = "32K/500,4K/500,128K/500,32K/100,32K/2000";

enum {
	USUAL_ROUNDS = 8, /* the least that forgives an outlier: see cli/tune/interval */
	USUAL_CLIENTS = 8,
	USUAL_WAIT = 60,
	USUAL_GRACE = 10,
	MOST_SECONDS = 7 * 86400
};

struct session {
	struct tune tune;
	struct bench bench;
	struct program program;
};

/* ---- what was asked for ---- */

static void
name_setting(struct setting *s)
{
	char unit = '\0';
	long n = s->chunk;

	if (n >= 1024 && n % 1024 == 0) {
		n /= 1024;
		unit = 'K';
	}
	if (unit && n >= 1024 && n % 1024 == 0) {
		n /= 1024;
		unit = 'M';
	}
	snprintf(s->name, sizeof s->name, "%ld%.1s/%ldus", n, &unit, s->delay_us);
}

/* One of "32K/500,4K". */
static bool
add_setting(struct tune *t, char *word)
{
	struct setting *s = &t->settings[t->nr_settings];
	char *delay = strchr(word, '/');

	if (t->nr_settings == MOST_SETTINGS)
		return false;
	if (delay)
		*delay++ = '\0';
	s->delay_us = DEFAULT_DELAY_US;
	if (!launch_chunk(word, &s->chunk) ||
	    (delay && !launch_delay(delay, &s->delay_us)))
		return false;
	name_setting(s);
	t->nr_settings++;
	return true;
}

static bool
read_settings(struct tune *t, const char *list)
{
	char *copy = have(strdup(list)), *rest = NULL;
	bool good = true;

	for (int i = OFF; i < FIRST_SETTING; i++)
		snprintf(t->settings[i].name, sizeof t->settings[i].name, "off");
	t->nr_settings = FIRST_SETTING;
	for (char *word = strtok_r(copy, ",", &rest); word && good;
	     word = strtok_r(NULL, ",", &rest))
		good = add_setting(t, word);
	free(copy);
	if (good && t->nr_settings > FIRST_SETTING)
		return true;
	complain("tune: --try %s: this must be up to %d of CHUNK[/DELAY], with commas "
		 "between: a size from 1024 to 1M or 0, and microseconds",
		 list, MOST_SETTINGS - FIRST_SETTING);
	return false;
}

static bool
read_loads(struct tune *t, long clients)
{
	bool has_clients;

	if (!load_expand(t->load_command, (int)clients, &t->loads[0].command,
			 &has_clients)) {
		complain("tune: --load %s: %%c is the number of clients and %%%% a percent "
			 "sign; there are no other words",
			 t->load_command);
		return false;
	}
	t->nr_loads = 1;
	if (!has_clients)
		return true;
	t->loads[0].clients = (int)clients;
	if (clients == 1)
		return true;
	load_expand(t->load_command, 1, &t->loads[1].command, &has_clients);
	t->loads[1].clients = 1;
	t->nr_loads = 2;
	return true;
}

static bool
read_metric(struct tune *t)
{
	struct text expression = { 0 };
	char why[128];
	int ret;

	if (!t->metric)
		return true;
	load_expression(t->metric, &expression);
	ret = regcomp(&t->expression, text_string(&expression),
		      REG_EXTENDED | REG_NEWLINE);
	text_fini(&expression);
	if (!ret)
		return true;
	regerror(ret, &t->expression, why, sizeof why);
	complain("tune: --metric %s: %s", t->metric, why);
	t->metric = NULL;
	return false;
}

static bool
read_number(const char *option, const char *word, long least, long most, long *number)
{
	if (!word || number_read(word, least, most, number))
		return true;
	complain("tune: %s %s: this must be a whole number from %ld to %ld", option,
		 word, least, most);
	return false;
}

/* False where the verb ends here, with *status. */
static bool
read_request(struct tune *t, int argc, char **argv, int *status)
{
	const char *repeat = NULL, *max_time = NULL, *clients = NULL, *wait = NULL;
	const char *grace = NULL;
	const char *settings = usual_settings;
	long nr_clients = USUAL_CLIENTS;
	const struct option_value own[] = {
		{ "--repeat", &repeat, NULL },
		{ "--max-time", &max_time, NULL },
		{ "--metric", &t->metric, NULL },
		{ "--out", &t->out_file, NULL },
		{ "--png", &t->png_file, NULL },
		{ "--load", &t->load_command, NULL },
		{ "--clients", &clients, NULL },
		{ "--try", &settings, NULL },
		{ "--wait", &wait, NULL },
		{ "--grace", &grace, NULL },
		{ NULL, NULL, NULL },
	};
	int nr = options_read(&verb_tune, argc, argv, &t->json, own);

	*status = nr < 0 ? -1 - nr : END_USAGE;
	if (nr < 0)
		return false;
	if (!nr || !t->load_command) {
		usage(&verb_tune);
		return false;
	}
	t->server = argv + 1;
	t->wait_seconds = USUAL_WAIT;
	t->grace_seconds = USUAL_GRACE;
	/* A time alone takes as many rounds as fit. */
	t->rounds_wanted = max_time ? MOST_VALUES : USUAL_ROUNDS;
	return read_number("--repeat", repeat, 1, MOST_VALUES, &t->rounds_wanted) &&
	       read_number("--max-time", max_time, 1, MOST_SECONDS, &t->max_seconds) &&
	       read_number("--clients", clients, 1, 1000000, &nr_clients) &&
	       read_number("--wait", wait, 1, MOST_SECONDS, &t->wait_seconds) &&
	       read_number("--grace", grace, 0, MOST_SECONDS, &t->grace_seconds) &&
	       read_settings(t, settings) && read_loads(t, nr_clients) &&
	       read_metric(t);
}

/* ---- the verb ---- */

/* Minutes of measuring would be lost if this showed at the end. */
static bool
can_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd >= 0)
		unlink(path);
	else if (errno == EEXIST)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		complain("tune: %s: %s", path, strerror(errno));
	else
		close(fd);
	return fd >= 0;
}

static int
prepare(struct session *s)
{
	struct tune *t = &s->tune;
	int ret = launch_look("tune", t->server[0], &s->program);

	if (ret != END_FINE)
		return ret;
	if (t->png_file && !report_can_plot()) {
		complain("tune: --png needs gnuplot, which is not there (Debian: "
			 "gnuplot-nox): install it, or leave --png out");
		return END_FAILED;
	}
	if ((t->out_file && !can_write(t->out_file)) ||
	    (t->png_file && !can_write(t->png_file)))
		return END_FAILED;
	ret = stage_open(&s->bench.stage);
	if (ret < 0) {
		complain("tune: no temporary directory can be made: %s", strerror(-ret));
		return END_FAILED;
	}
	s->bench.server_path = s->program.path;
	launch_preload(true, &s->bench.with);
	launch_preload(false, &s->bench.without);
	return END_FINE;
}

static int
write_out(const char *path, const json_t *doc)
{
	FILE *out = fopen(path, "we");
	bool good =
		out &&
		json_dumpf(doc, out, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) == 0 &&
		putc('\n', out) != EOF;

	if (out && fclose(out) == EOF)
		good = false;
	if (!good)
		complain("tune: %s: %s", path, strerror(errno));
	return good ? END_FINE : END_FAILED;
}

static int
report(struct session *s)
{
	struct tune *t = &s->tune;
	const char *preload = text_string(&s->bench.with);
	struct verdict *v = have(malloc(sizeof *v));
	int ret = END_FINE;
	json_t *doc;

	verdict_find(t, v);
	doc = report_json(t, v, preload);
	if (t->json)
		ret = json_out(doc);
	else if (t->rounds || !t->failure.len)
		report_print(t, v, preload);
	if (t->out_file && write_out(t->out_file, doc) != END_FINE)
		ret = END_FAILED;
	json_decref(doc);
	if (t->png_file && t->rounds &&
	    !report_plot(t, v, &s->bench.jobs, &s->bench.stage))
		ret = END_FAILED;
	free(v);
	if (fflush(stdout) == EOF)
		ret = END_FAILED;
	return ret;
}

static void
session_fini(struct session *s)
{
	struct tune *t = &s->tune;

	stage_close(&s->bench.stage);
	jobs_fini(&s->bench.jobs);
	text_fini(&s->bench.with);
	text_fini(&s->bench.without);
	text_fini(&s->bench.ports);
	program_fini(&s->program);
	for (int i = 0; i < MOST_SETTINGS; i++)
		text_fini(&t->settings[i].out);
	for (int i = 0; i < MOST_LOADS; i++)
		text_fini(&t->loads[i].command);
	text_fini(&t->failure);
	free(t->trials);
	if (t->metric)
		regfree(&t->expression);
}

static int
carry_out(struct session *s)
{
	struct tune *t = &s->tune;
	int ret;

	jobs_init(&s->bench.jobs);
	rounds_run(t, &s->bench);
	if (t->failure.len && t->rounds)
		complain("tune: what follows is of %d whole round%s", t->rounds,
			 t->rounds == 1 ? "" : "s");
	ret = report(s);
	return t->failure.len ? END_FAILED : ret;
}

static int
run_tune(int argc, char **argv)
{
	struct session s = { 0 };
	int ret;

	if (read_request(&s.tune, argc, argv, &ret)) {
		ret = prepare(&s);
		if (ret == END_FINE)
			ret = carry_out(&s);
	}
	session_fini(&s);
	return ret;
}

const struct verb verb_tune = {
	"tune",
	"[OPTION...] --load COMMAND -- SERVER [ARGUMENT...]",
	"measure what settings gain with your load",
	"Runs the server under several settings of the library, and without it, each time\n"
	"with the load, a shell command that has to end with exit status 0, and recommends\n"
	"what gains beyond noise, or to leave the library off.\n"
	"\n"
	"The server listens on a fixed port or path, in the foreground or not. The load\n"
	"begins when it, or what it started, listens on TCP or a Unix socket. ^C ends\n"
	"everything and reports what is known by then.\n"
	"\n"
	"  --load COMMAND   where it has %c, that is the number of clients, and it is run\n"
	"                   with one client too; %% is a percent sign\n"
	"  --clients N      for %c; 8 if not given\n"
	"  --metric REGEX   the number to compare, higher is better: the last match in the\n"
	"                   load's output. A POSIX extended expression, with \\d for a\n"
	"                   digit; where it has a group, all of the first is the number.\n"
	"                   Without it the load's wall time counts, which fits a load of\n"
	"                   a fixed number of requests, not one of a fixed time\n"
	"  --repeat N       rounds; 8 if not given, or as many as --max-time allows; 5 at\n"
	"                   least for a recommendation\n"
	"  --max-time S     seconds that all of it may take; where that is too short for 5\n"
	"                   rounds, settings are left out from the end of the list\n"
	"  --try LIST       settings as CHUNK[/DELAY] with commas between, DELAY in\n"
	"                   microseconds; 32K/500,4K/500,128K/500,32K/100,32K/2000 if not\n"
	"                   given\n"
	"  --wait S         seconds until the server has to listen; 60 if not given\n"
	"  --grace S        seconds from SIGTERM to SIGKILL at its end; 10 if not given\n"
	"  --out FILE       write everything, with each run, as JSON\n"
	"  --png FILE       draw it; needs gnuplot\n"
	"  -j, --json       the JSON on stdout in place of the table\n"
	"\n"
	"Exit status: 0; 1 where the load, or the server without the library, failed, or\n"
	"you interrupted it; 2 wrong usage; 125 to 127 as weir run.\n",
	true,
	run_tune
};
