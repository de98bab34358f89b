/* Reading a run: its log, its times, its metrics socket. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness_internal.h"

#define BODY_CAP (1 << 20)

int64_t
run_arrival(const struct run *run, size_t total)
{
	for (size_t i = 0; i < run->nr_arrivals; i++) {
		if (run->arrivals[i].total >= total)
			return run->arrivals[i].ns;
	}
	return -1;
}

int64_t
run_noted(const struct run *run, const char *word)
{
	char want[64];
	const char *at = run->log;
	int64_t value = -1;

	snprintf(want, sizeof want, "~%s ", word);
	while ((at = strstr(at, want))) {
		at += strlen(want);
		value = strtoll(at, NULL, 10);
	}
	return value;
}

char *
run_compared_log(const struct run *run)
{
	char *out = calloc(1, run->log_len + 1);
	size_t len = 0;

	for (const char *line = run->log; *line;) {
		size_t n = strcspn(line, "\n");

		n += line[n] == '\n';
		if (*line != '~') {
			memcpy(out + len, line, n);
			len += n;
		}
		line += n;
	}
	return out;
}

void
run_explain(const struct run *run)
{
	fprintf(stderr,
		"  %s %s, %s: status %#x, peer got %zu bytes \"%.*s%s\", end %d\n"
		"  log:\n%s  stderr:\n%s\n",
		kind_name(run->options.kind), run->options.command,
		run->options.half == NATIVE ? "native" : "preloaded",
		(unsigned)run->status, run->len, run->len > 300 ? 300 : (int)run->len,
		run->bytes, run->len > 300 ? "..." : "", (int)run->end, run->log,
		run->err);
}

static int
metrics_connect(const struct run *run)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s/%d.sock", run->dir, (int)run->pid);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

/* False: its end did not come in time. */
static int
read_answer(int fd, char *buf, int ms)
{
	size_t len = 0;
	ssize_t n = -1;

	while (len < BODY_CAP - 1 && wait_ready(fd, POLLIN, ms)) {
		n = read(fd, buf + len, BODY_CAP - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return n == 0;
}

static char *
body_of(char *answer)
{
	char *body = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.1 200", 12) != 0 || !body)
		return NULL;
	return strdup(body + 4);
}

char *
metrics_get(const struct run *run, const char *path, int ms)
{
	int64_t deadline = now_ns() + ms * INT64_C(1000000);
	char request[256], *answer, *body = NULL;
	int fd;

	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
		 path);
	answer = malloc(BODY_CAP);
	while (answer && !body && now_ns() < deadline) {
		fd = metrics_connect(run);
		if (fd >= 0) {
			(void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
			if (read_answer(fd, answer, 1000))
				body = body_of(answer);
			close(fd);
		}
		if (!body)
			poll(NULL, 0, 10); /* the socket may be about to be bound */
	}
	free(answer);
	return body;
}

double
metrics_sum(const char *body, const char *family)
{
	size_t len = strlen(family);
	double sum = 0;
	int found = 0;

	for (const char *line = body; line && *line;) {
		if (!strncmp(line, family, len) && strchr("{ ", line[len])) {
			const char *value = line + strcspn(line, "\n");

			while (value > line && value[-1] != ' ')
				value--;
			sum += strtod(value, NULL);
			found = 1;
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return found ? sum : -1;
}
