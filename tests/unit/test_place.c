/* metrics/place, at_exit: where the socket ends up, and what it never touches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "count/member.h"
#include "in_child.h"
#include "json_check.h"
#include "metrics/metrics.h"
#include "metrics/place.h"

static struct config settings = {
	.socket_mode = 0600,
	.enabled = true,
	.pool_enabled = true,
	.metrics = true,
	.programs = "*",
	.program = "prog",
};
static char dir[] = "/tmp/weir-place-XXXXXX";
static char path[CONFIG_PATH_MAX];

static void
put_path(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", dir, name);
	strcpy(settings.socket, path);
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir + sizeof dir - 7, "XXXXXX");
	config = &settings;
	log_set_level(LOG_OFF);
	settings.metrics = true;
	settings.socket_mode = 0600;
	settings.at_exit[0] = '\0';
	if (!mkdtemp(dir))
		return -1;
	strcpy(settings.runtime, dir);
	put_path("s");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

static int
connect_to(const char *to)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), ret;

	strncpy(sa.sun_path, to, sizeof sa.sun_path - 1);
	ret = connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* Somebody else's socket; one that is closed is dead. */
static int
rival(const char *at, bool listening)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(sa.sun_path, at, sizeof sa.sun_path - 1);
	CHECK(!bind(fd, (struct sockaddr *)&sa, sizeof sa));
	if (listening)
		CHECK(!listen(fd, 5));
	else
		close(fd);
	return fd;
}

static void
begin(void)
{
	CHECK(region_init());
	region_join(0);
	metrics_bind();
}

static const char *
beside(const char *suffix)
{
	static char name[CONFIG_PATH_MAX + 64];

	snprintf(name, sizeof name, "%s%s", path, suffix);
	return name;
}

static bool
exists(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

IN_CHILD(the_mode_is_exact_whatever_the_umask)
{
	struct stat st;

	umask(0777);
	settings.socket_mode = 0666;
	begin();
	CHECK(!strcmp(place_path(), path));
	CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0666);
	CHECK(!exists(beside(".new")));
	CHECK(!connect_to(path));
	metrics_end(true);
	CHECK(!exists(path));
}

IN_CHILD(it_binds_once_and_again_after_its_end)
{
	int fd;

	begin();
	fd = metrics_fd();
	metrics_bind();
	CHECK(metrics_fd() == fd && metrics_undecided);
	metrics_end(false);
	CHECK(exists(path) && metrics_fd() == fd);
	metrics_end(true);
	CHECK(!exists(path) && metrics_fd() < 0 && fcntl(fd, F_GETFD) < 0 &&
	      !metrics_undecided);
	metrics_bind();
	CHECK(exists(path) && metrics_fd() >= 0);
	metrics_end(true);
}

IN_CHILD(a_dead_socket_is_replaced)
{
	rival(path, false);
	rival(beside(".new"), false);
	CHECK(connect_to(path) == -ECONNREFUSED);
	begin();
	CHECK(!strcmp(place_path(), path) && !connect_to(path));
	CHECK(!exists(beside(".new")));
}

IN_CHILD(a_live_socket_is_never_taken_over)
{
	char second[32], third[32];

	rival(path, true);
	snprintf(second, sizeof second, ".%d", getpid());
	snprintf(third, sizeof third, ".%d.2", getpid());
	rival(beside(second), true);
	begin();
	CHECK(!strcmp(place_path(), beside(third)));
	CHECK(!connect_to(place_path()) && !connect_to(path));
	metrics_end(true);
	CHECK(exists(path) && !exists(beside(third)));
}

enum { STARTERS = 4, STARTS = 100 };

/* One of several families that begin at the same moment; it lives until `over` ends. */
static void
start_at_once(int go, int bound, int over)
{
	char c;

	(void)!read(go, &c, 1);
	CHECK(region_init());
	region_join(0);
	metrics_bind();
	CHECK(metrics_fd() >= 0 && !connect_to(place_path()));
	CHECK(write(bound, "b", 1) == 1);
	(void)!read(over, &c, 1);
	/* Also now that the others have bound theirs. */
	CHECK(!connect_to(place_path()));
	_exit(0);
}

