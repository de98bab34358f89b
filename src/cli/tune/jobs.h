#ifndef WEIR_CLI_TUNE_JOBS_H
#define WEIR_CLI_TUNE_JOBS_H
/* cli/tune/jobs: a server and a load, and all that descends from them.
 *
 * Each is started in a session of its own. This process adopts what daemonizes or outlives its
 * parent (PR_SET_CHILD_SUBREAPER), so a server is everything that descends from this process,
 * without the load's session, and none of it is left when it was stopped. Children that this
 * process had before are not touched.
 *
 * SIGINT, SIGTERM and SIGHUP, unless they were ignored, ask for the end: they are counted, never
 * act by themselves, and cut every wait short. Seconds are those of CLOCK_MONOTONIC. */
#include "cli/tune/listen.h"
#include <stdbool.h>
#include <sys/types.h>

struct command {
	const char *path; /* what is executed */
	char *const *argv;
	const char *preload;          /* LD_PRELOAD; "" leaves it out */
	const char *const *variables; /* name, value, name, value, ..., NULL */
	const char *out, *err; /* files for its output, emptied; they may be the same */
};

struct job {
	pid_t pid; /* 0: none was started */
	bool ended;
	int status; /* of wait(2) */
};

struct jobs {
	struct job server, load;
	double reaped; /* CPU seconds of the server's processes that this one has reaped */
	int nr_stops;   /* signals that asked for the end */
	pid_t *foreign; /* children from before; ended by 0 */
};

double now_seconds(void);

void jobs_init(struct jobs *);
void jobs_fini(struct jobs *);

/* 0 or -errno. */
int jobs_start_server(struct jobs *, const struct command *);
int jobs_start_load(struct jobs *, const struct command *);

/* Sleeps until something ended, a signal asked for the end, or `seconds` went by. */
void jobs_wait(struct jobs *, double seconds);

/* True while a process of the server lives. */
bool jobs_alive(const struct jobs *);

/* What the server listens on; Unix sockets below `apart` are not counted. */
void jobs_listeners(const struct jobs *, const char *apart, struct listeners *);

/* CPU seconds of the server until now. Children that a process does not wait for are lost. */
double jobs_cpu(const struct jobs *);

/* Ends what is left of the load. */
void jobs_end_load(struct jobs *);

/* Ends the server: SIGTERM to its first process, and to each other as it loses its parent, so a
 * master can end its workers itself; after `grace` seconds, or when a second signal has come,
 * SIGKILL to all. False where something cannot be killed. */
bool jobs_end_server(struct jobs *, double grace);
#endif
