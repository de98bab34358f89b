/* cli/http and cli/find: answers of servers that are not trusted, and names of sockets. */
#include "cli/find.h"
#include "cli/http.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static int
parse_error(const char *raw)
{
	struct http_get get = { 0 };

	http_parse(&get, raw, strlen(raw));
	free(get.body);
	return get.error;
}

static void
a_whole_answer_is_taken(void **state)
{
	static const char raw[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		"content-length:  5\r\nConnection: close\r\n\r\nhello";
	struct http_get get = { 0 };

	(void)state;
	http_parse(&get, raw, strlen(raw));
	assert_int_equal(get.error, 0);
	assert_int_equal(get.status, 200);
	assert_int_equal(get.len, 5);
	assert_string_equal(get.body, "hello");
	free(get.body);
	assert_int_equal(
		parse_error("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
		-EREMOTEIO);
}

static void
what_is_no_proper_answer_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_error(""), -EPROTO);
	assert_int_equal(parse_error("SSH-2.0-OpenSSH_9.2\r\n\r\n"), -EPROTO);
	assert_int_equal(parse_error("HTTP/1.1\r\n\r\n"), -EPROTO);
	assert_int_equal(parse_error("HTTP/1.1 200 OK\r\n\r\nhello"), -EPROTO);
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
		-EPROTO);
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello"),
		-EPROTO);
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
		-EPROTO);
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello"),
		-EPROTO);
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n"
			    "\r\nhello"),
		-EPROTO);
	/* A body is no head. */
	assert_int_equal(
		parse_error("HTTP/1.1 200 OK\r\nX: y\r\n\r\nContent-Length: 5\r\n\r\n"),
		-EPROTO);
}

/* A listener in a directory of its own, and the path's descriptor. */
struct listener {
	char dir[64], path[96];
	int fd, at;
};

static void
listen_at(struct listener *l)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(l->dir, sizeof l->dir, "/tmp/weir-http.XXXXXX");
	assert_non_null(mkdtemp(l->dir));
	snprintf(l->path, sizeof l->path, "%s/s", l->dir);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", l->path);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l->fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(l->fd, 8), 0);
	l->at = open(l->path, O_PATH | O_CLOEXEC);
	assert_true(l->at >= 0);
}

static void
remove_listener(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	close(l->at);
	unlink(l->path);
	rmdir(l->dir);
}

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void *
answer_byte_by_byte(void *arg)
{
	struct listener *l = arg;
	int fd = accept(l->fd, NULL, NULL);
	char head[256];

	if (recv(fd, head, sizeof head, 0) > 0)
		for (size_t i = 0; i + 1 < sizeof answer; i++)
			if (send(fd, answer + i, 1, MSG_NOSIGNAL) != 1)
				break;
	close(fd);
	return NULL;
}

static void
one_that_hangs_does_not_stop_the_others(void **state)
{
	struct listener good, hangs, dead;
	struct http_get gets[3] = { 0 };
	pthread_t thread;

	(void)state;
	listen_at(&good);
	listen_at(&hangs);
	listen_at(&dead);
	close(dead.fd);
	dead.fd = -1;
	gets[0].socket = hangs.at;
	gets[1].socket = good.at;
	gets[2].socket = dead.at;
	for (int i = 0; i < 3; i++)
		gets[i].target = "/x";
	assert_int_equal(pthread_create(&thread, NULL, answer_byte_by_byte, &good), 0);
	http_run(gets, 3, 5000);
	pthread_join(thread, NULL);
	assert_int_equal(gets[0].error, -ETIMEDOUT);
	assert_int_equal(gets[1].error, 0);
	assert_string_equal(gets[1].body, "ok");
	assert_int_equal(gets[1].peer, getpid());
	assert_int_equal(gets[2].error, -ECONNREFUSED);
	free(gets[1].body);
	remove_listener(&good);
	remove_listener(&hangs);
	remove_listener(&dead);
}

static void
an_answer_that_is_too_long_is_no_answer(void **state)
{
	struct listener good;
	struct http_get get = { .target = "/x", .most = sizeof answer - 1 };
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 2; i++) {
		listen_at(&good);
		get.socket = good.at;
		assert_int_equal(
			pthread_create(&thread, NULL, answer_byte_by_byte, &good), 0);
		http_run(&get, 1, 10000);
		pthread_join(thread, NULL);
		assert_int_equal(get.error, i ? -EMSGSIZE : 0);
		free(get.body);
		remove_listener(&good);
		get.most--;
	}
}

static void
names_of_sockets_fit_their_patterns(void **state)
{
	(void)state;
	assert_true(find_fits("%e.%p.sock", "redis", "redis.12.sock"));
	assert_true(find_fits("%e.%p.sock", "redis", "redis.12.sock.13"));
	assert_true(find_fits("%e.%p.sock", "redis", "redis.12.sock.13.2"));
	assert_true(find_fits("fixed", "redis", "fixed"));
	assert_true(find_fits("100%%%e", "x", "100%x"));
	assert_false(find_fits("%e.%p.sock", "redis", "redis.12.sock.new"));
	assert_false(find_fits("%e.%p.sock", "redis", "redis.12.sock.13.2.3"));
	assert_false(find_fits("%e.%p.sock", "redis", "redis..sock"));
	assert_false(find_fits("%e.%p.sock", "redis", "nginx.12.sock"));
	assert_false(find_fits("fixed", "redis", "fixed.new"));
	assert_false(find_fits("fixed", "redis", "fix"));
	assert_false(find_fits("", "", "x"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_answer_is_taken),
		cmocka_unit_test(what_is_no_proper_answer_is_refused),
		cmocka_unit_test(one_that_hangs_does_not_stop_the_others),
		cmocka_unit_test(an_answer_that_is_too_long_is_no_answer),
		cmocka_unit_test(names_of_sockets_fit_their_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