/* All find the same dead socket in the way, and would remove each other's live ones. */
static void
starters_keep_out_of_each_others_way(void)
{
	int go[2], bound[2], over[2], status;
	char c;

	close(rival(path, false));
	CHECK(!pipe(go) && !pipe(bound) && !pipe(over));
	for (int i = 0; i < STARTERS; i++) {
		if (fork())
			continue;
		close(go[1]);
		close(over[1]);
		start_at_once(go[0], bound[1], over[0]);
	}
	close(bound[1]);
	close(go[1]);
	for (int i = 0; i < STARTERS; i++)
		CHECK(read(bound[0], &c, 1) == 1);
	CHECK(!connect_to(path) && !exists(beside(".new")));
	close(over[1]);
	for (int i = 0; i < STARTERS; i++)
		CHECK(wait(&status) > 0 && !status);
	close(bound[0]);
	close(go[0]);
	close(over[0]);
	CHECK(!unlink(path));
}

IN_CHILD(families_that_start_at_once_keep_their_sockets)
{
	for (int i = 0; i < STARTS; i++)
		starters_keep_out_of_each_others_way();
}

IN_CHILD(a_live_new_one_counts_as_in_use)
{
	char second[32];

	rival(beside(".new"), true);
	snprintf(second, sizeof second, ".%d", getpid());
	begin();
	CHECK(!strcmp(place_path(), beside(second)) && !exists(path));
	CHECK(!connect_to(beside(".new")));
}

IN_CHILD(what_is_no_socket_stays)
{
	struct stat st;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	CHECK(write(fd, "data", 4) == 4);
	begin();
	CHECK(metrics_fd() < 0 && !metrics_undecided);
	CHECK(!stat(path, &st) && st.st_size == 4);
	CHECK(region_get()->totals.internal[INTERNAL_SOCKET] == 1);
}

IN_CHILD(a_socket_that_is_not_ours_any_more_stays)
{
	begin();
	CHECK(!unlink(path));
	rival(path, true);
	metrics_end(true);
	CHECK(!connect_to(path));
}

IN_CHILD(a_missing_directory_costs_a_count)
{
	put_path("nowhere/s");
	begin();
	CHECK(metrics_fd() < 0);
	CHECK(region_get()->totals.internal[INTERNAL_DIRECTORY] == 1);
}

IN_CHILD(off_binds_nothing)
{
	settings.metrics = false;
	begin();
	CHECK(metrics_fd() < 0 && !exists(path));
}

IN_CHILD(long_paths_work)
{
	char name[1024];

	strcpy(name, dir);
	for (int i = 0; i < 20; i++) {
		strcat(name, "/a-directory-with-a-rather-long-name");
		CHECK(!mkdir(name, 0700));
	}
	CHECK(snprintf(path, sizeof path, "%s/s", name) > 600);
	strcpy(settings.socket, path);
	begin();
	CHECK(!strcmp(place_path(), path) && exists(path));
	CHECK(!chdir(name) && !connect_to("s"));
	/* A second family sees that the place is taken. */
	CHECK(place_bind() >= 0 && strcmp(place_path(), path));
	metrics_end(true);
}

IN_CHILD(the_default_place_is_the_runtime_directory)
{
	char want[256];
	struct stat st;

	settings.socket[0] = '\0';
	begin();
	snprintf(want, sizeof want, "%s/weir/prog.%d.sock", dir, getpid());
	CHECK(!strcmp(place_path(), want) && !connect_to(want));
	snprintf(want, sizeof want, "%s/weir", dir);
	CHECK(!stat(want, &st) && (st.st_mode & 07777) == 0700);
	metrics_end(true);
	/* As if nobody had been there. */
	CHECK(!exists(want) && exists(dir));
}

