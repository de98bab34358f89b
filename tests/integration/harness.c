/* Life of one run: start, pump, look at what came, end. */
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* More than any scenario logs; a full one fails the comparison, never overflows. */
#define TEXT_CAP 65536

#define MAX_UNFINISHED 8

static struct unfinished {
	pid_t pid; /* 0 = free */
	char dir[64];
} unfinished[MAX_UNFINISHED];

const char *
kind_name(enum kind kind)
{
	static const char *const names[NR_KINDS] = {
		[TCP_ACCEPT] = KIND_TCP_ACCEPT,   [TCP_CONNECT] = KIND_TCP_CONNECT,
		[UNIX_ACCEPT] = KIND_UNIX_ACCEPT, [UNIX_CONNECT] = KIND_UNIX_CONNECT,
		[NO_STREAM] = KIND_NONE,
	};

	return names[kind];
}

int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
remember(const struct run *run)
{
	for (size_t i = 0; i < MAX_UNFINISHED; i++) {
		if (!unfinished[i].pid) {
			unfinished[i].pid = run->pid;
			memcpy(unfinished[i].dir, run->dir, sizeof run->dir);
			return;
		}
	}
	fail_msg("more than %d runs at once", MAX_UNFINISHED);
}

void
run_start(struct run *run, const struct options *options)
{
	char address[128] = "-";

	memset(run, 0, sizeof *run);
	run->options = *options;
	run->peer = run->control = run->log_fd = run->err_fd = run->exit_fd = -1;
	run->listener = -1;
	run->status = -1;
	run->log = calloc(1, TEXT_CAP);
	run->err = calloc(1, TEXT_CAP);
	run->bytes = calloc(1, 1);
	snprintf(run->dir, sizeof run->dir, "/tmp/weir-test.XXXXXX");
	assert_non_null(mkdtemp(run->dir));
	assert_int_equal(chmod(run->dir, 0777), 0); /* actors that become nobody */
	if (options->kind == TCP_CONNECT || options->kind == UNIX_CONNECT)
		run->listener = peer_listen(run, address, sizeof address);
	else if (options->kind == UNIX_ACCEPT)
		snprintf(address, sizeof address, "%s/stream", run->dir);
	child_start(run, address);
	remember(run);
	if (options->kind == NO_STREAM)
		return;
	run->peer = run->listener >= 0 ? peer_accept(run) : peer_connect(run);
	if (run->peer >= 0 && !options->no_greeting) {
		run_send(run, "warm\n");
		run->greeted = 1;
	}
}

static void
note_arrival(struct run *run)
{
	if (run->nr_arrivals == run->cap_arrivals) {
		run->cap_arrivals = run->cap_arrivals * 2 + 64;
		run->arrivals = realloc(run->arrivals,
					run->cap_arrivals * sizeof *run->arrivals);
		assert_non_null(run->arrivals);
	}
	run->arrivals[run->nr_arrivals].ns = now_ns();
	run->arrivals[run->nr_arrivals++].total = run->len;
}

static void
read_peer(struct run *run)
{
	ssize_t n;

	if (run->cap - run->len < 65537) {
		run->cap = run->cap * 2 + 131072;
		run->bytes = realloc(run->bytes, run->cap);
		assert_non_null(run->bytes);
	}
	n = recv(run->peer, run->bytes + run->len, 65536, MSG_DONTWAIT);
	if (n > 0) {
		run->len += (size_t)n;
		run->bytes[run->len] = '\0';
		note_arrival(run);
	} else if (n == 0) {
		run->end = PEER_EOF;
	} else if (errno != EAGAIN && errno != EINTR) {
		run->end = PEER_RESET;
	}
	if (run->greeted == 1 && run->len >= strlen(WARM_BYTES)) {
		run->greeted = 2;
		run_send(run, "go\n");
	}
}

static void
read_text(int *fd, char *text, size_t *len)
{
	ssize_t n = read(*fd, text + *len, TEXT_CAP - 1 - *len);

	if (n > 0) {
		*len += (size_t)n;
		text[*len] = '\0';
	} else {
		close(*fd);
		*fd = -1;
	}
}

