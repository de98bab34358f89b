#ifndef WEIR_CLI_HTTP_H
#define WEIR_CLI_HTTP_H
/* cli/http: HTTP/1.1 over Unix sockets, many at once, all within one time-out.
 *
 * What listens is not trusted: an answer is bounded, must say its Content-Length and keep to
 * it, and one that is slow delays the others by no more than the time-out. */
#include <stddef.h>
#include <sys/types.h>

struct text;

/* Of one answer; and of all of them together: beyond, each may have its share of that. */
enum { HTTP_MOST_BYTES = 64 << 20, HTTP_MOST_ALL = 128 << 20 };

struct http_get {
	int socket;         /* in: a descriptor of the socket's path, O_PATH */
	const char *target; /* in: "/metrics.json" */
	size_t most;        /* in: bytes that an answer may have; 0: HTTP_MOST_BYTES */
	/* Out: 0 and a body, or -errno: -ETIMEDOUT, -ECONNREFUSED (nobody listens),
	 * -ECONNRESET (it ended meanwhile), -EACCES, -EPROTO (no proper answer),
	 * -EREMOTEIO (a status other than 200), -EMSGSIZE, ... */
	int error;
	int status; /* out: of HTTP, 0 where there was none */
	char *body; /* out: ended by a NUL that `len` does not count; to be freed */
	size_t len;
	pid_t peer; /* out: the process that listens, as this process numbers it; 0: unknown */
};

void http_run(struct http_get *gets, int nr, int timeout_ms);

/* The answer in `raw`, whole as far as its sender is concerned. Fills status, error, body, len. */
void http_parse(struct http_get *get, const char *raw, size_t len);
#endif