IN_CHILD(the_directory_goes_only_with_our_socket)
{
	char weir[256];

	settings.socket[0] = '\0';
	snprintf(weir, sizeof weir, "%s/weir", dir);
	begin();
	CHECK(!unlink(place_path()));
	metrics_end(true);
	CHECK(exists(weir));
}

/* Of the process that binds and the one that removes its directory. */
struct coming_and_going {
	int nr_binds, nr_removed;
};

/* Each bind meets so few removals that it does not give up: where the two share one busy processor
 * they may go by turns. */
static void
remove_often(struct coming_and_going *both)
{
	int bind = 0, nr = 0;

	for (;; usleep(2000)) {
		int now = __atomic_load_n(&both->nr_binds, __ATOMIC_ACQUIRE);

		if (now != bind)
			nr = 0;
		bind = now;
		if (nr < 6 && !rmdir(path)) {
			nr++;
			__atomic_add_fetch(&both->nr_removed, 1, __ATOMIC_RELAXED);
		}
	}
}

/* There the one seldom comes between what the other does. */
static bool
removed_often(const struct coming_and_going *both, int64_t until)
{
	int nr = __atomic_load_n(&both->nr_removed, __ATOMIC_RELAXED);

	return nr >= 60 || (nr > 0 && sys_now_ns() > until);
}

/* One that begins finds the directory, and the last that was there removes it. */
IN_CHILD(directories_that_come_and_go)
{
	struct coming_and_going *both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE,
					     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t until = sys_now_ns() + 20 * INT64_C(1000000000);
	pid_t other;

	settings.socket[0] = '\0';
	snprintf(path, sizeof path, "%s/weir", dir);
	CHECK(both != MAP_FAILED);
	other = fork();
	if (!other) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		remove_often(both);
	}
	CHECK(region_init());
	while (!removed_often(both, until)) {
		int fd;

		__atomic_add_fetch(&both->nr_binds, 1, __ATOMIC_RELEASE);
		fd = place_bind();
		CHECK(fd >= 0 && !strncmp(place_path(), dir, strlen(dir)));
		CHECK(!close(fd));
		place_unlink();
	}
	CHECK(!kill(other, SIGKILL) && waitpid(other, NULL, 0) == other);
}

IN_CHILD(a_directory_that_others_can_change_is_refused)
{
	char weir[256];

	settings.socket[0] = '\0';
	snprintf(weir, sizeof weir, "%s/weir", dir);
	CHECK(!mkdir(weir, 0700) && !chmod(weir, 0770));
	begin();
	CHECK(strncmp(place_path(), weir, strlen(weir)) != 0);
	metrics_end(true);
}

IN_CHILD(a_link_instead_of_the_directory_is_refused)
{
	char weir[256], target[256];

	settings.socket[0] = '\0';
	snprintf(weir, sizeof weir, "%s/weir", dir);
	snprintf(target, sizeof target, "%s/target", dir);
	CHECK(!mkdir(target, 0700) && !symlink(target, weir));
	begin();
	CHECK(strncmp(place_path(), weir, strlen(weir)) != 0);
	metrics_end(true);
}

IN_CHILD(dead_ones_of_the_program_are_swept)
{
	char weir[256];

	settings.socket[0] = '\0';
	snprintf(weir, sizeof weir, "%s/weir", dir);
	CHECK(!mkdir(weir, 0700));
	strcpy(path, weir);
	rival(beside("/prog.1.sock"), false);
	rival(beside("/prog.2.sock"), true);
	rival(beside("/other.3.sock"), false);
	rival(beside("/program.4.sock"), false);
	CHECK(!fclose(fopen(beside("/prog.5.sock"), "w")));
	begin();
	CHECK(!exists(beside("/prog.1.sock")));
	CHECK(!connect_to(beside("/prog.2.sock")));
	CHECK(exists(beside("/other.3.sock")) && exists(beside("/program.4.sock")) &&
	      exists(beside("/prog.5.sock")));
	CHECK(!connect_to(place_path()));
	metrics_end(true);
}

