#include "cli/export/serve.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_MICROHTTPD
#include <microhttpd.h>
#include <pthread.h>

enum {
	MOST_CONNECTIONS = 512,
	SPARE = 64, /* of them: beyond the rest, one that has not asked yet makes room */
	IDLE_S = 5,  /* that a client may neither send nor take anything */
	WHOLE_S = 30 /* of a connection, however busy its client keeps it */
};

struct client {
	struct MHD_Connection *connection; /* NULL: a free place */
	int fd;
	double since_ms;
	bool asked;
};

static struct {
	pthread_mutex_t lock;
	struct client at[MOST_CONNECTIONS];
	int nr;
} clients = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* NULL finds a free place. */
static struct client *
find_locked(const struct MHD_Connection *connection)
{
	for (struct client *c = clients.at; c < clients.at + MOST_CONNECTIONS; c++)
		if (c->connection == connection)
			return c;
	return NULL;
}

/* Its thread notices that nothing more comes or goes. The descriptor is closed later than the
 * place is free. */
static void
end_locked(struct client *c)
{
	c->asked = true;
	shutdown(c->fd, SHUT_RDWR);
}

static void
make_room_locked(void)
{
	struct client *oldest = NULL;

	for (struct client *c = clients.at; c < clients.at + MOST_CONNECTIONS; c++)
		if (c->connection && !c->asked &&
		    (!oldest || c->since_ms < oldest->since_ms))
			oldest = c;
	if (oldest)
		end_locked(oldest);
}

/* libmicrohttpd tells of connections that begin and end. */
static void
note_connection(void *arg, struct MHD_Connection *connection, void **slot,
		enum MHD_ConnectionNotificationCode code)
{
	bool begins = code == MHD_CONNECTION_NOTIFY_STARTED;
	const union MHD_ConnectionInfo *of =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct client *c;

	(void)arg;
	(void)slot;
	pthread_mutex_lock(&clients.lock);
	if (begins && clients.nr >= MOST_CONNECTIONS - SPARE)
		make_room_locked();
	c = find_locked(begins ? NULL : connection);
	if (c) {
		*c = (struct client){ begins ? connection : NULL, of->connect_fd,
				      now_ms(), false };
		clients.nr += begins ? 1 : -1;
	}
	pthread_mutex_unlock(&clients.lock);
}

static void
note_request(const struct MHD_Connection *connection)
{
	struct client *c;

	pthread_mutex_lock(&clients.lock);
	c = find_locked(connection);
	if (c)
		c->asked = true;
	pthread_mutex_unlock(&clients.lock);
}

static void
end_old_connections(void)
{
	double now = now_ms();

	pthread_mutex_lock(&clients.lock);
	for (struct client *c = clients.at; c < clients.at + MOST_CONNECTIONS; c++)
		if (c->connection && now - c->since_ms > WHOLE_S * 1e3)
			end_locked(c);
	pthread_mutex_unlock(&clients.lock);
}

static void
add_headers(struct MHD_Response *response, const struct reply *reply)
{
	MHD_add_response_header(response, "Content-Type", reply->type);
	MHD_add_response_header(response, "Connection", "close");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Content-Security-Policy",
				reply->policy ? reply->policy
					      : "default-src 'none'; "
						"frame-ancestors 'none'");
	if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
}

static enum MHD_Result
send_reply(struct MHD_Connection *connection, struct reply *reply)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		reply->len, reply->body, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result ret;

	if (!response) {
		free(reply->body);
		return MHD_NO;
	}
	add_headers(response, reply);
	ret = MHD_queue_response(connection, (unsigned)reply->status, response);
	MHD_destroy_response(response);
	return ret;
}

static const char *
in_query(struct MHD_Connection *connection, const char *key)
{
	const char *value = NULL;

	/* "?sort" without a value is in it, and no good. */
	if (MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, key,
					  strlen(key), &value, NULL) == MHD_YES)
		return value ? value : "";
	return NULL;
}

