/* metrics/server under attack: whatever others do to the socket, who asks properly is answered
 * within a second, and memory stays where it was. */
#include "serving.h"

enum { DRIBBLERS = 200, CONNECTS = 10000, HUGE = 1 << 20, MANY = 5000, ROUNDS = 40 };

static struct record *records[MANY];

/* Not waiting: who is refused is tried again later. -1: the queue is full. */
static int
dial_now(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, place_path());
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	assert_int_equal(errno, EAGAIN);
	close(fd);
	return -1;
}

static size_t
resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %zu", &pages), 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The time until an answer that is a document. One that makes room for a later one asks again. */
static int64_t
good_client_ms(const char *target)
{
	int64_t begin = sys_now_ns();
	int status;

	do {
		const char *answer = get(target);

		status = status_of(answer);
		assert_true(status == 200 || status == 408 || status == 503);
		assert_true(sys_now_ns() - begin < PATIENCE_MS * INT64_C(1000000));
	} while (status != 200);
	return (sys_now_ns() - begin) / 1000000;
}

/* Of all that ask in a test, few are answered late: on a busy machine that may be its doing. */
static int nr_asked, nr_late;

static void
ask_within(const char *target, int64_t ms)
{
	nr_asked++;
	nr_late += good_client_ms(target) > ms;
}

static void
assert_few_late(void)
{
	int asked = nr_asked, late = nr_late;

	nr_asked = nr_late = 0;
	assert_in_range(late, 0, asked / 3);
}

static void
connects_without_a_word_cost_nobody(void **state)
{
	size_t before = resident();
	int nr = 0;

	(void)state;
	for (int i = 1; nr < CONNECTS; i++) {
		int fd = dial_now();

		if (fd >= 0) {
			close(fd);
			nr++;
		} else {
			poll(NULL, 0, 1);
		}
		if (i % 1000 == 0)
			ask_within("/healthz", 1000);
	}
	ask_within("/healthz", 1000);
	assert_few_late();
	assert_true(resident() < before + (4 << 20));
}

/* A byte each and never a whole request; who is thrown out comes back. */
static void
dribble(int *fds)
{
	for (int i = 0; i < DRIBBLERS; i++) {
		if (fds[i] >= 0 && send(fds[i], "G", 1, MSG_NOSIGNAL) < 0) {
			close(fds[i]);
			fds[i] = -1;
		}
		if (fds[i] < 0)
			fds[i] = dial_now();
	}
}

static void
dribblers_are_outlived(void **state)
{
	size_t before = resident();
	int fds[DRIBBLERS];

	(void)state;
	for (int i = 0; i < DRIBBLERS; i++)
		fds[i] = -1;
	for (int i = 0; i < ROUNDS; i++) {
		dribble(fds);
		ask_within("/metrics", 1000);
	}
	assert_few_late();
	for (int i = 0; i < DRIBBLERS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	assert_true(resident() < before + (8 << 20));
}

/* Lines of a megabyte, and bytes that are no text at all, sent for as long as they are taken. */
static void
huge_lines_and_garbage_are_refused(void **state)
{
	static char huge[HUGE];
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int fd = dial(), status;
		ssize_t nr;

		for (size_t i = 0; i < sizeof huge; i++)
			huge[i] = round % 2 ? 'a'
					    : (char)(seed = seed * 1103515245 + 12345,
						     seed >> 16);
		memcpy(huge, "GET /", 5);
		for (size_t at = 0; at < sizeof huge; at += (size_t)nr) {
			nr = send(fd, huge + at, sizeof huge - at, MSG_NOSIGNAL);
			assert_true(nr > 0);
		}
		status = status_of(hear(fd));
		assert_true(status == 431 || status == 400);
		ask_within("/healthz", 1000);
	}
	assert_few_late();
}

static int64_t
send_until_cut_off_ms(void)
{
	static const char block[65536];
	int64_t begin = sys_now_ns();
	size_t sent = 0;
	ssize_t nr;
	int fd = dial();

	while ((nr = send(fd, block, sizeof block, MSG_NOSIGNAL)) > 0)
		sent += (size_t)nr;
	assert_true(nr < 0 && (errno == EPIPE || errno == ECONNRESET));
	assert_in_range(sent, HUGE, 16 * HUGE);
	close(fd);
	return (sys_now_ns() - begin) / 1000000;
}

/* One that never stops sending after it was refused is not read for ever. */
static void
an_endless_sender_is_cut_off(void **state)
{
	int64_t ms = send_until_cut_off_ms();

	(void)state;
	/* A machine that had other things to do has not each time. */
	for (int i = 0; i < 2 && ms > 1500; i++)
		ms = send_until_cut_off_ms();
	assert_in_range(ms, 0, 1500);
}

/* Sixteen that ask for a document of megabytes and never read it hold at most so much, and only
 * for two seconds. */
static void
readers_that_never_read_hold_little_memory(void **state)
{
	static const char request[] = "GET /streams HTTP/1.1\r\n\r\n";
	int fds[SERVER_CLIENTS];
	size_t before;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		records[i] = region_open(ROLE_ACCEPTED, (uint32_t)sys_gettid());
		assert_non_null(records[i]);
		region_publish(records[i]);
	}
	/* The snapshot of the last second may still be in use. */
	while (strlen(body_of(get("/streams"))) < HUGE)
		poll(NULL, 0, 50);
	before = resident();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SERVER_CLIENTS; i++) {
			fds[i] = dial();
			say(fds[i], request, sizeof request - 1);
		}
		/* Every place is taken for as long as two seconds. */
		ask_within("/healthz", 2500);
		for (int i = 0; i < SERVER_CLIENTS; i++)
			close(fds[i]);
		ask_within("/metrics", 1000);
	}
	assert_few_late();
	assert_true(resident() < before + (64 << 20));
	for (int i = 0; i < MANY; i++)
		region_close(records[i], sys_now_ns(), (uint32_t)sys_gettid());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects_without_a_word_cost_nobody),
		cmocka_unit_test(dribblers_are_outlived),
		cmocka_unit_test(huge_lines_and_garbage_are_refused),
		cmocka_unit_test(an_endless_sender_is_cut_off),
		cmocka_unit_test(readers_that_never_read_hold_little_memory),
	};

	return cmocka_run_group_tests_name("hostile", tests, setup, teardown);
}
