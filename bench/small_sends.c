/*
 * small_sends: what a loop of 64-byte sends costs its sender, in CPU time.
 *
 *   small_sends plain ADDRESS COUNT   each record one send(2)
 *   small_sends hand ADDRESS COUNT    the same loop rewritten by hand: a function
 *                                     copies into 32 KiB and sends when full
 *   small_sends drain ADDRESS         the peer: says one byte, then reads to the end
 *
 * The sender prints its address, accepts one peer, reads the peer's byte, sends, and
 * prints {"sends","cpu_ns"}: user and system time of the whole process, helper threads
 * included, from the first record until the last one is with the kernel.
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 64, CHUNK = 32 << 10 };

static char chunk[CHUNK];
static size_t chunk_len;

/* noinline: a library call in its place could not be inlined either. */
static __attribute__((noinline)) ssize_t
hand_send(int fd, const void *p, size_t len)
{
	if (chunk_len + len > sizeof(chunk)) {
		net_send_all(fd, chunk, chunk_len);
		chunk_len = 0;
	}
	memcpy(chunk + chunk_len, p, len);
	chunk_len += len;
	return (ssize_t)len;
}

static unsigned long long
cpu_ns(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (unsigned long long)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) *
		       1000000000u +
	       (unsigned long long)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000u;
}

static void
send_records(int fd, int by_hand, long count)
{
	char record[RECORD];
	long i;

	memset(record, 'w', sizeof(record));
	for (i = 0; i < count; i++) {
		ssize_t n;

		memcpy(record, &i, sizeof(i));
		if (by_hand)
			n = hand_send(fd, record, sizeof(record));
		else
			n = send(fd, record, sizeof(record), 0);
		if (n != RECORD)
			die("send");
	}
	if (by_hand)
		net_send_all(fd, chunk, chunk_len);
	if (shutdown(fd, SHUT_WR) < 0)
		die("shutdown");
}

static void
drain(const char *address)
{
	static char buffer[1 << 20];
	int fd = net_connect(address);
	unsigned long long total = 0;
	ssize_t n;

	net_send_all(fd, "g", 1);
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		total += (unsigned long long)n;
	printf("{\"bytes\":%llu}\n", total);
}

int
main(int argc, char **argv)
{
	unsigned long long before;
	char go;
	int fd;

	if (argc == 3 && strcmp(argv[1], "drain") == 0) {
		drain(argv[2]);
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: small_sends plain|hand|drain ADDRESS COUNT\n");
		return 2;
	}
	fd = accept(net_listen(argv[2]), NULL, NULL);
	if (fd < 0 || recv(fd, &go, 1, 0) != 1)
		die("accept");
	before = cpu_ns();
	send_records(fd, strcmp(argv[1], "hand") == 0, atol(argv[3]));
	printf("{\"sends\":%ld,\"cpu_ns\":%llu}\n", atol(argv[3]), cpu_ns() - before);
	return 0;
}
