/*
 * client: a load client for request and reply protocols.
 *
 * Each connection sends a batch of `depth` requests in one send, waits for all their
 * replies, and sends the next. One connection uses plain blocking recv; more of them
 * share one epoll. It sets TCP_NODELAY on its own side and nothing else that touches
 * acknowledgements: whoever answers in two pieces meets this kernel's delayed ACK.
 *
 * Result, one JSON line on stdout. With -g it says "ready" once every connection is
 * open and warm, and then does as many replies as each line on stdin asks for.
 */
#include "net.h"
#include "reply.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MAX_TURNS = 8,      /* -k: replies a connection whose times are listed */
	MAX_LISTED = 4096,  /* of each */
	SUB = 16,           /* histogram: buckets a power of two, 6 % wide */
	BUCKETS = 40 * SUB, /* up to 2^40 ns */
	SILENCE_S = 20      /* a server that says nothing for so long has failed */
};

struct text {
	char *p;
	size_t len;
};

struct conn {
	int fd;
	int waiting; /* replies of the batch still to come */
	int served;  /* replies since it was opened */
	uint64_t sent_ns;
	struct reply reply;
};

static struct {
	const char *address;
	int conns, depth, per_conn, gated;
	long replies;   /* stop after so many, or ... */
	double seconds; /* ... so long */
	struct text batch, prologue;
	struct protocol proto;
} opt = { .conns = 1, .depth = 1, .seconds = 1 };

static struct {
	long replies;
	uint64_t begin_ns, end_ns, max_ns;
	size_t reply_bytes; /* of the first one; all others must be alike */
	unsigned histogram[BUCKETS];
	unsigned listed[MAX_TURNS];
	float listed_us[MAX_TURNS][MAX_LISTED];
} result;

static struct conn *conns;
static int epoll_fd = -1;

static int
hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Turns the escapes \r \n \xNN into bytes, in place: no quoting survives a shell. */
static struct text
unescape(char *s)
{
	struct text t = { s, 0 };

	for (; *s; s++) {
		if (*s != '\\') {
			t.p[t.len++] = *s;
			continue;
		}
		s++;
		if (*s == 'x' && s[1] && s[2]) {
			t.p[t.len++] = (char)(hex(s[1]) << 4 | hex(s[2]));
			s += 2;
		} else {
			t.p[t.len++] = *s == 'r' ? '\r' : *s == 'n' ? '\n' : *s;
		}
	}
	return t;
}

static unsigned
bucket_of(uint64_t ns)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(ns | SUB);
	unsigned index = (top - 4) * SUB + (unsigned)(ns >> (top - 4)) % SUB + SUB;

	return ns < SUB ? (unsigned)ns : index < BUCKETS ? index : BUCKETS - 1;
}

static double
bucket_us(unsigned index)
{
	unsigned top = index / SUB;

	if (index < SUB)
		return index / 1e3;
	return (double)((uint64_t)(SUB + index % SUB) << (top - 1)) / 1e3;
}

static double
percentile_us(double share)
{
	long rank = (long)(share * (double)result.replies), seen = 0;
	unsigned i;

	for (i = 0; i < BUCKETS; i++) {
		seen += result.histogram[i];
		if (seen > rank)
			return bucket_us(i);
	}
	return (double)result.max_ns / 1e3;
}

static void
note_reply(struct conn *c, uint64_t now)
{
	uint64_t took = now - c->sent_ns;
	int turn = c->served - 1;

	size_t len = c->reply.len;

	if (c->reply.bad || (result.reply_bytes && result.reply_bytes != len)) {
		fprintf(stderr, "client: a reply of %zu bytes unlike the others\n", len);
		exit(1);
	}
	result.reply_bytes = len;
	result.replies++;
	result.histogram[bucket_of(took)]++;
	if (took > result.max_ns)
		result.max_ns = took;
	if (opt.per_conn && turn < MAX_TURNS && result.listed[turn] < MAX_LISTED)
		result.listed_us[turn][result.listed[turn]++] = (float)took / 1e3f;
}

static void
send_batch(struct conn *c)
{
	c->waiting = opt.depth;
	c->sent_ns = now_ns(CLOCK_MONOTONIC);
	net_send_all(c->fd, opt.batch.p, opt.batch.len);
}

/* One recv; returns how many replies it completed, of which `counted` are noted. */
static int
take_replies(struct conn *c, int counted)
{
	static char buffer[256 << 10];
	ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0);
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	int nr = 0, done;
	char *p = buffer;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0) {
		errno = n ? errno : 0;
		die("recv: the server closed or fell silent");
	}
	while (n > 0) {
		size_t used = reply_take(&c->reply, &opt.proto, p, (size_t)n, &done);

		p += used;
		n -= (ssize_t)used;
		if (!done)
			continue;
		c->served++;
		c->waiting--;
		nr++;
		if (counted)
			note_reply(c, now);
		memset(&c->reply, 0, sizeof(c->reply));
	}
	return nr;
}

