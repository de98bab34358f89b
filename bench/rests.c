/*
 * rests: a busy loop over many clients that have sent more than it reads at a time.
 *
 *   rests ADDRESS CLIENTS REQUESTS
 *
 * Accepts CLIENTS connections. Then, again and again and without a wait call, it reads
 * eight requests of 64 bytes from each and echoes each in four writes, until it has done
 * REQUESTS for every client. Prints {"seconds"} and waits to be ended.
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST = 64, PIECE = 16, VISIT = 8 };

static struct client {
	int fd;
	int left; /* requests */
} * clients;

static void
echo(int fd, const char *request)
{
	int i;

	for (i = 0; i < REQUEST; i += PIECE)
		net_send_all(fd, request + i, PIECE);
}

/* A request was sent in one piece, so it is there as a whole or not yet. */
static void
visit(struct client *c)
{
	char request[REQUEST];
	int i;

	for (i = 0; i < VISIT && c->left > 0; i++) {
		ssize_t n = recv(c->fd, request, sizeof(request), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n != REQUEST)
			die("recv");
		echo(c->fd, request);
		c->left--;
	}
}

static void
serve(int nr_clients)
{
	int busy = 1, i;

	while (busy) {
		busy = 0;
		for (i = 0; i < nr_clients; i++) {
			visit(&clients[i]);
			busy |= clients[i].left > 0;
		}
	}
}

int
main(int argc, char **argv)
{
	int nr_clients = argc == 4 ? atoi(argv[2]) : 0, listener, i;
	uint64_t begin;

	if (nr_clients < 1) {
		fprintf(stderr, "usage: rests ADDRESS CLIENTS REQUESTS\n");
		return 2;
	}
	clients = calloc((size_t)nr_clients, sizeof(*clients));
	if (!clients)
		die("calloc");
	listener = net_listen(argv[1]);
	for (i = 0; i < nr_clients; i++) {
		clients[i].fd = accept(listener, NULL, NULL);
		clients[i].left = atoi(argv[3]);
		if (clients[i].fd < 0)
			die("accept");
	}
	begin = now_ns(CLOCK_MONOTONIC);
	serve(nr_clients);
	printf("{\"seconds\":%.6f}\n", (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1e9);
	fflush(stdout);
	for (;;)
		pause();
}