static enum MHD_Result
answer_request(void *arg, struct MHD_Connection *connection, const char *url,
	       const char *method, const char *version, const char *upload,
	       size_t *upload_len, void **slot)
{
	const struct service *service = arg;
	struct question question = { .path = url };
	struct reply reply = { .status = MHD_HTTP_METHOD_NOT_ALLOWED,
			       .type = "text/plain; charset=utf-8" };
	enum MHD_Result ret;

	(void)version;
	(void)upload;
	(void)upload_len;
	(void)slot;
	note_request(connection);
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
		question.accept = MHD_lookup_connection_value(
			connection, MHD_HEADER_KIND, "Accept");
		question.sort = in_query(connection, "sort");
		question.state = in_query(connection, "state");
		question.limit = in_query(connection, "limit");
		question.socket = in_query(connection, "socket");
		service->answer(&question, &reply, service->arg);
	} else {
		reply.body = have(strdup("405 Method Not Allowed\n"));
		reply.len = strlen(reply.body);
	}
	ret = send_reply(connection, &reply);
	free((char *)reply.policy);
	return ret;
}

/* What libmicrohttpd has to say is about clients that went. */
static void
say_nothing(void *arg, const char *format, va_list args)
{
	(void)arg;
	(void)format;
	(void)args;
}

/* "127.0.0.1:9464" or "[::1]:9464". */
static bool
take_apart(const char *address, struct text *host, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;

	if (len < 1 || !colon[1])
		return false;
	*port = colon + 1;
	if (address[0] == '[') {
		if (len < 3 || address[len - 1] != ']')
			return false;
		text_bytes(host, address + 1, len - 2);
	} else {
		text_bytes(host, address, len);
		/* An IPv6 address without brackets does not say where its port begins. */
		if (strchr(text_string(host), ':'))
			return false;
	}
	return true;
}

static int
listen_at(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, error;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* A listening socket, or -1 after a complaint, with the exit status it means. */
static int
open_listener(const char *address, int *status)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICSERV },
			*found = NULL;
	struct text host = { 0 };
	const char *port;
	long number;
	int fd = -1, error;

	*status = END_USAGE;
	if (!take_apart(address, &host, &port) ||
	    !number_read(port, 0, 65535, &number)) {
		complain("--listen takes ADDR:PORT, as 127.0.0.1:9464, 0.0.0.0:9464 or "
			 "[::1]:9464, not %s",
			 address);
	} else if ((error = getaddrinfo(text_string(&host), port, &hints, &found)) != 0) {
		complain("%s: %s", address, gai_strerror(error));
	} else {
		*status = END_FAILED;
		fd = listen_at(found);
		if (fd < 0)
			complain("%s: %s%s", address, strerror(-fd),
				 fd == -EADDRINUSE
					 ? "; choose another port with --listen"
					 : "");
	}
	if (found)
		freeaddrinfo(found);
	text_fini(&host);
	return fd < 0 ? -1 : fd;
}

/* The port may have been left to the kernel. */
static void
say_where(int listener)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof at;
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(listener, (struct sockaddr *)&at, &len) == 0 &&
	    getnameinfo((struct sockaddr *)&at, len, host, sizeof host, port,
			sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		complain(at.ss_family == AF_INET6 ? "serving http://[%s]:%s/"
						  : "serving http://%s:%s/",
			 host, port);
}

static void
wait_for_the_end(const sigset_t *ends)
{
	const struct timespec second = { .tv_sec = 1 };

	while (sigtimedwait(ends, NULL, &second) < 0)
		end_old_connections();
}

int
serve(const char *address, const struct service *service)
{
	struct MHD_Daemon *daemon;
	int status, listener = open_listener(address, &status);
	sigset_t ends;

	if (listener < 0)
		return status;
	/* In all threads, so that the signal waits for this one. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG,
		0, NULL, NULL, answer_request, (void *)service,
		MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET,
		listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
		MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL, MHD_OPTION_END);
	if (!daemon) {
		complain("%s: cannot serve there: %s", address, strerror(errno));
		close(listener);
		return END_FAILED;
	}
	say_where(listener);
	service->begin(service->arg);
	wait_for_the_end(&ends);
	MHD_stop_daemon(daemon);
	return END_FINE;
}
#else
int
serve(const char *address, const struct service *service)
{
	(void)address;
	(void)service;
	complain("this weir was built without libmicrohttpd and cannot serve: use "
		 "--textfile, or build it again with Debian's libmicrohttpd-dev");
	return END_FAILED;
}
#endif
