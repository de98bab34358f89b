/* base/sys against the real kernel: results and -errno, errno itself left alone, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

static const int64_t second = INT64_C(1000000000), moment = 1000000;

static void
a_failure_is_minus_errno_and_leaves_errno(void **state)
{
	char buf[4];

	(void)state;
	errno = ENOTTY;
	assert_int_equal(sys_read(-1, buf, 4), -EBADF);
	assert_int_equal(sys_close(-1), -EBADF);
	assert_int_equal(sys_open("/nonexistent/x", O_RDONLY, 0), -ENOENT);
	assert_int_equal(sys_fcntl(-1, F_GETFL, 0), -EBADF);
	assert_null(sys_map(SIZE_MAX / 2, 0));
	assert_int_equal(errno, ENOTTY);
}

static void
fly_sends_all_pieces_and_says_how_much(void **state)
{
	struct flight f = { .iov = { { "ab", 2 }, { "cde", 3 } } };
	char buf[16];
	int pair[2];

	(void)state;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	f.msg.msg_hdr.msg_iov = f.iov;
	f.msg.msg_hdr.msg_iovlen = 2;
	assert_int_equal(sys_fly(pair[0], &f, 0), 5);
	assert_int_equal(f.msg.msg_len, 5);
	assert_int_equal(sys_read(pair[1], buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "abcde", 5);
	close(pair[0]);
	close(pair[1]);
}

static void
fly_never_waits_and_never_raises_sigpipe(void **state)
{
	static char block[65536];
	struct flight f = { .iov = { { block, sizeof(block) } } };
	ssize_t ret;
	int pair[2];

	(void)state;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair); /* blocking */
	f.msg.msg_hdr.msg_iov = f.iov;
	f.msg.msg_hdr.msg_iovlen = 1;
	do {
		f.msg.msg_len = 0;
		ret = sys_fly(pair[0], &f, 0);
	} while (ret > 0);
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(f.msg.msg_len, 0);
	close(pair[1]);
	assert_int_equal(sys_fly(pair[0], &f, 0), -EPIPE);
	close(pair[0]);
}

