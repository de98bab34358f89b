/*
 * fan: MQTT load, one publisher and some subscribers, QoS 0.
 *
 * Publishes 32-byte messages, many a send, never more than a window ahead of the
 * slowest subscriber (a broker drops QoS 0 messages that it cannot queue). Each message
 * is numbered, and each subscriber's are compared byte by byte with the next one that
 * is due: what is lost, doubled, torn or out of order ends the program. Says "ready"
 * once all are subscribed; each line on stdin is a number of messages to publish,
 * answered with {"replies","seconds","rate"} when every subscriber has them all.
 * Usage: fan SUBSCRIBERS ADDRESS
 */
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
	WINDOW = 8192, /* messages on their way: several of loopback's segments */
	SILENCE_MS = 20000
};

static struct pollfd subs[MAX_SUBS];
static struct taken {
	unsigned long long messages; /* whole ones since ready */
	size_t part;                 /* bytes of the next one */
	char packet[PACKET];
} taken[MAX_SUBS];
static int nr_subs;
static unsigned long long published;

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
fill(char *packet, unsigned long long number)
{
	static const unsigned char head[] = { 0x30, PACKET - 2, 0, 3, 't', '/', 'x' };

	memcpy(packet, head, sizeof(head));
	memset(packet + sizeof(head), '.', PAYLOAD - sizeof(number));
	memcpy(packet + PACKET - sizeof(number), &number, sizeof(number));
}

static unsigned long long
slowest(void)
{
	unsigned long long least = taken[0].messages;
	int i;

	for (i = 1; i < nr_subs; i++)
		if (taken[i].messages < least)
			least = taken[i].messages;
	return least;
}

static void
compare(struct taken *t, const char *p, size_t len)
{
	char due[PACKET];

	while (len > 0) {
		size_t n = PACKET - t->part < len ? PACKET - t->part : len;

		memcpy(t->packet + t->part, p, n);
		t->part += n;
		p += n;
		len -= n;
		if (t->part < PACKET)
			return;
		fill(due, t->messages);
		if (memcmp(t->packet, due, PACKET) != 0) {
			errno = EBADMSG;
			die("not the message that is due");
		}
		t->messages++;
		t->part = 0;
	}
}

/*
 * A broker with Nagle's algorithm on, as mosquitto has it, waits for the last ACK with
 * less than a segment, and a delayed one takes 40 ms. That is stall40's subject; here
 * the subscribers must not be the limit, and acknowledge at once.
 */
static void
acknowledge(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
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
		if (n <= 0)
			continue;
		acknowledge(subs[i].fd);
		compare(&taken[i], buffer, (size_t)n);
	}
}

static void
send_burst(int fd, unsigned long long messages)
{
	static char burst[BURST * PACKET];
	unsigned long long i;

	for (i = 0; i < messages; i++)
		fill(burst + i * PACKET, published++);
	net_send_all(fd, burst, (size_t)messages * PACKET);
}

static void
publish(int fd, unsigned long long count)
{
	unsigned long long end = published + count;
	uint64_t begin = now_ns(CLOCK_MONOTONIC);
	double seconds;

	while (slowest() < end) {
		unsigned long long left = end - published;

		if (left == 0 || published + BURST > slowest() + WINDOW)
			take();
		else
			send_burst(fd, left < BURST ? left : BURST);
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
