/* weir stat: one line for each interval, as vmstat. */
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/watch.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MOST_SECONDS = 3600, HEAD_EVERY = 20 };

struct request {
	const char *target;
	long interval, count; /* interval 0: one line; count 0: without end */
	bool json;
};

static void
print_head(void)
{
	puts("STRM BLK APP/s KRN/s RATIO  IN/s OUT/s CHUNK  HOLD  PEER   NET LOCAL UNRD  POOL");
}

/* Times of backpressure are milliseconds a second, over all streams. */
static void
print_line(const struct sample *rates)
{
	char f[14][FIGURE_CAP];
	struct flow both;
	double hold = holds_quantile(&rates->holds, 0.99);
	double known = 0, unread;

	flow_both(&both, rates->way);
	for (int i = 0; i < NR_CAUSES; i++)
		known += both.cause_ms[i];
	unread = both.stall_ms > known ? both.stall_ms - known : 0;
	printf("%4s %3s %5s %5s %5s %5s %5s %5s %5s %5s %5s %5s %5s %5s\n",
	       figure_count(f[0], rates->streams), figure_count(f[1], rates->blocked),
	       figure_count(f[2], both.app_calls), figure_count(f[3], both.kernel_calls),
	       figure_count(f[4], flow_ratio(&both)),
	       figure_bytes(f[5], rates->way[0].bytes),
	       figure_bytes(f[6], rates->way[1].bytes),
	       figure_bytes(f[7], flow_chunk(&both)),
	       hold < 0 ? "-" : figure_time(f[8], hold * 1e3),
	       figure_time(f[9], both.cause_ms[CAUSE_PEER]),
	       figure_time(f[10], both.cause_ms[CAUSE_NETWORK]),
	       figure_time(f[11], both.cause_ms[CAUSE_LOCAL]),
	       figure_time(f[12], unread), figure_bytes(f[13], rates->pool_bytes));
}

static int
print_json(const struct watch *w, const struct sample *rates)
{
	double hold = holds_quantile(&rates->holds, 0.99);
	json_t *doc = json_pack(
		"{s:f, s:f, s:i, s:f, s:f, s:o, s:o, s:o, s:f, s:f, s:f}", "timestamp",
		rates->at_ms, "seconds", rates->seconds, "families", w->nr_now,
		"streams", rates->streams, "blocked", rates->blocked, "holdP99",
		hold < 0 ? json_null() : json_real(hold * 1e3), "request",
		flow_json(&rates->way[0]), "response", flow_json(&rates->way[1]),
		"poolBytes", rates->pool_bytes, "poolBuffers", rates->pool_buffers,
		"poolInUse", rates->pool_in_use);
	int ret = json_out(doc);

	json_decref(doc);
	return ret;
}

/* In step, unless this one was so late that the next interval would be less than half of one. */
static double
next_tick(double last_ms, double interval_ms)
{
	double next = last_ms + interval_ms, soonest = now_ms() + interval_ms / 2;

	return next < soonest ? soonest + interval_ms / 2 : next;
}

static void
sleep_until(double ms)
{
	struct timespec at = { .tv_sec = (time_t)(ms / 1e3) };

	at.tv_nsec = (long)((ms - (double)at.tv_sec * 1e3) * 1e6);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int
stat_lines(const struct request *r)
{
	struct watch w = { .target = r->target };
	double next_ms = now_ms();
	int ret;

	for (long nr = 0;; nr++) {
		struct sample rates;

		ret = watch_look(&w);
		if (ret != END_FINE)
			break;
		watch_rates(&w, &rates);
		if (r->json) {
			ret = print_json(&w, &rates);
		} else {
			if (nr % HEAD_EVERY == 0)
				print_head();
			print_line(&rates);
		}
		if (ret != END_FINE || fflush(stdout) == EOF || !r->interval ||
		    nr + 1 == r->count)
			break;
		next_ms = next_tick(next_ms, (double)r->interval * 1e3);
		sleep_until(next_ms);
	}
	watch_fini(&w);
	return ret;
}

/* A single number is the pid of a family, if there is such a family, else an interval. */
static bool
is_target(const char *word)
{
	struct families families = { 0 };
	bool found = false;
	long number;

	if (!number_read(word, 1, MOST_SECONDS, &number))
		return true;
	families_find(&families, false);
	for (int i = 0; i < families.nr; i++)
		found = found || family_has(&families.at[i], (pid_t)number);
	families_close(&families);
	return found;
}

static int
run_stat(int argc, char **argv)
{
	struct request r = { 0 };
	int nr = options_read(&verb_stat, argc, argv, &r.json, NULL), at = 1;

	if (nr < 0)
		return -1 - nr;
	/* TARGET INTERVAL COUNT, INTERVAL COUNT, or whatever the first is. */
	if (nr == 3 || (nr && is_target(argv[at])))
		r.target = argv[at++];
	if (at <= nr && !number_read(argv[at++], 1, MOST_SECONDS, &r.interval)) {
		complain("%s is no interval: whole seconds from 1 to %d", argv[at - 1],
			 MOST_SECONDS);
		return END_USAGE;
	}
	if (at <= nr && !number_read(argv[at++], 1, 1L << 30, &r.count)) {
		complain("%s is no count", argv[at - 1]);
		return END_USAGE;
	}
	if (at <= nr)
		return usage(&verb_stat);
	return stat_lines(&r);
}

const struct verb verb_stat = {
	"stat",
	"[-j|--json] [TARGET] [INTERVAL [COUNT]]",
	"one line of figures for each interval",
	"The first line is the average since the families started, the others are of their\n"
	"interval, in seconds. One family or all that fit TARGET, summed. A single number\n"
	"that is a family's pid is the TARGET, any other up to 3600 an INTERVAL.\n"
	"\n"
	"  -j, --json   an object for each line; rates per second, times in milliseconds\n"
	"\n"
	"Exit status: 0, 3 where no family fits.\n",
	false,
	run_stat
};
