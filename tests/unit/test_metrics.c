/* metrics/metrics: the life of the serving thread, and of the one number it needs. */
#include "metrics/standby.h"
#include "serving.h"
#include <signal.h>

/* A descriptor of the application that the thread kept would never send its FIN. */
static void
the_thread_keeps_no_descriptor_of_ours(void **state)
{
	struct timeval patience = { PATIENCE_MS / 1000, 0 };
	int pair[2];
	char c;

	(void)state;
	metrics_stop(false);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	metrics_member_sleeps();
	assert_int_equal(status_of(get("/healthz")), 200);
	close(pair[0]);
	assert_int_equal(recv(pair[1], &c, 1, 0), 0);
	close(pair[1]);
}

static void
the_number_is_high_and_makes_way(void **state)
{
	int fd = metrics_fd(), other;

	(void)state;
	assert_true(metrics_owns(fd) && !metrics_owns(fd + 1) && !metrics_owns(-1));
	assert_true(fd < 1024 &&
		    fd >= (sys_nofile_limit() < 1024 ? sys_nofile_limit() : 1024) - 8);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	metrics_make_way(fd);
	assert_true(metrics_fd() != fd && metrics_fd() > 2 && fcntl(fd, F_GETFD) < 0);
	other = open("/dev/null", O_RDONLY);
	assert_int_equal(dup2(other, fd), fd);
	assert_int_equal(status_of(get("/healthz")), 200);
	metrics_stop(false);
	metrics_member_sleeps();
	assert_int_equal(status_of(get("/healthz")), 200);
	close(other);
	close(fd);
}

static int64_t
stop_often_ms(void)
{
	int64_t begin = sys_now_ns();

	for (int i = 0; i < 20; i++) {
		metrics_stop(false);
		assert_true(metrics_undecided);
		metrics_member_sleeps();
	}
	return (sys_now_ns() - begin) / 1000000;
}

static void
stopping_is_prompt_and_not_for_ever(void **state)
{
	int64_t ms = stop_often_ms();

	(void)state;
	/* A machine that had other things to do has not each time. */
	for (int i = 0; i < 2 && ms > 4000; i++)
		ms = stop_often_ms();
	assert_in_range(ms, 0, 4000);
	assert_int_equal(status_of(get("/healthz")), 200);
}

/* Threads of this process. */
static unsigned
nr_threads(void)
{
	struct stat st;

	/* Two entries and one directory a thread. */
	return stat("/proc/self/task", &st) < 0 ? 0 : (unsigned)st.st_nlink - 2;
}

static bool
soon(bool (*holds)(void))
{
	int64_t until = sys_now_ns() + PATIENCE_MS * INT64_C(1000000);

	while (!holds())
		if (sys_now_ns() > until)
			return false;
		else
			poll(NULL, 0, 5);
	return true;
}

static bool
seat_taken(unsigned byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	return fcntl(metrics_fd(), F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

static bool
is_served(void)
{
	return seat_taken(SERVER_BYTE);
}

static bool
is_stood_by(void)
{
	return seat_taken(STANDBY_BYTE);
}

static bool
is_taken(void)
{
	return is_stood_by() || is_served();
}

static bool
is_alone(void)
{
	return nr_threads() == 1;
}

/* A member: as one that was forked, and sleeps again and again. */
static pid_t
member(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	metrics_child();
	region_join(0);
	for (;;) {
		if (metrics_undecided)
			metrics_member_sleeps();
		poll(NULL, 0, 5);
	}
}

static void
kill_member(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* The parent serves. Of its children one stands by, and the others make no thread that stays. */
static void
one_child_stands_by(void **state)
{
	pid_t first, second;
	int status;

	(void)state;
	assert_int_equal(status_of(get("/healthz")), 200);
	first = member();
	assert_true(soon(is_stood_by));
	second = fork();
	if (!second) {
		metrics_child();
		metrics_member_sleeps();
		_exit(metrics_undecided || !soon(is_alone));
	}
	assert_int_equal(waitpid(second, &status, 0), second);
	assert_int_equal(status, 0);
	kill_member(first);
	assert_false(is_stood_by());
}

/* Where each member lives for one connection, not each of them makes a thread. */
static void
short_lives_make_few_threads(void **state)
{
	int nr = 0, status;
	pid_t pid;

	(void)state;
	for (int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			metrics_child();
			metrics_member_sleeps();
			_exit(nr_threads() > 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		nr += status != 0;
	}
	assert_in_range(nr, 0, 19);
	/* One that stays stands by all the same. */
	pid = member();
	assert_true(soon(is_stood_by));
	kill_member(pid);
}

/* When the standby is gone the server notices it at the next request. */
static void
a_vacancy_is_announced(void **state)
{
	int64_t until = sys_now_ns() + PATIENCE_MS * INT64_C(1000000);
	unsigned nr;

	(void)state;
	while (!metrics_vacant() && sys_now_ns() < until) {
		assert_int_equal(status_of(get("/healthz")), 200);
		poll(NULL, 0, 20);
	}
	assert_true(metrics_vacant());
	/* Who serves already has nothing to do about it. */
	nr = nr_threads();
	metrics_member_sleeps();
	assert_int_equal(nr_threads(), nr);
	assert_int_equal(status_of(get("/healthz")), 200);
}

/* Here the members stand by for this process, whose thread then ends; no time-out is involved. */
static void
the_standby_takes_over(void **state)
{
	pid_t first = member();
	int64_t begin;
	char text[32];

	(void)state;
	assert_true(soon(is_stood_by));
	begin = sys_now_ns();
	metrics_stop(false);
	snprintf(text, sizeof text, "\"pid\":%d}", (int)first);
	assert_non_null(strstr(get("/healthz"), text));
	assert_in_range((sys_now_ns() - begin) / 1000000, 0, 2000);
	assert_true(is_served() && !is_stood_by());
	assert_true(metrics_vacant());
	kill_member(first);
}

/* A parent that has not slept yet is left the first place, and loses it if it does not come. */
static void
a_child_leaves_the_first_place_to_its_parent(void **state)
{
	pid_t first;
	int64_t begin = sys_now_ns();

	(void)state;
	assert_false(is_served());
	first = member();
	/* It stands by for a moment only, which may be over before anybody looks. */
	assert_true(soon(is_taken));
	assert_int_equal(status_of(get("/healthz")), 200);
	assert_in_range((sys_now_ns() - begin) / 1000000, 250, 2000);
	kill_member(first);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_thread_keeps_no_descriptor_of_ours),
		cmocka_unit_test(the_number_is_high_and_makes_way),
		cmocka_unit_test(stopping_is_prompt_and_not_for_ever),
		cmocka_unit_test(one_child_stands_by),
		cmocka_unit_test(short_lives_make_few_threads),
		cmocka_unit_test(a_vacancy_is_announced),
		cmocka_unit_test(the_standby_takes_over),
		cmocka_unit_test(a_child_leaves_the_first_place_to_its_parent),
	};

	return cmocka_run_group_tests_name("metrics", tests, setup, teardown);
}
