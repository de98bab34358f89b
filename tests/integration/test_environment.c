/* Values that make no sense: one line that names variable and value; all goes on. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "harness_internal.h"
#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const bad[] = {
	"STREAM_REQUEST_CHUNK_SIZE=nonsense",
	"STREAM_REQUEST_CHUNK_SIZE=1023",
	"STREAM_REQUEST_CHUNK_SIZE=-32768",
	"STREAM_RESPONSE_CHUNK_SIZE=32G",
	"STREAM_RESPONSE_CHUNK_SIZE=2M",
	"STREAM_RESPONSE_CHUNK_SIZE=99999999999999999999",
	"STREAM_BUFFER_POOL_ENABLED=perhaps",
	"STREAM_BUFFER_POOL_MAX_BYTES=12Q",
	"STREAM_FLUSH_DELAY_US=1000001",
	"STREAM_FLUSH_DELAY_US=0x10",
	"STREAM_FLUSH_DELAY_US=1.5",
	"STREAM_METRICS_SOCKET=/tmp/%q.sock",
	"STREAM_METRICS_SOCKET_MODE=0888",
	"STREAM_METRICS_SOCKET_MODE=1777",
	"STREAM_METRICS_AT_EXIT=/tmp/%q.json",
	"STREAM_ENABLED=2",
	"STREAM_LOG=loud",
};

/* Empty is unset; these are good. None may cost a line. */
static const char *const good[] = {
	"STREAM_REQUEST_CHUNK_SIZE=",
	"STREAM_RESPONSE_CHUNK_SIZE=4K",
	"STREAM_RESPONSE_CHUNK_SIZE=1m",
	"STREAM_BUFFER_POOL_ENABLED=off",
	"STREAM_BUFFER_POOL_ENABLED=no",
	"STREAM_BUFFER_POOL_MAX_BYTES=64k",
	"STREAM_FLUSH_DELAY_US=1000000",
	"STREAM_METRICS_SOCKET=off",
	"STREAM_METRICS_SOCKET_MODE=660",
	"STREAM_ENABLED=yes",
	"STREAM_ENABLED=false",
	"STREAM_LOG=off",
	"STREAM_LOG=",
	"STREAM_PROGRAMS=a*,actor",
	"STREAM_PROGRAMS=",
	"STREAM_BUFFER_POOL_MAX_BYTES=0",
	"STREAM_RESPONSE_CHUNK_SIZE=0",
};

static int
count_lines(const char *text)
{
	int nr = 0;

	for (; *text; text++)
		nr += *text == '\n';
	return nr;
}

static void
run_with(struct run *run, const char *setting)
{
	struct scenario s = { .command = "end exit", .env = { setting } };

	scenario_run(run, &s, TCP_ACCEPT, PRELOADED);
	if (strcmp(run->bytes, PREFIX) || run->status != EXITED(3)) {
		run_explain(run);
		fail_msg("with %s the program does not work", setting);
	}
}

static void
a_bad_value_costs_one_line(void **state)
{
	(void)state;
	if (!harness_has_library())
		skip();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *value = strchr(bad[i], '=') + 1;
		char name[64];
		struct run run;

		snprintf(name, sizeof name, "%.*s", (int)(value - 1 - bad[i]), bad[i]);
		run_with(&run, bad[i]);
		if (count_lines(run.err) != 1 || !strstr(run.err, name) ||
		    !strstr(run.err, value)) {
			run_explain(&run);
			fail_msg("%s: not one line with the name and the value", bad[i]);
		}
		run_finish(&run);
	}
}

static void
a_good_value_costs_none(void **state)
{
	struct run run;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		run_with(&run, good[i]);
		if (*run.err) {
			run_explain(&run);
			fail_msg("%s is good", good[i]);
		}
		run_finish(&run);
	}
}

/* No place for the metrics socket: at most one line, and the data path goes on. */
static void
no_place_for_the_metrics_socket(void **state)
{
	static const char *const places[] = {
		"STREAM_METRICS_SOCKET=/nonexistent/directory/m.sock",
		"STREAM_METRICS_SOCKET=/dev/null", /* is there, and no socket */
		"STREAM_METRICS_SOCKET=/proc/m.sock",
	};
	struct run run;

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		run_with(&run, places[i]);
		if (count_lines(run.err) > 1) {
			run_explain(&run);
			fail_msg("%s: more than one line", places[i]);
		}
		run_finish(&run);
	}
}