/* One round over everything that may have something to say. */
static void
pump_once(struct run *run, int ms)
{
	struct pollfd p[4] = {
		{ .fd = run->end || run->paused ? -1 : run->peer, .events = POLLIN },
		{ .fd = run->log_fd, .events = POLLIN },
		{ .fd = run->err_fd, .events = POLLIN },
		{ .fd = run->exit_fd, .events = POLLIN },
	};

	if (poll(p, 4, ms) <= 0)
		return;
	if (p[0].revents)
		read_peer(run);
	if (p[1].revents)
		read_text(&run->log_fd, run->log, &run->log_len);
	if (p[2].revents)
		read_text(&run->err_fd, run->err, &run->err_len);
	if (p[3].revents) {
		assert_int_equal(waitpid(run->pid, &run->status, 0), run->pid);
		close(run->exit_fd);
		run->exit_fd = -1;
	}
}

struct wanted {
	size_t bytes;
	const char *text;
	int peer_end, over, never;
};

static int
is_over(const struct run *run)
{
	return run->exit_fd < 0 && run->log_fd < 0 && run->err_fd < 0 &&
	       (run->peer < 0 || run->end != PEER_OPEN || run->paused);
}

static int
is_there(const struct run *run, const struct wanted *wanted)
{
	if (wanted->never)
		return 0;
	if (wanted->over)
		return is_over(run);
	if (wanted->peer_end)
		return run->end != PEER_OPEN;
	if (wanted->text)
		return strstr(run->log, wanted->text) != NULL;
	return run->len >= wanted->bytes;
}

static int
pump(struct run *run, const struct wanted *wanted, int ms)
{
	int64_t deadline = now_ns() + ms * INT64_C(1000000);

	while (!is_there(run, wanted)) {
		int64_t left = deadline - now_ns();

		if (left <= 0 || (!wanted->never && is_over(run)))
			return is_there(run, wanted);
		pump_once(run, (int)((left + 999999) / 1000000));
	}
	return 1;
}

int
run_until_bytes(struct run *run, size_t nr, int ms)
{
	return pump(run, &(struct wanted){ .bytes = nr }, ms);
}

int
run_until_log(struct run *run, const char *text, int ms)
{
	return pump(run, &(struct wanted){ .text = text }, ms);
}

int
run_until_peer_end(struct run *run, int ms)
{
	return pump(run, &(struct wanted){ .peer_end = 1 }, ms);
}

int
run_until_over(struct run *run, int ms)
{
	return pump(run, &(struct wanted){ .over = 1 }, ms);
}

void
run_for(struct run *run, int ms)
{
	pump(run, &(struct wanted){ .never = 1 }, ms);
}

void
run_send(struct run *run, const char *text)
{
	/* An actor may be gone already: what it did is judged, not this send. */
	(void)!send(run->peer, text, strlen(text), MSG_NOSIGNAL);
}

void
run_wake(struct run *run)
{
	(void)!write(run->control, "!", 1);
}

void
run_reset(struct run *run)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(run->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(run->peer);
	run->peer = -1;
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* The whole group: what the actor started must not outlive its run. */
static void
end_group(pid_t pid, const char *dir)
{
	kill(-pid, SIGKILL);
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < MAX_UNFINISHED; i++) {
		if (unfinished[i].pid == pid)
			unfinished[i].pid = 0;
	}
}

int
harness_clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < MAX_UNFINISHED; i++) {
		pid_t pid = unfinished[i].pid;

		if (pid) {
			end_group(pid, unfinished[i].dir);
			waitpid(pid, NULL, 0);
		}
	}
	return 0;
}

static void
close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
run_finish(struct run *run)
{
	end_group(run->pid, run->dir);
	if (run->exit_fd >= 0)
		waitpid(run->pid, &run->status, 0);
	close_if_open(run->peer);
	close_if_open(run->control);
	close_if_open(run->log_fd);
	close_if_open(run->err_fd);
	close_if_open(run->exit_fd);
	close_if_open(run->listener);
	free(run->bytes);
	free(run->arrivals);
	free(run->log);
	free(run->err);
	memset(run, 0, sizeof *run);
}
