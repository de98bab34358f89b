/*
 * recv64: what a loop of 64-byte recvs from a full queue costs, in CPU time.
 *
 *   recv64 plain ADDRESS BURSTS   each record one recv(2)
 *   recv64 hand ADDRESS BURSTS    the same loop rewritten by hand: a function copies
 *                                 out of 32 KiB and receives when they are used up
 *   recv64 feed ADDRESS           the peer
 *
 * The receiver prints its address and accepts two connections: one for records, one on
 * which it asks for a burst of 2,048 of them and hears when all of it is sent. So its
 * loop never waits, and the queue is as full as it gets. It checks each record's number
 * and prints {"recvs","cpu_ns"}: user and system time of the whole process, helper
 * threads included, while it was in the loop. The first eighth of the bursts is warm-up
 * and not in the figures.
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

enum {
	RECORD = 64,
	CHUNK = 32 << 10,
	BURST = 128 << 10, /* what an AF_UNIX queue of the default size takes at once */
	RECORDS = BURST / RECORD
};

static char chunk[CHUNK];
static size_t chunk_pos, chunk_len;

/* noinline: a library call in its place could not be inlined either. */
static __attribute__((noinline)) ssize_t
hand_recv(int fd, void *p, size_t len)
{
	size_t left = chunk_len - chunk_pos;

	if (left < len) {
		ssize_t n;

		memmove(chunk, chunk + chunk_pos, left);
		n = recv(fd, chunk + left, sizeof(chunk) - left, 0);
		if (n <= 0)
			return n;
		chunk_pos = 0;
		chunk_len = left + (size_t)n;
		if (chunk_len < len)
			len = chunk_len;
	}
	memcpy(p, chunk + chunk_pos, len);
	chunk_pos += len;
	return (ssize_t)len;
}

static ssize_t
one_recv(int fd, int by_hand, void *p, size_t len)
{
	return by_hand ? hand_recv(fd, p, len) : recv(fd, p, len, 0);
}

static void
receive_burst(int fd, int by_hand, long first)
{
	char record[RECORD];
	long i, number;

	for (i = 0; i < RECORDS; i++) {
		ssize_t n = one_recv(fd, by_hand, record, sizeof(record));

		/* Where the window is smaller than a burst, a record may come in two. */
		while (__builtin_expect(n > 0 && n < RECORD, 0)) {
			ssize_t more = one_recv(fd, by_hand, record + n,
						sizeof(record) - (size_t)n);

			n = more > 0 ? n + more : more;
		}
		memcpy(&number, record, sizeof(number));
		if (n != RECORD || number != first + i) {
			errno = 0;
			die("a record is not the next one");
		}
	}
}

static void
receive(const char *address, int by_hand, long bursts)
{
	int listener = net_listen(address), size = 4 * BURST;
	int data, control;
	uint64_t spent = 0;
	long i, warm_up = bursts / 8;
	char sent;

	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	data = accept(listener, NULL, NULL);
	control = accept(listener, NULL, NULL);
	if (data < 0 || control < 0)
		die("accept");
	for (i = 0; i < bursts; i++) {
		uint64_t before;

		net_send_all(control, "g", 1);
		if (recv(control, &sent, 1, 0) != 1)
			die("the peer went away");
		before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		receive_burst(data, by_hand, i * RECORDS);
		if (i >= warm_up)
			spent += now_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	}
	printf("{\"recvs\":%ld,\"cpu_ns\":%llu}\n", (bursts - warm_up) * RECORDS,
	       (unsigned long long)spent);
}

static void
feed(const char *address)
{
	static char burst[BURST];
	int data = net_connect(address), control = net_connect(address);
	long number = 0;
	int on = 1;
	char go;

	/* The end of a burst must not wait until the loop has read the rest of it. */
	setsockopt(data, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	memset(burst, 'w', sizeof(burst));
	while (recv(control, &go, 1, 0) == 1) {
		size_t at;

		for (at = 0; at < BURST; at += RECORD, number++)
			memcpy(burst + at, &number, sizeof(number));
		net_send_all(data, burst, sizeof(burst));
		net_send_all(control, "s", 1);
	}
}

int
main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";

	if (strcmp(how, "feed") == 0) {
		feed(argv[2]);
	} else if (argc == 4 && (strcmp(how, "plain") == 0 || strcmp(how, "hand") == 0)) {
		receive(argv[2], strcmp(how, "hand") == 0, atol(argv[3]));
	} else {
		fprintf(stderr, "usage: recv64 plain|hand ADDRESS BURSTS | "
				"feed ADDRESS\n");
		return 2;
	}
	return 0;
}
