#ifndef WEIR_CLI_SEEN_H
#define WEIR_CLI_SEEN_H
/* cli/seen: what was found out about each process, for who looks for families again and again.
 *
 * To read what ten thousand processes map takes seconds, and it changes only where one executes
 * another program. So that is remembered with the program's file, and looked at anew there; soon
 * once more, as a program's libraries come a moment after itself; and after SEEN_MS in any case,
 * for a process that executed the same file again. */
#include <stdbool.h>
#include <sys/types.h>

enum { SEEN_MS = 60000 };

struct seen_process {
	pid_t pid;
	dev_t dev; /* of its program's file */
	ino_t ino;
	bool maps;            /* the library */
	int nr_maps;          /* how often that was looked at */
	double maps_again_ms; /* when it has to be */
	bool first;           /* it was there when looking began */
	char *path;           /* of its socket, below its root; NULL: none was found */
	int fruitless;        /* looks that found no socket, one after another */
	double again_ms;      /* no such look before */
};

struct seen {
	struct seen_process *at, *before; /* by pid: of this round, of the one before */
	int nr, cap, nr_before;
};

/* A round begins: processes that it does not come to are forgotten at the next. */
void seen_begin(struct seen *);

/* What is known of the process; NULL: it has no program, or may not be looked at. Valid until the
 * next call. */
struct seen_process *seen_get(struct seen *, pid_t pid);

/* True where its maps have to be read: then say so with the result. */
bool seen_wants_maps(const struct seen_process *);
void seen_maps(struct seen_process *, bool maps);

/* True where it is time to look for its socket; then say so if there is none. */
bool seen_wants_look(const struct seen_process *);
void seen_nothing(struct seen_process *);

void seen_fini(struct seen *);
#endif
