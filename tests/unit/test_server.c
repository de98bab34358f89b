/* metrics/server, request, answer: a real serving thread on a real socket, and the clients
 * nobody wants. */
#include "serving.h"

static void
every_document_is_served(void **state)
{
	static const struct {
		const char *path, *type;
	} json[] = {
		{ "/metrics.json", "\"schema\":\"weir.metrics/1\"" },
		{ "/streams", "\"schema\":\"weir.streams/1\"" },
		{ "/buffer-pool-metrics", "\"tiers\":[" },
		{ "/healthz", "\"status\":\"ok\"" },
	};
	const char *answer, *body;

	(void)state;
	for (size_t i = 0; i < sizeof json / sizeof json[0]; i++) {
		answer = get(json[i].path);
		assert_int_equal(status_of(answer), 200);
		assert_non_null(
			strstr(answer, "\r\nContent-Type: application/json\r\n"));
		body = body_of(answer);
		assert_true(json_valid(body, strlen(body)));
		assert_non_null(strstr(body, json[i].type));
	}
	answer = get("/");
	assert_int_equal(status_of(answer), 200);
	assert_non_null(strstr(body_of(answer), "/buffer-pool-metrics\n"));
	answer = get("/metrics");
	assert_non_null(strstr(
		answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
	assert_non_null(strstr(body_of(answer), "\nweir_processes 1\n"));
	answer = ask(
		"GET /metrics HTTP/1.1\r\nhost: x\r\naccept:  application/openmetrics-text"
		"; version=1.0.0\r\n\r\n");
	assert_non_null(strstr(answer, "Content-Type: application/openmetrics-text; "
				       "version=1.0.0; charset=utf-8"));
	assert_non_null(strstr(body_of(answer), "\n# EOF\n"));
	assert_true(__atomic_load_n(&region_get()->totals.watched_ns,
				    __ATOMIC_RELAXED) > 0);
}

static void
requests_are_understood_or_refused(void **state)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "GET /healthz HTTP/1.0\r\n\r\n", 200 },
		{ "GET /healthz HTTP/1.1\n\n", 200 },
		{ "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
		{ "GET http://localhost/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
		{ "GET HTTP://x:80/healthz?a=b HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
		{ "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
		{ "GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
		{ "GET /streams?sort=bytes&limit=3&state=open HTTP/1.1\r\n\r\n", 200 },
		{ "GET /streams?sort=b%79tes&other=%00&x HTTP/1.1\r\n\r\n", 200 },
		{ "GET /streams?limit=99999999999999999999 HTTP/1.1\r\n\r\n", 200 },
		{ "GET /streams?limit=-1 HTTP/1.1\r\n\r\n", 400 },
		{ "GET /streams?limit= HTTP/1.1\r\n\r\n", 400 },
		{ "GET /streams?limit=1x HTTP/1.1\r\n\r\n", 400 },
		{ "GET /streams?sort=size HTTP/1.1\r\n\r\n", 400 },
		{ "GET /streams?sort=%zz HTTP/1.1\r\n\r\n", 400 },
		{ "GET /streams?state HTTP/1.1\r\n\r\n", 400 },
		{ "GET /nothing HTTP/1.1\r\n\r\n", 404 },
		{ "GET /metrics/ HTTP/1.1\r\n\r\n", 404 },
		{ "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405 },
		{ "OPTIONS * HTTP/1.1\r\n\r\n", 405 },
		{ "GET * HTTP/1.1\r\n\r\n", 400 },
		{ "GET\r\n\r\n", 400 },
		{ "GET /metrics\r\n\r\n", 400 },
		{ "GET  /metrics HTTP/1.1\r\n\r\n", 400 },
		{ "GET /metrics HTTP/2.0\r\n\r\n", 400 },
		{ "GET /metrics HTTP/1.1 x\r\n\r\n", 400 },
		{ "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400 },
		{ "GET /metrics HTTP/1.1\r\nA: b\r\n folded: x\r\n\r\n", 400 },
		{ "\x16\x03\x01\x02\r\n\r\n", 400 },
		/* What follows the first request is ignored, and is no reason for a reset. */
		{ "GET /healthz HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n", 200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *answer = ask(cases[i].request);

		if (status_of(answer) != cases[i].status)
			fail_msg("%s: %.40s", cases[i].request, answer);
		body_of(answer);
	}
	assert_non_null(
		strstr(ask("PUT / HTTP/1.1\r\n\r\n"), "\r\nAllow: GET, HEAD\r\n"));
}

static void
head_has_the_length_and_no_body(void **state)
{
	static const char *const requests[] = {
		"HEAD /buffer-pool-metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
	};

	(void)state;
	for (int i = 0; i < 2; i++) {
		const char *answer = ask(requests[i]);
		const char *length = strstr(answer, "Content-Length: ");

		assert_int_equal(status_of(answer), i ? 404 : 200);
		assert_true(length && atoi(length + 16) > 5);
		assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	}
}

static void
a_head_may_come_byte_by_byte(void **state)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = dial();

	(void)state;
	for (size_t i = 0; i < sizeof request - 1; i++)
		say(fd, request + i, 1);
	assert_int_equal(status_of(hear(fd)), 200);
}

static void
a_client_that_shut_its_side_is_answered(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "GET /healthz HTTP/1.1\r\n\r\n", 25);
	shutdown(fd, SHUT_WR);
	assert_int_equal(status_of(hear(fd)), 200);
	fd = dial();
	say(fd, "GET /hea", 8);
	shutdown(fd, SHUT_WR);
	assert_int_equal(status_of(hear(fd)), 400);
	close(dial());
}

static void
a_head_that_never_ends_is_refused(void **state)
{
	static char huge[100000];
	int fd = dial();

	(void)state;
	memset(huge, 'a', sizeof huge);
	memcpy(huge, "GET / HTTP/1.1\r\nX: ", 19);
	/* Sent whole: the server reads on after it has refused, or this end would be reset. */
	for (size_t at = 0; at < sizeof huge; at += 10000)
		say(fd, huge + at, 10000);
	assert_int_equal(status_of(hear(fd)), 431);
	/* Exactly 8 KiB are allowed. */
	memcpy(huge + HEAD_MAX - 4, "\r\n\r\n", 4);
	fd = dial();
	say(fd, huge, HEAD_MAX);
	assert_int_equal(status_of(hear(fd)), 200);
}

static void
a_slow_head_times_out(void **state)
{
	int64_t begin = sys_now_ns();
	int fd = dial();

	(void)state;
	say(fd, "GET / HT", 8);
	assert_int_equal(status_of(hear(fd)), 408);
	assert_in_range((sys_now_ns() - begin) / 1000000, 1990, 10000);
}

/* The sixteen places go to who asks: of those that do not, the oldest makes room. */
static void
silent_clients_make_room(void **state)
{
	int fds[SERVER_CLIENTS];

	(void)state;
	for (int i = 0; i < SERVER_CLIENTS; i++) {
		fds[i] = dial();
		say(fds[i], "G", 1);
	}
	assert_int_equal(status_of(get("/healthz")), 200);
	assert_int_equal(status_of(hear(fds[0])), 408);
	/* The others still have their places. */
	say(fds[SERVER_CLIENTS - 1], "ET /healthz HTTP/1.1\r\n\r\n", 24);
	assert_int_equal(status_of(hear(fds[SERVER_CLIENTS - 1])), 200);
	for (int i = 1; i < SERVER_CLIENTS - 1; i++)
		close(fds[i]);
}

/* Enough streams for a document that no socket buffer takes at once. */
static void
many_streams(struct record **rec, int nr)
{
	for (int i = 0; i < nr; i++) {
		rec[i] = region_open(ROLE_ACCEPTED, (uint32_t)sys_gettid());
		assert_non_null(rec[i]);
		region_publish(rec[i]);
	}
}

/* The first to ask: the snapshot of a document just before has none. */
static void
streams_are_listed_as_soon_as_somebody_asks(void **state)
{
	struct record *rec[1];

	(void)state;
	many_streams(rec, 1);
	assert_null(strstr(body_of(get("/metrics")), "inode"));
	assert_non_null(strstr(body_of(get("/streams")), "\"inode\":"));
	region_close(rec[0], sys_now_ns(), (uint32_t)sys_gettid());
}

static void
wait_for_a_new_snapshot(void)
{
	int64_t until = sys_now_ns() + 1100000000;

	while (sys_now_ns() < until)
		poll(NULL, 0, 50);
}

/* All places are of clients that do not read, and one more asks. When the first of them asked; once
 * two seconds have passed since, their places may be free. */
static int64_t
take_all_places(int *fds, int *one_more)
{
	int64_t begin = sys_now_ns();
	char c;

	for (int i = 0; i < SERVER_CLIENTS; i++) {
		fds[i] = dial();
		say(fds[i], "GET /streams HTTP/1.1\r\n\r\n", 25);
		/* Begun to be answered. */
		assert_int_equal(recv(fds[i], &c, 1, MSG_PEEK), 1);
	}
	*one_more = dial();
	say(*one_more, "GET /healthz HTTP/1.1\r\n\r\n", 25);
	assert_int_equal(recv(*one_more, &c, 1, MSG_PEEK), 1);
	return begin;
}

static void
clients_that_do_not_read(void **state)
{
	static struct record *rec[2000];
	int fds[SERVER_CLIENTS], fd;
	int64_t begin;
	const char *body;

	(void)state;
	many_streams(rec, 2000);
	wait_for_a_new_snapshot();
	begin = take_all_places(fds, &fd);
	while (sys_now_ns() - begin > 1900 * INT64_C(1000000)) {
		for (int i = 0; i < SERVER_CLIENTS; i++)
			close(fds[i]);
		close(fd);
		begin = take_all_places(fds, &fd);
	}
	assert_int_equal(status_of(hear(fd)), 503);
	assert_non_null(strstr(answer_text, "\r\nRetry-After: "));
	/* Who reads gets all of it, in spite of the others. */
	body = body_of(hear(fds[3]));
	assert_true(json_valid(body, strlen(body)));
	/* The others are dropped after two seconds. */
	for (int i = 0; i < SERVER_CLIENTS; i++) {
		struct pollfd p = { .fd = fds[i], .events = POLLRDHUP };

		if (i == 3)
			continue;
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		close(fds[i]);
	}
	assert_in_range((sys_now_ns() - begin) / 1000000, 1900, 10000);
	for (int i = 0; i < 2000; i++)
		region_close(rec[i], sys_now_ns(), (uint32_t)sys_gettid());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_listed_as_soon_as_somebody_asks),
		cmocka_unit_test(every_document_is_served),
		cmocka_unit_test(requests_are_understood_or_refused),
		cmocka_unit_test(head_has_the_length_and_no_body),
		cmocka_unit_test(a_head_may_come_byte_by_byte),
		cmocka_unit_test(a_client_that_shut_its_side_is_answered),
		cmocka_unit_test(a_head_that_never_ends_is_refused),
		cmocka_unit_test(a_slow_head_times_out),
		cmocka_unit_test(silent_clients_make_room),
		cmocka_unit_test(clients_that_do_not_read),
	};

	return cmocka_run_group_tests_name("server", tests, setup, teardown);
}
