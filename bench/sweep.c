/*
 * sweep: what a chunk takes from its first byte written to its last byte read, through
 * sockets. One thread is at both ends of all streams, so that nothing but calls, copies
 * and the library is in the figures; the chunk size is the preloaded library's.
 *
 *   sweep tcp|unix STREAMS CHUNK MS
 *
 * A chunk is written and read as records of 256 bytes, each with its number. After every
 * stream has moved one there are two halves of MS / 2 milliseconds: one chunk under way
 * at a time, on one stream after the other; then one on every stream, 200 at a time, for
 * which there is room in the kernel at every chunk size. Prints {"chunks","p50_ns","p99_ns","mb_s"}: all
 * chunks moved, what one took in the first half, and the megabytes (10^6) a second of
 * the other.
 */
#include "net.h"
#include "sweep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 256, MAX_STREAMS = 4096, UNDER_WAY = 200, LIMIT_S = 120 };

static struct {
	int to, from;
	uint64_t written, read; /* records */
} streams[MAX_STREAMS];
static int nr_streams;
static size_t nr_records; /* of a chunk */
static uint64_t nr_chunks;

static void
open_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), i;

	if (listener < 0 || bind(listener, (struct sockaddr *)&a, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0)
		die("listen");
	for (i = 0; i < nr_streams; i++) {
		streams[i].from = socket(AF_INET, SOCK_STREAM, 0);
		if (streams[i].from < 0 ||
		    connect(streams[i].from, (struct sockaddr *)&a, len) < 0)
			die("connect");
		streams[i].to = accept(listener, NULL, NULL);
		if (streams[i].to < 0)
			die("accept");
	}
}

static void
open_unix(void)
{
	int i, pair[2];

	for (i = 0; i < nr_streams; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			die("socketpair");
		streams[i].to = pair[0];
		streams[i].from = pair[1];
	}
}

static void
write_chunk(int i)
{
	char record[RECORD] = { 0 };
	size_t n;

	for (n = 0; n < nr_records; n++) {
		memcpy(record, &streams[i].written, sizeof(streams[i].written));
		if (send(streams[i].to, record, RECORD, MSG_NOSIGNAL) != RECORD)
			die("send");
		streams[i].written++;
	}
}

static void
read_chunk(int i)
{
	char record[RECORD];
	size_t n;

	for (n = 0; n < nr_records; n++) {
		if (recv(streams[i].from, record, RECORD, MSG_WAITALL) != RECORD ||
		    memcmp(record, &streams[i].read, sizeof(streams[i].read)) != 0) {
			errno = EBADMSG;
			die("not the record that is due");
		}
		streams[i].read++;
	}
	nr_chunks++;
}

static void
one_on_every_stream(void)
{
	int begin, end, i;

	for (begin = 0; begin < nr_streams; begin = end) {
		end = begin + UNDER_WAY < nr_streams ? begin + UNDER_WAY : nr_streams;
		for (i = begin; i < end; i++)
			write_chunk(i);
		for (i = begin; i < end; i++)
			read_chunk(i);
	}
}

int
main(int argc, char **argv)
{
	uint64_t begin, end, before, span_ns;

	nr_streams = argc == 5 ? atoi(argv[2]) : 0;
	if (nr_streams < 1 || nr_streams > MAX_STREAMS || atol(argv[3]) < RECORD) {
		fprintf(stderr, "usage: sweep tcp|unix STREAMS CHUNK MS\n");
		return 2;
	}
	alarm(LIMIT_S);
	nr_records = strtoul(argv[3], NULL, 10) / RECORD;
	span_ns = strtoull(argv[4], NULL, 10) * 500000u;
	if (strcmp(argv[1], "unix") == 0)
		open_unix();
	else
		open_tcp();
	one_on_every_stream();
	printf("{");
	sweep_one_at_a_time(span_ns, nr_streams, write_chunk, read_chunk);
	before = nr_chunks;
	begin = end = now_ns(CLOCK_MONOTONIC);
	while (end - begin < span_ns) {
		one_on_every_stream();
		end = now_ns(CLOCK_MONOTONIC);
	}
	printf("\"mb_s\":%.1f,\"chunks\":%llu}\n",
	       (double)((nr_chunks - before) * nr_records * RECORD) * 1e3 /
		       (double)(end - begin),
	       (unsigned long long)nr_chunks);
	return 0;
}
