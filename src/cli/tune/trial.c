#include "cli/tune/trial.h"
#include "cli/cli.h"
#include "cli/find.h"
#include "cli/http.h"
#include "cli/launch.h"
#include "cli/tune/load.h"
#include "cli/proc.h"
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_SECONDS 0.02 /* between looks at a server that starts */
#define STEADY_SECONDS \
	0.1 /* once nothing was added for so long, it listens where it will */
#define DEATH_SECONDS 0.5   /* by which a server's end may follow its client's error */
#define SLOW_GRACE 1.0      /* where it is known not to help */
#define LINGER_SECONDS 70.0 /* the kernel keeps TIME_WAIT for 60 */
#define TICK_SECONDS 1.0

enum { METRICS_MS = 2000 };

bool
trial_stopped(const struct bench *b)
{
	return b->jobs.nr_stops || (b->deadline > 0 && now_seconds() >= b->deadline);
}

/* ---- how processes end ---- */

static void
ending(int status, struct text *out)
{
	if (WIFSIGNALED(status))
		text_add(out, "signal %d, %s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		text_add(out, "exit status %d", WEXITSTATUS(status));
}

static bool
crashed(int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return sig == SIGSEGV || sig == SIGABRT || sig == SIGBUS || sig == SIGILL ||
	       sig == SIGFPE || sig == SIGSYS || sig == SIGTRAP;
}

/* A server may leave its first process behind, but not by an error. */
static bool
server_failed(const struct bench *b)
{
	const struct job *server = &b->jobs.server;

	return server->ended && (server->status != 0 || !jobs_alive(&b->jobs));
}

static enum outcome
server_fails(struct bench *b, const struct setting *setting, const char *when,
	     struct failure *f)
{
	text_add(&f->why, "the server ended %s (", when);
	ending(b->jobs.server.status, &f->why);
	text_add(&f->why, ")");
	stage_keep(&b->stage, setting->name, SERVER_LOG, f);
	return TRIAL_SERVER;
}

/* ---- the server begins ---- */

static enum outcome
start_server(struct bench *b, const struct tune *t, const struct setting *setting,
	     struct failure *f)
{
	struct text log = { 0 }, sockets = { 0 };
	char chunk[24], delay[24];
	bool off = setting < t->settings + FIRST_SETTING;
	int ret;

	snprintf(chunk, sizeof chunk, "%ld", setting->chunk);
	snprintf(delay, sizeof delay, "%ld", setting->delay_us);
	stage_file(&b->stage, SERVER_LOG, &log);
	stage_file(&b->stage, SOCKETS "/%e.%p", &sockets);
	stage_clear_sockets(&b->stage);
	ret = jobs_start_server(
		&b->jobs,
		&(struct command){
			.path = b->server_path,
			.argv = t->server,
			.preload = text_string(off ? &b->without : &b->with),
			.variables =
				off ? NULL
				    : (const char
					       *const[]){ "STREAM_REQUEST_CHUNK_SIZE",
							  chunk,
							  "STREAM_RESPONSE_CHUNK_SIZE",
							  chunk, "STREAM_FLUSH_DELAY_US",
							  delay, "STREAM_METRICS_SOCKET",
							  text_string(&sockets), NULL },
			.out = text_string(&log),
			.err = text_string(&log) });
	if (ret < 0)
		text_add(&f->why, "no process can be started: %s", strerror(-ret));
	text_fini(&log);
	text_fini(&sockets);
	return ret < 0 ? TRIAL_SETUP : TRIAL_GOOD;
}

/* Until it listens; then *listener is a process that does. */
static enum outcome
wait_until_ready(struct bench *b, const struct tune *t, const struct setting *setting,
		 pid_t *listener, struct failure *f)
{
	double end = now_seconds() + (double)t->wait_seconds, since = 0;
	int nr = 0;

	while (!trial_stopped(b)) {
		struct listeners found = { 0 };
		double now;

		jobs_listeners(&b->jobs, text_string(&b->stage.directory), &found);
		now = now_seconds();
		if (found.nr != nr)
			since = now;
		nr = found.nr;
		if (nr && now - since >= STEADY_SECONDS) {
			text_clear(&b->ports);
			text_add(&b->ports, "%s", text_string(&found.ports));
			*listener = found.pid;
		}
		listeners_fini(&found);
		if (*listener)
			return TRIAL_GOOD;
		if (server_failed(b))
			return server_fails(b, setting, "before it listened", f);
		if (now >= end) {
			text_add(&f->why,
				 "the server did not listen on a TCP or Unix socket "
				 "within %ld s%s; --wait allows more",
				 t->wait_seconds,
				 geteuid() ? ", or as another user out of sight" : "");
			stage_keep(&b->stage, setting->name, SERVER_LOG, f);
			return TRIAL_SERVER;
		}
		jobs_wait(&b->jobs, LOOK_SECONDS);
	}
	return TRIAL_STOPPED;
}

static void
explain_missing(pid_t listener, const char *library, struct failure *f)
{
	char exe[32], program[PATH_MAX];
	struct text why = { 0 };
	bool uring;

	snprintf(exe, sizeof exe, "/proc/%d/exe", (int)listener);
	if (!proc_link(listener, "exe", program, sizeof program))
		snprintf(program, sizeof program, "the server");
	if (program_obstacle(exe, program, &why, &uring) != OBSTACLE_NONE)
		text_add(&f->why, "%s", text_string(&why));
	else
		text_add(&f->why,
			 "%s is not in the process that listens, %s: what starts it clears "
			 "LD_PRELOAD; give weir tune the server's own command",
			 library, program);
	text_fini(&why);
}

/* Off has to be without the library, and the others with it. */
static enum outcome
check_library(bool off, pid_t listener, struct failure *f)
{
	const char *name = strrchr(launch_library(), '/') + 1;
	struct text maps = { 0 };
	bool known = proc_read(listener, "maps", &maps) && maps.len;

	text_fini(&maps);
	if (!known || proc_maps(listener, name) != off)
		return TRIAL_GOOD;
	if (!off)
		explain_missing(listener, name, f);
	else
		text_add(&f->why,
			 "the server has %s although it was not preloaded: take it out of "
			 "what starts the server, or of /etc/ld.so.preload",
			 name);
	return TRIAL_SETUP;
}

static enum outcome
begin(struct bench *b, const struct tune *t, const struct setting *setting,
      struct failure *f)
{
	bool off = setting < t->settings + FIRST_SETTING;

	for (bool again = false;; again = true) {
		pid_t listener = 0;
		enum outcome o = start_server(b, t, setting, f);
		double end;

		if (o == TRIAL_GOOD)
			o = wait_until_ready(b, t, setting, &listener, f);
		if (o == TRIAL_GOOD)
			return check_library(off, listener, f);
		if (o != TRIAL_SERVER || again || !ports_linger(text_string(&b->ports)))
			return o;
		/* It may be that it cannot bind: then it can a minute later. */
		jobs_end_server(&b->jobs, 0);
		end = now_seconds() + LINGER_SECONDS;
		stage_forget(f);
		if (!b->lingers) {
			b->clear(b->arg);
			complain("tune: the server does not set SO_REUSEADDR, and "
				 "connections of the run before keep its port for a "
				 "minute: waiting each time");
		}
		b->lingers = true;
		while (ports_linger(text_string(&b->ports)) && now_seconds() < end) {
			if (trial_stopped(b))
				return TRIAL_STOPPED;
			b->tick(b->arg);
			jobs_wait(&b->jobs, TICK_SECONDS);
		}
	}
}

/* ---- the load ---- */

static enum outcome
load_fails(struct bench *b, const struct setting *setting, struct failure *f)
{
	double end = now_seconds() + DEATH_SECONDS;

	while (!server_failed(b) && now_seconds() < end)
		jobs_wait(&b->jobs, LOOK_SECONDS);
	if (server_failed(b))
		return server_fails(b, setting, "during the load", f);
	text_add(&f->why, "the load failed (");
	ending(b->jobs.load.status, &f->why);
	text_add(&f->why, ")");
	stage_keep(&b->stage, setting->name, LOAD_ERR, f);
	if (!f->file.len)
		stage_keep(&b->stage, setting->name, LOAD_OUT, f);
	return TRIAL_LOAD;
}

/* The number in its output, or what its time is worth. */
static enum outcome
value_of(struct bench *b, const struct tune *t, const struct setting *setting,
	 struct trial *trial, struct failure *f)
{
	static const char *const outputs[] = { LOAD_OUT, LOAD_ERR };
	bool found = false;

	trial->value = 1 / trial->seconds;
	if (!t->metric)
		return TRIAL_GOOD;
	for (int i = 0; i < 2 && !found; i++) {
		struct text path = { 0 }, output = { 0 };

		stage_read(stage_file(&b->stage, outputs[i], &path), &output);
		found = load_metric(&t->expression, text_string(&output), &trial->value);
		text_fini(&path);
		text_fini(&output);
	}
	if (found)
		return TRIAL_GOOD;
	text_add(&f->why,
		 "--metric %s finds no number above 0 in the load's output; see weir help "
		 "tune for how to write it",
		 t->metric);
	stage_keep(&b->stage, setting->name, LOAD_OUT, f);
	return TRIAL_LOAD;
}

static enum outcome
run_load(struct bench *b, const struct tune *t, struct trial *trial, struct failure *f)
{
	const struct setting *setting = &t->settings[trial->setting];
	struct text out = { 0 }, err = { 0 };
	char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" },
			       t->loads[trial->load].command.at, NULL };
	struct timespec at;
	double begin;
	int ret;

	clock_gettime(CLOCK_REALTIME, &at);
	trial->at_ms = (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
	trial->cpu = jobs_cpu(&b->jobs);
	begin = now_seconds();
	ret = jobs_start_load(
		&b->jobs,
		&(struct command){ .path = "/bin/sh",
				   .argv = argv,
				   .preload = text_string(&b->without),
				   .out = stage_file(&b->stage, LOAD_OUT, &out),
				   .err = stage_file(&b->stage, LOAD_ERR, &err) });
	text_fini(&out);
	text_fini(&err);
	if (ret < 0) {
		text_add(&f->why, "no process can be started: %s", strerror(-ret));
		return TRIAL_SETUP;
	}
	while (!b->jobs.load.ended && !trial_stopped(b) && !server_failed(b)) {
		b->tick(b->arg);
		jobs_wait(&b->jobs, TICK_SECONDS);
	}
	trial->seconds = now_seconds() - begin;
	trial->cpu = jobs_cpu(&b->jobs) - trial->cpu;
	if (server_failed(b))
		return server_fails(b, setting, "during the load", f);
	if (!b->jobs.load.ended)
		return TRIAL_STOPPED;
	if (b->jobs.load.status)
		return load_fails(b, setting, f);
	return value_of(b, t, setting, trial, f);
}

/* ---- the server ends ---- */

/* How long bytes were held, by all families that the server has. */
static void
add_holds(const struct bench *b, struct holds *sum)
{
	struct text path = { 0 };
	DIR *dir = opendir(stage_file(&b->stage, SOCKETS, &path));
	struct places places = { 0 };
	struct http_get *gets;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct text socket = { 0 };

		text_add(&socket, "%s/%s", text_string(&path), entry->d_name);
		places_add(&places, text_string(&socket));
		text_fini(&socket);
	}
	if (dir)
		closedir(dir);
	gets = have(calloc((size_t)places.nr + 1, sizeof *gets));
	for (int i = 0; i < places.nr; i++) {
		gets[i].socket = places.at[i].fd;
		gets[i].target = "/metrics";
	}
	http_run(gets, places.nr, METRICS_MS);
	for (int i = 0; i < places.nr; i++) {
		struct holds holds;

		if (!gets[i].error) {
			holds_read(gets[i].body, &holds);
			holds_add(sum, &holds, 1);
		}
		free(gets[i].body);
	}
	free(gets);
	places_fini(&places);
	text_fini(&path);
}