static void
fly_into_a_file_is_refused(void **state)
{
	struct flight f = { .iov = { { "x", 1 } } };
	int pipe_fd[2];

	(void)state;
	f.msg.msg_hdr.msg_iov = f.iov;
	f.msg.msg_hdr.msg_iovlen = 1;
	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(sys_fly(pipe_fd[1], &f, 0), -ENOTSOCK);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static void
duplicates_share_a_cookie(void **state)
{
	int pair[2], copy;

	(void)state;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	copy = dup(pair[0]);
	assert_true(sys_cookie(pair[0]) != 0);
	assert_true(sys_cookie(pair[0]) == sys_cookie(copy));
	assert_true(sys_cookie(pair[0]) != sys_cookie(pair[1]));
	assert_true(sys_cookie(-1) == 0);
	close(pair[0]);
	close(pair[1]);
	close(copy);
}

static void
poll_waits_as_long_as_told(void **state)
{
	struct pollfd p = { .events = POLLIN };
	int pair[2];
	int64_t begin;

	(void)state;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	p.fd = pair[0];
	assert_int_equal(sys_poll(&p, 1, 0), 0);
	begin = sys_now_ns();
	assert_int_equal(sys_poll(&p, 1, 20), 0);
	assert_true(sys_now_ns() - begin >= 20000000);
	assert_int_equal(sys_write(pair[1], "x", 1), 1);
	assert_int_equal(sys_poll(&p, 1, -1), 1);
	assert_int_equal(p.revents, POLLIN);
	close(pair[0]);
	close(pair[1]);
}

static void
a_futex_waits_until_its_deadline(void **state)
{
	uint32_t word = 1;
	int64_t deadline = sys_now_ns() + 10000000;

	(void)state;
	assert_int_equal(sys_futex_wait(&word, 2, 0), -EAGAIN);
	assert_int_equal(sys_futex_wait(&word, 1, deadline), -ETIMEDOUT);
	assert_true(sys_now_ns() >= deadline);
}

static void
wiped_pages_are_zero_in_a_child_only(void **state)
{
	char *wiped = sys_map(4096, 0), *kept = sys_map(4096, 0),
	     *shared = sys_map(4096, 1);
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(sys_wipe_on_fork(wiped, 4096), 0);
	*wiped = *kept = 1;
	pid = fork();
	if (pid == 0) {
		*shared = 1;
		_exit(*wiped == 0 && *kept == 1 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(*wiped, 1);
	assert_int_equal(*shared, 1);
	sys_unmap(wiped, 4096);
	sys_unmap(kept, 4096);
	sys_unmap(shared, 4096);
}

static void
files_answer_as_the_kernel_does(void **state)
{
	char dir[] = "/tmp/weir-test-XXXXXX", a[64], b[64], entries[1024];
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	fd = sys_open(a, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(sys_write(fd, "xyz", 3), 3);
	assert_int_equal(sys_fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3);
	sys_close(fd);
	assert_int_equal(sys_rename(a, b), 0);
	assert_int_equal(sys_mkdir(a, 0700), 0);
	assert_int_equal(sys_rename_new(b, a), -EEXIST);
	assert_int_equal(sys_chmod(b, 0640), 0);
	assert_int_equal(sys_lstat(b, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	fd = sys_open(dir, O_RDONLY | O_DIRECTORY, 0);
	assert_true(sys_getdents(fd, entries, sizeof(entries)) > 0);
	sys_close(fd);
	assert_int_equal(sys_unlink(b), 0);
	assert_int_equal(sys_lstat(b, &st), -ENOENT);
	assert_int_equal(sys_rmdir(dir), -ENOTEMPTY);
	assert_int_equal(sys_rmdir(a), 0);
	assert_int_equal(sys_rmdir(dir), 0);
	assert_int_equal(sys_lstat(dir, &st), -ENOENT);
}

static void
record_locks_are_seen_by_others(void **state)
{
	FILE *file = tmpfile();
	int fd = fileno(file), status;
	pid_t pid;

	(void)state;
	assert_int_equal(sys_setlk(fd, F_WRLCK, 3, 0), 0);
	pid = fork();
	if (pid == 0)
		_exit(sys_setlk(fd, F_WRLCK, 3, 0) == -EAGAIN &&
				      sys_setlk(fd, F_WRLCK, 4, 0) == 0
			      ? 0
			      : 1);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	fclose(file);
}

/* ---- threads ---- */

static uint32_t started, stop; /* A */
static char thread_name[16];
static int ordinary_blocked;

static void
helper(void)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	ordinary_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGPROF);
	prctl(PR_GET_NAME, thread_name);
	__atomic_store_n(&started, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0)
		sys_futex_wait(&stop, 0, sys_now_ns() + moment);
}

static void
a_thread_is_unknown_to_libc_and_gone_after_join(void **state)
{
	int64_t deadline = sys_now_ns() + 10 * second;
	struct sys_thread t = { 0 };
	sigset_t before;

	(void)state;
	errno = ENOTTY;
	sys_signals_block(&before);
	assert_int_equal(
		sys_thread_start(&t, helper, "weir-helper-with-a-long-name", true), 0);
	sys_signals_restore(&before);
	assert_int_equal(errno, ENOTTY);
	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) == 0 &&
	       sys_now_ns() < deadline)
		sys_futex_wait(&started, 0, sys_now_ns() + moment);
	assert_int_equal(started, 1);
	assert_string_equal(thread_name, "weir-helper-wit");
	assert_true(ordinary_blocked);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
	assert_true(__libc_single_threaded);
#endif
	assert_int_equal(sys_tgkill(getpid(), t.tid, 0), 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	sys_thread_join(&t);
	assert_int_equal(sys_tgkill(getpid(), t.tid, 0), -ESRCH);
}

static struct sys_alarm bell;

static void
bell_waiter(void)
{
	sys_alarm_make(&bell);
	__atomic_store_n(&started, 1, __ATOMIC_RELEASE);
	sys_alarm_wait(&bell, &stop, 0, 0);
	sys_alarm_end(&bell);
}

static void
an_alarm_rings_where_a_signal_is_refused(void **state)
{
	struct sys_thread t = { 0 };
	struct sys_alarm refused;
	sigset_t before;

	(void)state;
	__atomic_store_n(&started, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
	sys_signals_block(&before);
	assert_int_equal(sys_thread_start(&t, bell_waiter, "weir-bell", false), 0);
	sys_signals_restore(&before);
	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) == 0)
		sys_yield();
	refused = bell;
	refused.tid = 0; /* EINVAL */
	sys_alarm_ring(&refused);
	sys_thread_join(&t);
	assert_int_equal(sys_tgkill(getpid(), t.tid, 0), -ESRCH);
}

static int lock_fd = -1;

/* Sleeps in a call that takes no time-out, until it is told that it is over. */
static void
lock_waiter(void)
{
	sys_signal_let(SIGSTKFLT, true);
	__atomic_store_n(&started, 1, __ATOMIC_RELEASE);
	while (sys_setlk(lock_fd, F_WRLCK, 0, 1) == -EINTR &&
	       __atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0)
		;
}

/* The default action of the signal would end the process. */
static void
a_thread_that_waits_for_a_lock_is_ended(void **state)
{
	char path[] = "/tmp/weir-lock-XXXXXX";
	struct sigaction before, after;
	struct sys_thread t = { 0 };
	int status;
	pid_t holder;

	(void)state;
	lock_fd = mkstemp(path);
	assert_true(lock_fd >= 0);
	unlink(path);
	holder = fork();
	if (!holder) {
		sys_setlk(lock_fd, F_WRLCK, 0, 1);
		for (;;)
			pause();
	}
	while (sys_setlk(lock_fd, F_WRLCK, 0, 0) >= 0)
		sys_setlk(lock_fd, F_UNLCK, 0, 0);
	sigaction(SIGSTKFLT, NULL, &before);
	for (int i = 0; i < 20; i++) {
		__atomic_store_n(&started, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
		assert_int_equal(
			sys_thread_start(&t, lock_waiter, "weir-waiter", false), 0);
		while (i % 2 && __atomic_load_n(&started, __ATOMIC_ACQUIRE) == 0)
			sys_yield();
		__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
		sys_thread_end(&t, SIGSTKFLT);
		assert_int_equal(sys_tgkill(getpid(), t.tid, 0), -ESRCH);
	}
	sigaction(SIGSTKFLT, NULL, &after);
	assert_ptr_equal(before.sa_handler, after.sa_handler);
	kill(holder, SIGKILL);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	close(lock_fd);
}

/* A program under ThreadSanitizer is never single-threaded. */
#ifndef __SANITIZE_THREAD__
static void
nothing(void)
{
}

/* unshare(CLONE_THREAD), which CLONE_NEWUSER implies, says EINVAL while the kernel counts a
 * second thread: a join that returned too early shows here. */
static void
after_join_the_process_is_single_threaded(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct sys_thread t = { 0 };

		assert_int_equal(sys_thread_start(&t, nothing, "weir-nothing", false),
				 0);
		sys_thread_join(&t);
		assert_int_equal(unshare(CLONE_THREAD), 0);
	}
}
#endif

static void
limits_and_clocks_make_sense(void **state)
{
	int64_t now = sys_now_ns();

	(void)state;
	assert_true(sys_nofile_limit() > 0);
	assert_true(now > 0 && sys_now_ns() >= now);
	assert_true(sys_wall_ms() / 1000 - time(NULL) <= 1);
	assert_true(time(NULL) - sys_wall_ms() / 1000 <= 1);
	assert_int_equal(sys_getpid(), getpid());
	assert_int_equal(sys_gettid(), getpid());
	assert_int_equal(sys_getuid(), geteuid());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_is_minus_errno_and_leaves_errno),
		cmocka_unit_test(fly_sends_all_pieces_and_says_how_much),
		cmocka_unit_test(fly_never_waits_and_never_raises_sigpipe),
		cmocka_unit_test(fly_into_a_file_is_refused),
		cmocka_unit_test(duplicates_share_a_cookie),
		cmocka_unit_test(poll_waits_as_long_as_told),
		cmocka_unit_test(a_futex_waits_until_its_deadline),
		cmocka_unit_test(wiped_pages_are_zero_in_a_child_only),
		cmocka_unit_test(files_answer_as_the_kernel_does),
		cmocka_unit_test(record_locks_are_seen_by_others),
		cmocka_unit_test(a_thread_is_unknown_to_libc_and_gone_after_join),
		cmocka_unit_test(an_alarm_rings_where_a_signal_is_refused),
		cmocka_unit_test(a_thread_that_waits_for_a_lock_is_ended),
#ifndef __SANITIZE_THREAD__
		cmocka_unit_test(after_join_the_process_is_single_threaded),
#endif
		cmocka_unit_test(limits_and_clocks_make_sense),
	};

	return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
