#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_un un;
};

void
die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static socklen_t
parse(const char *text, union address *a)
{
	const char *colon = strrchr(text, ':');
	char host[64] = "";

	memset(a, 0, sizeof(*a));
	if (text[0] == '/') {
		if (strlen(text) >= sizeof(a->un.sun_path))
			die("address too long");
		a->un.sun_family = AF_UNIX;
		strcpy(a->un.sun_path, text);
		return sizeof(a->un);
	}
	if (!colon || colon - text >= (long)sizeof(host))
		die("address is neither HOST:PORT nor a path");
	memcpy(host, text, (size_t)(colon - text));
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &a->in.sin_addr) != 1)
		die("bad host");
	return sizeof(a->in);
}

int
net_connect(const char *address)
{
	union address a;
	socklen_t len = parse(address, &a);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &a.any, len) < 0)
		die(address);
	return fd;
}

int
net_listen(const char *address)
{
	union address a;
	socklen_t len = parse(address, &a);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		die("socket");
	if (bind(fd, &a.any, len) < 0 || listen(fd, 128) < 0)
		die(address);
	if (a.any.sa_family == AF_INET) {
		if (getsockname(fd, &a.any, &len) < 0)
			die("getsockname");
		printf("127.0.0.1:%u\n", ntohs(a.in.sin_port));
	} else {
		printf("%s\n", address);
	}
	fflush(stdout);
	return fd;
}

void
net_send_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("send");
		p += n;
		len -= (size_t)n;
	}
}
