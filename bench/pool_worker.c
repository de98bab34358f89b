/*
 * pool_worker: a server in which the main thread reads the requests (a line each) and a
 * worker of a pool answers with one write and then waits on a condition variable, as
 * slapd and Apache do: the worker never makes a wait call of its own.
 * Usage: pool_worker ADDRESS
 */
#include "net.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 4, MAX_FDS = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static int queue[MAX_FDS]; /* connections with a request; at most one entry each */
static unsigned queue_head, queue_tail;

static void *
worker(void *arg)
{
	static const char reply[] = "a reply of one line and sixty-four bytes, counted "
				    "with care ...\n";

	for (;;) {
		int fd;

		pthread_mutex_lock(&lock);
		while (queue_head == queue_tail)
			pthread_cond_wait(&filled, &lock);
		fd = queue[queue_head++ % MAX_FDS];
		pthread_mutex_unlock(&lock);
		if (send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL) < 0)
			continue; /* the main thread sees the end of file */
	}
	return arg;
}

static void
give_to_worker(int fd)
{
	pthread_mutex_lock(&lock);
	queue[queue_tail++ % MAX_FDS] = fd;
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&filled);
}

/* A request is one small segment here: what one read returns is whole. */
static void
read_request(struct pollfd *entry)
{
	char request[4096];

	if (read(entry->fd, request, sizeof(request)) > 0) {
		give_to_worker(entry->fd);
		return;
	}
	close(entry->fd);
	entry->fd = -1;
}

static int
compact(struct pollfd *fds, int nr)
{
	int i, kept = 0;

	for (i = 0; i < nr; i++)
		if (fds[i].fd >= 0)
			fds[kept++] = fds[i];
	return kept;
}

int
main(int argc, char **argv)
{
	struct pollfd fds[MAX_FDS] = { { .events = POLLIN } };
	pthread_t thread;
	int nr = 1, i;

	for (i = 0; i < WORKERS; i++)
		if (pthread_create(&thread, NULL, worker, NULL))
			die("pthread_create");
	fds[0].fd = net_listen(argc > 1 ? argv[1] : "127.0.0.1:0");
	for (;;) {
		if (poll(fds, (nfds_t)nr, -1) < 0)
			die("poll");
		for (i = 1; i < nr; i++)
			if (fds[i].revents)
				read_request(&fds[i]);
		if (fds[0].revents && nr < MAX_FDS) {
			fds[nr].events = POLLIN;
			fds[nr].revents = 0;
			fds[nr].fd = accept(fds[0].fd, NULL, NULL);
			nr++;
		}
		nr = compact(fds, nr);
	}
}
