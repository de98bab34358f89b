#ifndef WEIR_CLI_FIND_H
#define WEIR_CLI_FIND_H
/* cli/find: where families have their sockets.
 *
 * Looked for in the default directories of every user, and for each process that maps the
 * library and may be looked at
 *   - among the sockets that it listens on, by the kernel's own table: that finds one wherever it
 *     is, also after the process changed its environment's memory or its directory;
 *   - where its environment says, for paths that are too long for that table.
 * Both as seen from the process's root directory, so PrivateTmp and containers hide nothing.
 * A socket found twice is one place: its device and inode tell. Whether somebody answers there is
 * not asked here. */
#include <stdbool.h>
#include <sys/types.h>

/* No user has more places: anyone may make sockets, and each that is asked takes descriptors. */
enum { PLACES_OF_ONE = 4096 };

struct place {
	char *path; /* as this process can open it, by /proc/PID/root where it has to */
	int fd;     /* of the socket, O_PATH: what was looked at is what is asked */
	dev_t dev;
	ino_t ino;
	uid_t owner;
	pid_t via; /* the process that led to it; 0: none */
};

struct places {
	struct place *at;
	int nr, cap;
};

struct seen;

/* `seen` is what is remembered of processes from one call to the next; NULL: nothing. */
void places_find(struct places *, struct seen *);

/* The socket at a path that the user gave. 0 or -errno; -ENOTSOCK. */
int places_add(struct places *, const char *path);

void places_fini(struct places *);

/* True if `name` can be what `pattern` (a value of STREAM_METRICS_SOCKET, its last component or
 * all of it) became for `program`: %p is any number, and the .PID or .PID.2 that a family adds
 * where the path is in use may follow. */
bool find_fits(const char *pattern, const char *program, const char *name);
#endif
