/* metrics/metrics: the life of the serving thread, and of the one number it needs. */
#include "serving.h"

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

static void
stopping_is_prompt_and_not_for_ever(void **state)
{
	int64_t begin = sys_now_ns();

	(void)state;
	for (int i = 0; i < 20; i++) {
		metrics_stop(false);
		assert_true(metrics_undecided);
		metrics_member_sleeps();
	}
	assert_in_range((sys_now_ns() - begin) / 1000000, 0, 4000);
	assert_int_equal(status_of(get("/healthz")), 200);
}

/* A worker finds that its parent serves and makes no thread; it asks again for a while. */
static void
a_child_makes_no_second_thread(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(status_of(get("/healthz")), 200);
	pid = fork();
	if (!pid) {
		char task[64];

		metrics_child();
		metrics_member_sleeps();
		snprintf(task, sizeof task, "/proc/self/task");
		{
			struct stat st;

			/* Two entries and one directory a thread. */
			_exit(stat(task, &st) < 0 || st.st_nlink != 3 ||
			      !metrics_undecided);
		}
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_thread_keeps_no_descriptor_of_ours),
		cmocka_unit_test(the_number_is_high_and_makes_way),
		cmocka_unit_test(stopping_is_prompt_and_not_for_ever),
		cmocka_unit_test(a_child_makes_no_second_thread),
	};

	return cmocka_run_group_tests_name("metrics", tests, setup, teardown);
}
