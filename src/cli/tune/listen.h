#ifndef WEIR_CLI_TUNE_LISTEN_H
#define WEIR_CLI_TUNE_LISTEN_H
/* cli/tune/listen: what processes listen on: TCP and Unix sockets, by the kernel's tables of the
 * process's own network namespace. */
#include "cli/text.h"
#include <stdbool.h>
#include <sys/types.h>

struct listeners {
	int nr;    /* sockets; one that several processes have counts for each */
	pid_t pid; /* the last process that listens; 0: none does */
	struct text ports; /* " 80 443 ", the TCP ports among them */
};

/* Adds those of a process; Unix sockets below `apart` are not counted. */
void listeners_add(struct listeners *, pid_t pid, const char *apart);
void listeners_fini(struct listeners *);

/* True while the kernel keeps a connection that no process has any more on one of the ports, so
 * that a server without SO_REUSEADDR cannot bind there: a minute after who closes first. */
bool ports_linger(const char *ports);
#endif
