/*
 * late: programs that show how long a byte or a sender waits, and how late a timer is.
 *
 *   late chat ADDRESS      for each request "MS\n": writes a stamped line, computes MS
 *                          milliseconds without a call, writes a second line
 *   late drip ADDRESS      for each request "MS\n": for so long a stamped record of 40
 *                          bytes every 300 us, the clock watched in a busy loop
 *   late sip ADDRESS       after a first record lets its queue fill, reads some more,
 *                          computes, writes a line with the stamp of the first of those
 *                          reads, reads up to a record that begins with E, writes a line
 *   late sleep US MS       for MS milliseconds sleeps US at a time; prints how late it
 *                          woke: {"p50_us","p99_us","max_us","sleeps"}
 *   late burn MS           keeps one core busy
 *
 * A stamp is CLOCK_MONOTONIC in nanoseconds, taken just before the write or read. That clock is
 * read in user space (vDSO): watching it is no call.
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECORD = 40,
	DRIP_US = 300,
	SIP = 64,   /* bytes a read, */
	SIPS = 200, /* reads: less than a chunk, more than a segment */
	SIP_NS = 10 *
		 1000000, /* how long the queue may fill, and the pause after the reads */
	SIP_QUEUE = 32 << 10,
	MAX_SLEEPS = 1 << 20
};

static void
compute_until(uint64_t ns)
{
	while (now_ns(CLOCK_MONOTONIC) < ns)
		;
}

static void
write_stamp(int fd, uint64_t stamp_ns)
{
	char record[RECORD + 1];

	snprintf(record, sizeof(record), "%-39llu\n", (unsigned long long)stamp_ns);
	if (write(fd, record, RECORD) != RECORD)
		die("write");
}

static void
write_stamped(int fd)
{
	write_stamp(fd, now_ns(CLOCK_MONOTONIC));
}

static void
chat(int fd, uint64_t span_ns)
{
	write_stamped(fd);
	compute_until(now_ns(CLOCK_MONOTONIC) + span_ns);
	write_stamped(fd);
}

static void
drip(int fd, uint64_t span_ns)
{
	uint64_t next = now_ns(CLOCK_MONOTONIC), end = next + span_ns;

	for (; next < end; next += DRIP_US * 1000u) {
		compute_until(next);
		write_stamped(fd);
	}
	if (write(fd, "end\n", 4) != 4)
		die("write");
}

static void
serve(const char *address, void (*answer)(int fd, uint64_t span_ns))
{
	int listener = net_listen(address);
	char request[64];

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t n;

		if (fd < 0)
			die("accept");
		while ((n = read(fd, request, sizeof(request) - 1)) > 0) {
			request[n] = '\0';
			answer(fd, strtoull(request, NULL, 10) * 1000000u);
		}
		close(fd);
	}
}

/* One small read; 0 at the end of the stream, else the record's first byte. */
static int
sip(int fd)
{
	char record[SIP];
	ssize_t n = recv(fd, record, sizeof(record), MSG_WAITALL);

	if (n != 0 && n != SIP)
		die("recv");
	return n ? record[0] : 0;
}

static void
sip_rounds(const char *address)
{
	int listener = net_listen(address), size = SIP_QUEUE, i, fd;

	/* A queue that a chunk is a good part of, or nobody would wait for it. */
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while (sip(fd)) {
			uint64_t begin;

			compute_until(now_ns(CLOCK_MONOTONIC) + SIP_NS);
			begin = now_ns(CLOCK_MONOTONIC);
			for (i = 0; i < SIPS; i++)
				sip(fd);
			compute_until(begin + SIP_NS);
			write_stamp(fd, begin);
			while (sip(fd) != 'E')
				;
			write_stamped(fd);
		}
		close(fd);
	}
	die("accept");
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
sleep_and_tell(long us, uint64_t end_ns)
{
	static double late_us[MAX_SLEEPS];
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };
	size_t nr = 0;

	while (now_ns(CLOCK_MONOTONIC) < end_ns && nr < MAX_SLEEPS) {
		uint64_t due = now_ns(CLOCK_MONOTONIC) + (uint64_t)us * 1000u;

		nanosleep(&ts, NULL);
		late_us[nr++] = (double)(now_ns(CLOCK_MONOTONIC) - due) / 1e3;
	}
	if (nr == 0)
		die("no sleep made");
	qsort(late_us, nr, sizeof(late_us[0]), by_value);
	printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"sleeps\":%zu}\n",
	       late_us[nr / 2], late_us[nr * 99 / 100], late_us[nr - 1], nr);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	if (strcmp(what, "chat") == 0)
		serve(argv[2], chat);
	else if (strcmp(what, "drip") == 0)
		serve(argv[2], drip);
	else if (strcmp(what, "sip") == 0)
		sip_rounds(argv[2]);
	else if (strcmp(what, "sleep") == 0 && argc > 3)
		sleep_and_tell(atol(argv[2]),
			       start + strtoull(argv[3], NULL, 10) * 1000000u);
	else if (strcmp(what, "burn") == 0)
		compute_until(start + strtoull(argv[2], NULL, 10) * 1000000u);
	else {
		fprintf(stderr,
			"usage: late chat|drip|sip ADDRESS | sleep US MS | burn MS\n");
		return 2;
	}
	return 0;
}
