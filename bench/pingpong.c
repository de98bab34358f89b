/*
 * pingpong: how long a blocking request and its reply take, both of one size.
 *
 *   pingpong serve SIZE ADDRESS         reads SIZE bytes, writes them back
 *   pingpong ask SIZE ADDRESS COUNT     does COUNT of them after a tenth as warm-up, and
 *                                       prints {"p50_ns","p99_ns"}
 */
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_SIZE = 4096 };

static void
no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void
serve(const char *address, size_t size)
{
	int listener = net_listen(address);
	char bytes[MAX_SIZE];

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		no_delay(fd);
		/* A message is one small segment: what one recv returns is whole. */
		while (recv(fd, bytes, size, 0) == (ssize_t)size)
			net_send_all(fd, bytes, size);
		close(fd);
	}
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
ask(const char *address, size_t size, long count)
{
	uint64_t *took = calloc((size_t)count, sizeof(*took));
	char out[MAX_SIZE], in[MAX_SIZE];
	int fd = net_connect(address);
	long i;

	if (!took)
		die("calloc");
	no_delay(fd);
	for (i = -count / 10; i < count; i++) {
		uint64_t begin = now_ns(CLOCK_MONOTONIC);

		memset(out, (int)i, size);
		net_send_all(fd, out, size);
		if (recv(fd, in, size, MSG_WAITALL) != (ssize_t)size ||
		    memcmp(in, out, size) != 0) {
			errno = EBADMSG;
			die("not what was sent");
		}
		if (i >= 0)
			took[i] = now_ns(CLOCK_MONOTONIC) - begin;
	}
	qsort(took, (size_t)count, sizeof(*took), by_value);
	printf("{\"p50_ns\":%llu,\"p99_ns\":%llu}\n",
	       (unsigned long long)took[count / 2],
	       (unsigned long long)took[count * 99 / 100]);
	free(took);
}

int
main(int argc, char **argv)
{
	const char *how = argc > 3 ? argv[1] : "";
	size_t size = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (size == 0 || size > MAX_SIZE)
		how = "";
	if (strcmp(how, "serve") == 0) {
		serve(argv[3], size);
	} else if (strcmp(how, "ask") == 0 && argc == 5 && atol(argv[4]) > 0) {
		ask(argv[3], size, atol(argv[4]));
	} else {
		fprintf(stderr, "usage: pingpong serve SIZE ADDRESS | "
				"ask SIZE ADDRESS COUNT\n");
		return 2;
	}
	return 0;
}