static void
open_conn(struct conn *c)
{
	struct timeval silence = { SILENCE_S, 0 };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	int on = 1;

	memset(c, 0, sizeof(*c));
	c->fd = net_connect(opt.address);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	if (opt.address[0] != '/')
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (opt.prologue.len) {
		c->waiting = 1;
		net_send_all(c->fd, opt.prologue.p, opt.prologue.len);
		while (c->waiting > 0)
			take_replies(c, 0);
		c->served = 0;
	}
	if (opt.conns > 1 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		die("epoll_ctl");
}

/* One batch on every connection, not counted: logins, classification, caches. */
static void
warm_up(void)
{
	int i;

	for (i = 0; i < opt.conns; i++) {
		send_batch(&conns[i]);
		while (conns[i].waiting > 0)
			take_replies(&conns[i], 0);
	}
}

static int
finished(uint64_t deadline_ns)
{
	if (opt.replies)
		return result.replies >= opt.replies;
	return now_ns(CLOCK_MONOTONIC) >= deadline_ns;
}

static void
next_batch(struct conn *c)
{
	if (opt.per_conn && c->served >= opt.per_conn) {
		close(c->fd);
		open_conn(c);
	}
	send_batch(c);
}

/* Every connection has a batch under way from here on, until the end is reached. */
static void
drive(void)
{
	struct epoll_event events[64];
	uint64_t deadline;
	int i, nr;

	memset(&result, 0, sizeof(result));
	result.begin_ns = now_ns(CLOCK_MONOTONIC);
	deadline = result.begin_ns + (uint64_t)(opt.seconds * 1e9);
	for (i = 0; i < opt.conns; i++)
		next_batch(&conns[i]);
	while (!finished(deadline)) {
		struct conn *c = conns;

		nr = 1;
		if (opt.conns > 1)
			nr = epoll_wait(epoll_fd, events, 64, SILENCE_S * 1000);
		if (nr <= 0)
			die("epoll_wait: the server fell silent");
		for (i = 0; i < nr; i++) {
			c = opt.conns > 1 ? events[i].data.ptr : conns;
			take_replies(c, 1);
			if (c->waiting == 0 && !finished(deadline))
				next_batch(c);
		}
	}
	result.end_ns = now_ns(CLOCK_MONOTONIC);
	for (i = 0; i < opt.conns; i++) /* leave nothing under way for a next round */
		while (conns[i].waiting > 0)
			take_replies(&conns[i], 0);
}

static void
print_listed(void)
{
	int turn;
	unsigned i;

	printf(",\"by_turn_us\":[");
	for (turn = 0; turn < opt.per_conn && turn < MAX_TURNS; turn++) {
		printf("%s[", turn ? "," : "");
		for (i = 0; i < result.listed[turn]; i++)
			printf("%s%.1f", i ? "," : "",
			       (double)result.listed_us[turn][i]);
		printf("]");
	}
	printf("]");
}

static void
print_result(void)
{
	double seconds = (double)(result.end_ns - result.begin_ns) / 1e9;

	printf("{\"replies\":%ld,\"seconds\":%.6f,\"rate\":%.2f,", result.replies,
	       seconds, (double)result.replies / seconds);
	printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"reply_bytes\":%zu",
	       percentile_us(0.5), percentile_us(0.99), (double)result.max_ns / 1e3,
	       result.reply_bytes);
	if (opt.per_conn)
		print_listed();
	printf("}\n");
	fflush(stdout);
}

static void
make_batch(struct text request)
{
	int i;

	opt.batch.len = request.len * (size_t)opt.depth;
	opt.batch.p = malloc(opt.batch.len + 1);
	if (!opt.batch.p)
		die("malloc");
	for (i = 0; i < opt.depth; i++)
		memcpy(opt.batch.p + (size_t)i * request.len, request.p, request.len);
}

static void
usage(void)
{
	fprintf(stderr,
		"usage: client [-c CONNS] [-d DEPTH] [-k REPLIES_A_CONNECTION] [-g]\n"
		"              [-n REPLIES | -t SECONDS] [-i PROLOGUE] [-r REQUEST]\n"
		"              [-u END_OF_REPLY | -b BYTES_A_REPLY] ADDRESS\n"
		"Without -u and -b: HTTP/1.1. Escapes: \\r \\n \\xNN.\n");
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	static char get[] = "GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n";
	struct text request = { NULL, 0 }, until = { NULL, 0 };
	int c;

	while ((c = getopt(argc, argv, "c:d:k:n:t:i:r:u:b:g")) != -1) {
		switch (c) {
		case 'c':
			opt.conns = atoi(optarg);
			break;
		case 'd':
			opt.depth = atoi(optarg);
			break;
		case 'k':
			opt.per_conn = atoi(optarg);
			break;
		case 'n':
			opt.replies = atol(optarg);
			break;
		case 't':
			opt.seconds = atof(optarg);
			break;
		case 'i':
			opt.prologue = unescape(optarg);
			break;
		case 'r':
			request = unescape(optarg);
			break;
		case 'u':
			until = unescape(optarg);
			break;
		case 'b':
			opt.proto.fixed = (size_t)atol(optarg);
			break;
		case 'g':
			opt.gated = 1;
			break;
		default:
			usage();
		}
	}
	if (optind + 1 != argc || opt.conns < 1 || opt.depth < 1)
		usage();
	opt.address = argv[optind];
	opt.proto.until = until.p;
	opt.proto.until_len = until.len;
	make_batch(request.p ? request : unescape(get));
}

int
main(int argc, char **argv)
{
	char line[32];
	int i;

	parse_options(argc, argv);
	conns = calloc((size_t)opt.conns, sizeof(*conns));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!conns || epoll_fd < 0)
		die("start");
	for (i = 0; i < opt.conns; i++)
		open_conn(&conns[i]);
	if (!opt.per_conn)
		warm_up();
	if (!opt.gated) {
		drive();
		print_result();
		return 0;
	}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		opt.replies = atol(line);
		drive();
		print_result();
	}
	return 0;
}
