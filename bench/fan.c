/*
 * fan: MQTT load, one publisher and some subscribers, QoS 0.
 *
 * Publishes 32-byte messages, many a send, never more than a window ahead of the
 * slowest subscriber, and counts what each subscriber gets. Says "ready" once all are
 * subscribed; each line on stdin is a number of messages to publish, answered with
 * {"replies","seconds","rate"} when every subscriber has them all.
 * Usage: fan SUBSCRIBERS ADDRESS
 */
#include "net.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	MAX_SUBS = 16,
	PAYLOAD = 32,
	PACKET = 2 + 2 + 3 + PAYLOAD, /* header, topic length, topic, payload */
	BURST = 128,                  /* messages a send */
	WINDOW = 1024,                /* messages on their way */
	SILENCE_MS = 20000
};

static struct pollfd subs[MAX_SUBS];
static unsigned long long got[MAX_SUBS]; /* bytes since ready */
static int nr_subs;
static char burst[BURST * PACKET];

static void
expect(int fd, size_t len, int type)
{
	char answer[8];

	if (recv(fd, answer, len, MSG_WAITALL) != (ssize_t)len || answer[0] != type) {
		errno = EPROTO;
		die("MQTT answer");
	}
}

static int
mqtt_open(const char *address, int index)
{
	unsigned char hello[] = { 0x10, 14,  0,   4,
				  'M',  'Q', 'T', 'T',
				  4,    2,   0,   0,
				  0,    2,   'c', (unsigned char)('a' + index) };
	int fd = net_connect(address);

	net_send_all(fd, (char *)hello, sizeof(hello));
	expect(fd, 4, 0x20);
	return fd;
}

static void
mqtt_subscribe(int fd)
{
	unsigned char wish[] = { 0x82, 8, 0, 1, 0, 3, 't', '/', 'x', 0 };

	net_send_all(fd, (char *)wish, sizeof(wish));
	expect(fd, 5, (char)0x90);
}

static void
fill_burst(void)
{
	unsigned char head[] = { 0x30, PACKET - 2, 0, 3, 't', '/', 'x' };
	int i;

	memset(burst, '.', sizeof(burst));
	for (i = 0; i < BURST; i++)
		memcpy(burst + i * PACKET, head, sizeof(head));
}

static unsigned long long
slowest(void)
{
	unsigned long long least = got[0];
	int i;

	for (i = 1; i < nr_subs; i++)
		if (got[i] < least)
			least = got[i];
	return least / PACKET;
}

static void
take(void)
{
	static char buffer[256 << 10];
	int i;

	if (poll(subs, (nfds_t)nr_subs, SILENCE_MS) <= 0)
		die("a subscriber waits in vain");
	for (i = 0; i < nr_subs; i++) {
		ssize_t n;

		if (!subs[i].revents)
			continue;
		n = recv(subs[i].fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n <= 0 && errno != EAGAIN)
			die("a subscriber lost its connection");
		got[i] += n > 0 ? (unsigned long long)n : 0;
	}
}

static void
publish(int fd, unsigned long long count)
{
	unsigned long long sent = 0;
	uint64_t begin = now_ns(CLOCK_MONOTONIC);
	double seconds;

	memset(got, 0, sizeof(got));
	while (slowest() < count) {
		unsigned long long left = count - sent;

		if (left == 0 || sent + BURST > slowest() + WINDOW) {
			take();
			continue;
		}
		left = left < BURST ? left : BURST;
		net_send_all(fd, burst, (size_t)left * PACKET);
		sent += left;
	}
	seconds = (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1e9;
	printf("{\"replies\":%llu,\"seconds\":%.6f,\"rate\":%.2f}\n", count, seconds,
	       (double)count / seconds);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	char line[32];
	int publisher, i;

	nr_subs = argc == 3 ? atoi(argv[1]) : 0;
	if (nr_subs < 1 || nr_subs > MAX_SUBS) {
		fprintf(stderr, "usage: fan SUBSCRIBERS ADDRESS\n");
		return 2;
	}
	fill_burst();
	for (i = 0; i < nr_subs; i++) {
		subs[i].fd = mqtt_open(argv[2], i);
		subs[i].events = POLLIN;
		mqtt_subscribe(subs[i].fd);
	}
	publisher = mqtt_open(argv[2], MAX_SUBS);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		publish(publisher, strtoull(line, NULL, 10));
	return 0;
}