static void
end_server(struct bench *b, const struct tune *t)
{
	double begin = now_seconds(), grace = (double)t->grace_seconds;

	if (b->slow_end && grace > SLOW_GRACE)
		grace = SLOW_GRACE;
	if (!jobs_end_server(&b->jobs, grace)) {
		b->clear(b->arg);
		complain("tune: a process of the server cannot be ended");
	} else if (!b->slow_end && !b->jobs.nr_stops && now_seconds() - begin >= grace) {
		b->slow_end = true;
		b->clear(b->arg);
		complain("tune: the server did not end within %.0f s of SIGTERM and was "
			 "killed; from now on it gets %.0f s",
			 grace, grace < SLOW_GRACE ? grace : SLOW_GRACE);
	}
}

/* How it ended says something only where nothing failed before. */
static enum outcome
check_end(struct bench *b, const struct setting *setting, bool off, struct failure *f)
{
	int status = b->jobs.server.status;

	if (off)
		b->end_status = status;
	else if (crashed(status) && status != b->end_status)
		return server_fails(b, setting, "by a crash when it was stopped", f);
	return TRIAL_GOOD;
}

enum outcome
trial_run(struct bench *b, struct tune *t, struct trial *trial, struct failure *f)
{
	struct setting *setting = &t->settings[trial->setting];
	bool off = trial->setting < FIRST_SETTING;
	enum outcome o = begin(b, t, setting, f);

	if (o == TRIAL_GOOD)
		o = run_load(b, t, trial, f);
	jobs_end_load(&b->jobs);
	if (o == TRIAL_GOOD && !off)
		add_holds(b, &t->holds[trial->setting][trial->load]);
	end_server(b, t);
	return o == TRIAL_GOOD ? check_end(b, setting, off, f) : o;
}
