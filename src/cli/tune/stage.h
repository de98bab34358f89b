#ifndef WEIR_CLI_TUNE_STAGE_H
#define WEIR_CLI_TUNE_STAGE_H
/* cli/tune/stage: the directory in which a server and a load run under measurement: what they print,
 * and the server's metrics sockets.
 *
 * It is removed at the end, unless something failed: then the output of what failed stays there
 * under the setting's name. */
#include "cli/text.h"
#include <stdbool.h>

/* Names in the directory. */
#define SERVER_LOG "server.log"
#define LOAD_OUT "load.out"
#define LOAD_ERR "load.err"
#define SOCKETS "sockets"
#define PLOT_SCRIPT "plot.gnuplot"
#define PLOT_LOG "plot.log"

struct stage {
	struct text directory;
};

/* What went wrong. */
struct failure {
	struct text why;  /* one sentence */
	struct text file; /* that has the output; "" where that says nothing */
	struct text tail; /* its last lines */
};

/* In $TMPDIR or /tmp. 0 or -errno. */
int stage_open(struct stage *);
/* Names the directory on stderr where it has to stay. */
void stage_close(struct stage *);

/* The path of a name in it, into `path`, whose string is returned. */
const char *stage_file(const struct stage *, const char *name, struct text *path);

void stage_clear_sockets(const struct stage *);

/* Adds the end of a file, a MiB at most; bytes 0 become spaces. */
void stage_read(const char *path, struct text *out);

/* What was kept for it is of no use after all. */
void stage_forget(struct failure *);

/* Keeps a file of output, unless it is empty, and fills in where it is and its last lines. */
void stage_keep(const struct stage *, const char *setting, const char *name,
		struct failure *);

void failure_fini(struct failure *);
#endif
