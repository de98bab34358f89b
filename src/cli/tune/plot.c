/* The picture of weir tune: gnuplot draws it, as a program of its own. */
#include "cli/cli.h"
#include "cli/program.h"
#include "cli/tune/report.h"
#include <stdio.h>
#include <string.h>

#define PLOT_SECONDS 60.0
#define WIDE_RANGE 4.0 /* a greater gain would flatten the others on a linear axis */

static bool
find_gnuplot(struct program *program)
{
	program_look("gnuplot", program);
	return program->obstacle != OBSTACLE_MISSING &&
	       program->obstacle != OBSTACLE_FORBIDDEN;
}

bool
report_can_plot(void)
{
	struct program program;
	bool found = find_gnuplot(&program);

	program_fini(&program);
	return found;
}

/* A string of gnuplot's: in single quotes, where only those mean something. */
static void
quoted(FILE *out, const char *s)
{
	putc('\'', out);
	for (; *s; s++) {
		if (*s == '\'')
			putc('\'', out);
		putc(*s == '\n' ? ' ' : *s, out);
	}
	putc('\'', out);
}

static void
write_points(FILE *out, const struct tune *t, const struct verdict *v, int load)
{
	int at = 0;

	fprintf(out, "$load%d << EOD\n", load);
	for (int i = FIRST_SETTING; i < t->nr_settings; i++) {
		const struct finding *f = &v->at[i][load];

		at++;
		if (f->rounds && !t->settings[i].out.len)
			fprintf(out, "%.3f %.6g %.6g %.6g\n", at + 0.12 * load,
				f->gain.median, f->gain.low, f->gain.high);
	}
	fputs("EOD\n", out);
}

static void
write_head(FILE *out, const struct tune *t, const struct verdict *v)
{
	struct text title = { 0 }, safe = { 0 };
	double most = 0, least = 1 / v->noise[0];

	for (int load = 0; load < t->nr_loads; load++)
		for (int i = FIRST_SETTING; i < t->nr_settings; i++)
			if (v->at[i][load].rounds) {
				const struct interval *gain = &v->at[i][load].gain;

				most = gain->high > most ? gain->high : most;
				least = gain->low < least ? gain->low : least;
			}
	fputs("if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
	      "	set terminal pngcairo noenhanced size 960,540 font 'sans,11'\n"
	      "} else {\n"
	      "	set terminal png noenhanced size 960,540\n"
	      "}\nset output ",
	      out);
	quoted(out, t->png_file);
	text_add(&title, "%s: gain over the server without the library, %d rounds",
		 t->server[0], t->rounds);
	text_escape(&safe, text_string(&title));
	fputs("\nset title ", out);
	quoted(out, text_string(&safe));
	text_fini(&title);
	text_fini(&safe);
	if (most > WIDE_RANGE)
		fprintf(out, "\nset logscale y\nset yrange [%.6g:*]", 0.8 * least);
	else
		fputs("\nset yrange [0:*]", out);
	fprintf(out,
		"\nset xrange [0.5:%d.5]\nset ylabel 'times off'\nset grid y\nset key below\n"
		"set xtics (",
		t->nr_settings - FIRST_SETTING);
	for (int i = FIRST_SETTING; i < t->nr_settings; i++) {
		if (i > FIRST_SETTING)
			fputs(", ", out);
		quoted(out, t->settings[i].name);
		fprintf(out, " %d", i - FIRST_SETTING + 1);
	}
	fputs(")\n", out);
}

/* The grey band is where nothing can be told from off. */
static void
write_script(FILE *out, const struct tune *t, const struct verdict *v)
{
	write_head(out, t, v);
	fprintf(out,
		"set object 1 rectangle from graph 0, first %.6g to graph 1, first %.6g "
		"behind fillcolor rgb '#dddddd' fillstyle solid noborder\n",
		1 / v->noise[0], v->noise[0]);
	for (int load = 0; load < t->nr_loads; load++)
		write_points(out, t, v, load);
	fputs("plot 1 title 'off, in grey what is noise' linecolor rgb '#888888'", out);
	for (int load = 0; load < t->nr_loads; load++) {
		fprintf(out,
			", $load%d using 1:2:3:4 with yerrorbars pointtype 7 title ",
			load);
		if (t->loads[load].clients)
			fprintf(out, "'%d client%s'", t->loads[load].clients,
				t->loads[load].clients == 1 ? "" : "s");
		else
			fputs("'gain'", out);
	}
	fputs("\n", out);
}

bool
report_plot(const struct tune *t, const struct verdict *v, struct jobs *jobs,
	    struct stage *stage)
{
	struct text script = { 0 }, log = { 0 };
	struct program program;
	double end = now_seconds() + PLOT_SECONDS;
	bool good = find_gnuplot(&program);
	FILE *out = fopen(stage_file(stage, PLOT_SCRIPT, &script), "we");

	stage_file(stage, PLOT_LOG, &log);
	if (out)
		write_script(out, t, v);
	good = good && out && !ferror(out);
	if (out && fclose(out) == EOF)
		good = false;
	good = good &&
	       jobs_start_load(jobs, &(struct command){
					     .path = program.path,
					     .argv = (char *[]){ (char[]){ "gnuplot" },
								 script.at, NULL },
					     .preload = "",
					     .out = text_string(&log),
					     .err = text_string(&log) }) == 0;
	while (good && !jobs->load.ended && now_seconds() < end)
		jobs_wait(jobs, end - now_seconds());
	good = good && jobs->load.ended && jobs->load.status == 0;
	jobs_end_load(jobs);
	if (!good)
		complain("tune: gnuplot could not draw %s", t->png_file);
	text_fini(&script);
	text_fini(&log);
	program_fini(&program);
	return good;
}
