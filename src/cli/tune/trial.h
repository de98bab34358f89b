#ifndef WEIR_CLI_TUNE_TRIAL_H
#define WEIR_CLI_TUNE_TRIAL_H
/* cli/tune/trial: one run of the server under one setting with one load: the server is started, has to
 * listen, the load runs to its end, the metrics are asked, and the server is ended. */
#include "cli/tune/jobs.h"
#include "cli/tune/stage.h"
#include "cli/tune/tune.h"

enum outcome {
	TRIAL_GOOD,
	TRIAL_SERVER, /* the server failed: it ended, or never listened */
	TRIAL_LOAD,   /* the load failed, or had no number */
	TRIAL_SETUP,  /* it would not measure what it is meant to */
	TRIAL_STOPPED /* a signal asked for the end, or the time was up */
};

struct bench {
	struct jobs jobs;
	struct stage stage;
	const char *server_path;
	struct text with, without; /* values of LD_PRELOAD */
	struct text ports;         /* where the server listened */
	double deadline;           /* of now_seconds(); 0: none */
	int end_status;            /* how the server ends without the library */
	bool slow_end;             /* SIGTERM does not end it */
	bool lingers;              /* its port was not free at once */
	void (*tick)(void *arg);   /* called about once a second while one waits */
	void (*clear)(void *arg);  /* called before a line goes to stderr */
	void *arg;
};

/* Runs what trial->setting and trial->load say, and fills in the rest. `failure`, where the
 * outcome is not TRIAL_GOOD, is to be given back by failure_fini(). */
enum outcome trial_run(struct bench *, struct tune *, struct trial *, struct failure *);

/* True once a signal asked for the end, or the time is up. */
bool trial_stopped(const struct bench *);
#endif
