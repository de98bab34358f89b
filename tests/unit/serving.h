#ifndef TESTS_SERVING_H
#define TESTS_SERVING_H
/* A metrics socket in a directory of the test's own, served by a thread of this process, and
 * a client of it. Every wait is bounded by PATIENCE_MS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/sys.h"
#include "count/member.h"
#include "json_check.h"
#include "metrics/metrics.h"
#include "metrics/place.h"
#include "metrics/request.h"
#include "metrics/server.h"

enum { PATIENCE_MS = 20000 };

static struct config settings = {
	.request_chunk = 32768,
	.response_chunk = 32768,
	.pool_max = 268435456,
	.delay_us = 500,
	.socket_mode = 0600,
	.log_level = 2,
	.enabled = true,
	.pool_enabled = true,
	.metrics = true,
	.programs = "*",
	.program = "test",
};
static char dir[] = "/tmp/weir-test-XXXXXX";
static char answer_text[8 << 20];

static inline int
dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { PATIENCE_MS / 1000, 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, place_path());
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static inline void
say(int fd, const char *p, size_t len)
{
	assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* All that comes until the end, which must be one: no reset. Closes `fd`. */
static inline const char *
hear(int fd)
{
	size_t len = 0;
	ssize_t nr;

	while ((nr = recv(fd, answer_text + len, sizeof answer_text - 1 - len, 0)) > 0)
		len += (size_t)nr;
	assert_int_equal(nr, 0);
	answer_text[len] = '\0';
	close(fd);
	return answer_text;
}

static inline const char *
ask(const char *request)
{
	int fd = dial();

	say(fd, request, strlen(request));
	return hear(fd);
}

static inline const char *
get(const char *target)
{
	char request[4096];

	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
		 target);
	return ask(request);
}

static inline int
status_of(const char *answer)
{
	int status = 0;

	if (sscanf(answer, "HTTP/1.1 %d ", &status) != 1)
		fail_msg("no answer: %.80s", answer);
	assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
	return status;
}

/* The body, which is as long as the answer says. */
static inline const char *
body_of(const char *answer)
{
	const char *length = strstr(answer, "\r\nContent-Length: ");
	const char *body = strstr(answer, "\r\n\r\n");

	assert_non_null(length);
	assert_non_null(body);
	assert_int_equal(strlen(body + 4), atoi(length + 18));
	return body + 4;
}

static inline int
setup(void **state)
{
	(void)state;
	config = &settings;
	assert_non_null(mkdtemp(dir));
	snprintf(settings.socket, sizeof settings.socket, "%s/s", dir);
	assert_true(region_init());
	region_join(0);
	metrics_bind();
	assert_true(metrics_undecided);
	metrics_member_sleeps();
	assert_false(metrics_undecided);
	return 0;
}

static inline int
teardown(void **state)
{
	char path[sizeof dir + 8];
	struct stat st;

	(void)state;
	metrics_end(true);
	snprintf(path, sizeof path, "%s/s", dir);
	if (stat(path, &st) == 0 || rmdir(dir) < 0)
		return -1;
	return 0;
}
#endif