/* Numbers the application would have got are there for it. */
IN_CHILD(the_lowest_numbers_stay_free)
{
	struct rlimit limit = { 64, 64 };
	int first = dup(0), after;

	close(first);
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	begin();
	after = dup(0);
	CHECK(after == first && metrics_fd() >= 62);
	CHECK(fcntl(metrics_fd(), F_GETFD) & FD_CLOEXEC);
}

IN_CHILD(no_number_left_costs_a_count)
{
	struct rlimit limit = { 20, 20 };

	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(0) >= 0)
		;
	begin();
	CHECK(metrics_fd() < 0 && !exists(path));
	CHECK(region_get()->totals.internal[INTERNAL_DESCRIPTOR] == 1);
	close(19); /* a sanitizer's report needs one */
}

IN_CHILD(the_last_metrics_are_written_at_the_end)
{
	static char text[100000];
	struct stat st;
	char at_exit[256];
	int fd;
	size_t len;

	snprintf(settings.at_exit, sizeof settings.at_exit, "%s/last-%%p.json", dir);
	snprintf(at_exit, sizeof at_exit, "%s/last-%d.json", dir, getpid());
	begin();
	metrics_end(false);
	CHECK(!exists(at_exit));
	metrics_end(true);
	fd = open(at_exit, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &st));
	len = (size_t)read(fd, text, sizeof text);
	CHECK(len == (size_t)st.st_size && json_valid(text, len));
	CHECK(strstr(text, "weir.metrics/1"));
	CHECK(region_get()->totals.internal[INTERNAL_DIRECTORY] == 0);
}

IN_CHILD(a_place_that_cannot_be_written_is_noticed_at_the_start)
{
	snprintf(settings.at_exit, sizeof settings.at_exit, "%s/nowhere/last.json", dir);
	begin();
	CHECK(region_get()->totals.internal[INTERNAL_DIRECTORY] == 1);
	CHECK(metrics_fd() >= 0);
}

/* Would otherwise end the process with SIGXFSZ, in the middle of its own end. */
IN_CHILD(a_file_size_limit_kills_nobody)
{
	struct rlimit limit = { 10, 10 };

	snprintf(settings.at_exit, sizeof settings.at_exit, "%s/last.json", dir);
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	begin();
	metrics_end(true);
	CHECK(region_get()->totals.internal[INTERNAL_DIRECTORY] == 1);
}

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLACE_TEST(the_mode_is_exact_whatever_the_umask),
		PLACE_TEST(it_binds_once_and_again_after_its_end),
		PLACE_TEST(a_dead_socket_is_replaced),
		PLACE_TEST(a_live_socket_is_never_taken_over),
		PLACE_TEST(families_that_start_at_once_keep_their_sockets),
		PLACE_TEST(a_live_new_one_counts_as_in_use),
		PLACE_TEST(what_is_no_socket_stays),
		PLACE_TEST(a_socket_that_is_not_ours_any_more_stays),
		PLACE_TEST(a_missing_directory_costs_a_count),
		PLACE_TEST(off_binds_nothing),
		PLACE_TEST(long_paths_work),
		PLACE_TEST(the_default_place_is_the_runtime_directory),
		PLACE_TEST(the_directory_goes_only_with_our_socket),
		PLACE_TEST(directories_that_come_and_go),
		PLACE_TEST(a_directory_that_others_can_change_is_refused),
		PLACE_TEST(a_link_instead_of_the_directory_is_refused),
		PLACE_TEST(dead_ones_of_the_program_are_swept),
		PLACE_TEST(the_lowest_numbers_stay_free),
		PLACE_TEST(no_number_left_costs_a_count),
		PLACE_TEST(the_last_metrics_are_written_at_the_end),
		PLACE_TEST(a_place_that_cannot_be_written_is_noticed_at_the_start),
		PLACE_TEST(a_file_size_limit_kills_nobody),
	};

	return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
