/* The peer's sockets: TCP on the loopback, AF_UNIX in the run's directory. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

int
wait_ready(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static int
is_tcp(const struct run *run)
{
	return run->options.kind == TCP_ACCEPT || run->options.kind == TCP_CONNECT;
}

static socklen_t
unix_address(const struct run *run, struct sockaddr_un *un)
{
	memset(un, 0, sizeof *un);
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof un->sun_path, "%s/stream", run->dir);
	return sizeof *un;
}

static int
peer_socket(struct run *run)
{
	int family = is_tcp(run) ? AF_INET : AF_UNIX, one = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (run->options.rcvbuf)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &run->options.rcvbuf, sizeof(int));
	if (run->options.oob_inline)
		setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
	return fd;
}

int
peer_listen(struct run *run, char *address, size_t cap)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un;
	socklen_t len = sizeof in;
	int fd = peer_socket(run);

	if (is_tcp(run)) {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
		snprintf(address, cap, "%d", ntohs(in.sin_port));
	} else {
		len = unix_address(run, &un);
		assert_int_equal(bind(fd, (struct sockaddr *)&un, len), 0);
		assert_int_equal(chmod(un.sun_path, 0777), 0);
		snprintf(address, cap, "%s", un.sun_path);
	}
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* The actor says that this machine refuses it what the scenario needs. */
static int
gave_up(struct run *run)
{
	run_for(run, 1);
	return strstr(run->log, "skip") != NULL;
}

int
peer_accept(struct run *run)
{
	int fd;

	for (int i = 0; !wait_ready(run->listener, POLLIN, 10); i++) {
		if (gave_up(run))
			return -1;
		if (i == HANG_MS / 10) {
			run_explain(run);
			fail_msg("the actor did not connect");
		}
	}
	fd = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* The actor says "~port N" once it listens; N is 0 for AF_UNIX. */
int
peer_connect(struct run *run)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un;
	int fd, rc;

	if (!run_until_log(run, "~port ", HANG_MS)) {
		if (gave_up(run))
			return -1;
		run_explain(run);
		fail_msg("the actor did not listen");
	}
	fd = peer_socket(run);
	if (is_tcp(run)) {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in.sin_port = htons((uint16_t)run_noted(run, "port"));
		rc = connect(fd, (struct sockaddr *)&in, sizeof in);
	} else {
		socklen_t len = unix_address(run, &un);

		rc = connect(fd, (struct sockaddr *)&un, len);
	}
	assert_int_equal(rc, 0);
	return fd;
}
