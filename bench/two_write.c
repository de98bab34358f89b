/*
 * two_write: an HTTP/1.1 server as many are written: the header in one write, the body
 * in a second, TCP_NODELAY never set. Natively a keep-alive client waits 40 ms a reply.
 * Usage: two_write ADDRESS; a thread a connection.
 */
#include "net.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char head[] = "HTTP/1.1 200 OK\r\n"
			   "Content-Type: text/plain\r\n"
			   "Content-Length: 14\r\n\r\n";
static const char body[] = "Hello, world.\n";

static void *
serve(void *arg)
{
	int fd = (int)(long)arg;
	char request[4096];

	/* A request is one small segment here: what one read returns is whole. */
	while (read(fd, request, sizeof(request)) > 0) {
		if (write(fd, head, strlen(head)) < 0 ||
		    write(fd, body, strlen(body)) < 0)
			break;
	}
	close(fd);
	return NULL;
}

int
main(int argc, char **argv)
{
	int listener = net_listen(argc > 1 ? argv[1] : "127.0.0.1:0");
	pthread_t thread;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || pthread_create(&thread, NULL, serve, (void *)(long)fd))
			die("accept");
		pthread_detach(thread);
	}
}