/* A descriptor 2 that is a stream is no place for a line of ours. */
static void
no_line_goes_to_a_stream_on_descriptor_2(void **state)
{
	struct scenario s = { .command = "closed 12 sleep-on",
			      .env = { "STREAM_METRICS_SOCKET=/nonexistent/m.sock",
				       "STREAM_LOG=debug" } };
	struct run runs[2];

	(void)state;
	for (enum half half = NATIVE; half <= PRELOADED; half++)
		scenario_run(&runs[half], &s, TCP_ACCEPT, half);
	assert_non_null(strstr(runs[PRELOADED].log, "stream 2\n"));
	assert_string_equal(runs[NATIVE].bytes, runs[PRELOADED].bytes);
	assert_int_equal(runs[NATIVE].status, runs[PRELOADED].status);
	run_finish(&runs[NATIVE]);
	run_finish(&runs[PRELOADED]);
}

/* A pipe that nobody reads, or that is full, a file as long as it may be, and one that was, and has been cut off;
 * a terminal that stops who writes from behind. */
enum place { BROKEN, FULL, LIMITED, CUT_OFF, STOPS, NR_PLACES };

/* Goes on in a child that is in the background of a new terminal; the caller ends as that does. */
static int
terminal_from_behind(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), terminal, status;
	struct termios how;
	pid_t pid;

	setsid();
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    (terminal = open(ptsname(master), O_RDWR)) < 0 ||
	    tcgetattr(terminal, &how) < 0)
		_exit(9);
	how.c_lflag |= TOSTOP;
	tcsetattr(terminal, TCSANOW, &how);
	pid = fork();
	if (pid != 0) {
		setpgid(pid, pid);
		waitpid(pid, &status, WUNTRACED);
		kill(pid, SIGKILL);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 8);
	}
	setpgid(0, 0);
	return terminal;
}

static void
put_on_2(enum place place)
{
	const struct rlimit none = { 0, 0 }, some = { 4096, 4096 };
	char bytes[4096] = "";
	int fds[2];

	if (place == LIMITED) {
		fds[1] = open("/tmp", O_TMPFILE | O_WRONLY, 0600);
		setrlimit(RLIMIT_FSIZE, &none);
	} else if (place == CUT_OFF) {
		fds[1] = open("/tmp", O_TMPFILE | O_WRONLY, 0600);
		lseek(fds[1], 4096, SEEK_SET);
		setrlimit(RLIMIT_FSIZE, &some);
	} else if (place == STOPS) {
		fds[1] = terminal_from_behind();
	} else if (pipe(fds) < 0) {
		_exit(9);
	}
	if (place == BROKEN)
		close(fds[0]);
	if (place == FULL) {
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		while (write(fds[1], bytes, sizeof bytes) > 0)
			;
		fcntl(fds[1], F_SETFL, 0);
	}
	dup2(fds[1], 2);
}

static void
a_line_never_stops_or_ends_the_program(void **state)
{
	char preload[1024];
	char *const args[] = { "/bin/true", NULL };
	char *const env[] = { preload, "STREAM_LOG=loud", NULL };
	int status = -1;

	(void)state;
	if (!harness_has_library())
		skip();
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", harness_preload(PRELOADED));
	for (enum place place = 0; place < NR_PLACES; place++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(HANG_MS / 1000);
			signal(SIGPIPE, SIG_DFL);
			put_on_2(place);
			execve(args[0], args, env);
			_exit(9);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

#define CASE(name) cmocka_unit_test_teardown(name, harness_clean)

static const struct CMUnitTest tests[] = {
	CASE(a_bad_value_costs_one_line),
	CASE(a_good_value_costs_none),
	CASE(no_place_for_the_metrics_socket),
	CASE(no_line_goes_to_a_stream_on_descriptor_2),
	CASE(a_line_never_stops_or_ends_the_program),
};

int
main(void)
{
	return scenario_main_with("environment", NULL, 0, tests,
				  sizeof tests / sizeof *tests);
}
