#ifndef WEIR_CLI_EXPORT_SERVE_H
#define WEIR_CLI_EXPORT_SERVE_H
/* cli/export/serve: an HTTP server on a TCP address, for weir export. libmicrohttpd speaks HTTP; a
 * command that was built without it says so and serves nothing.
 *
 * A connection has a thread, one request, and a bounded time; the number of them is bounded. So
 * `answer` is called by several threads at once and may take its time. */
#include <stdbool.h>
#include <stddef.h>

struct question {
	const char *path;
	const char *accept; /* the header, NULL: none */
	/* Of the query, NULL: not in it. */
	const char *sort, *state, *limit, *socket;
};

struct reply {
	int status;
	const char *type; /* constant */
	const char *policy; /* Content-Security-Policy, NULL: the strictest. The server frees it */
	char *body; /* the server frees it */
	size_t len;
};

struct service {
	void (*answer)(const struct question *, struct reply *, void *arg);
	void (*begin)(void *arg); /* called once, when it listens */
	void *arg;
};

/* Takes "ADDR:PORT" apart, for an IPv6 address "[ADDR]:PORT", listens there and answers until
 * SIGINT or SIGTERM. An exit status; a place that cannot be had is complained of. */
int serve(const char *address, const struct service *);
#endif
