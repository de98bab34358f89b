/* Simple programs: see subject.h. */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../raw_call.h"

extern char **environ;

char
pattern(int number, size_t i)
{
	size_t at = ((size_t)number * 37 + i) % NR_PATTERN;

	return (char)(at * at >> 3);
}

/* By a call that no library sees: saying something flushes nothing. */
void
say(const char *format, ...)
{
	char line[128];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	raw_call(SYS_write, 1, (long)line, len, 0, 0);
}

void
fail(const char *call)
{
	say("E %s %s", call, strerrorname_np(errno));
	exit(3);
}

void *
room(size_t n)
{
	void *p = malloc(n);

	if (!p)
		fail("malloc");
	return p;
}

bool
get(int fd, void *buf, size_t n, size_t piece)
{
	for (size_t at = 0; at < n;) {
		ssize_t got =
			read(fd, (char *)buf + at, n - at < piece ? n - at : piece);

		if (got == 0 && at == 0)
			return false;
		if (got == 0)
			errno = ENODATA;
		if (got <= 0)
			fail("read");
		at += (size_t)got;
	}
	return true;
}

void
put(int fd, const void *buf, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t went = write(fd, (const char *)buf + at, n - at);

		if (went < 0)
			fail("write");
		at += (size_t)went;
	}
}

static void
check(const char *buf, size_t n, int number)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] != pattern(number, i)) {
			errno = EBADMSG;
			fail("bytes");
		}
	}
}

bool
get_request(int fd, struct request *request)
{
	char head[REQUEST_HEAD + 1] = "", body[64];
	size_t len;

	if (!get(fd, head, REQUEST_HEAD, REQUEST_HEAD))
		return false;
	if (sscanf(head, "%7d %7d\n", &request->number, &request->len) != 2) {
		errno = EBADMSG;
		fail("request");
	}
	len = (size_t)request->number % 50;
	if (len && !get(fd, body, len, sizeof body)) {
		errno = ENODATA;
		fail("read");
	}
	check(body, len, request->number);
	return true;
}

static void
fill(char *buf, size_t n, int number)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(number, i);
}

void
put_request(int fd, const struct request *request)
{
	char head[REQUEST_HEAD + 8], body[64];
	size_t len = (size_t)request->number % 50;

	snprintf(head, sizeof head, "%07d %07d\n", request->number, request->len);
	fill(body, len, request->number);
	put(fd, head, REQUEST_HEAD);
	if (len)
		put(fd, body, len);
}

/* No call in which the library could act: what is held is the keeper's. */
static void
compute(long ns)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec <
	       ns);
}

void
put_reply(int fd, const struct request *request)
{
	size_t len = (size_t)request->len, at = 0;
	char *body = room(len + 1), head[REPLY_HEAD + 8];

	fill(body, len, request->number);
	snprintf(head, sizeof head, "%07d:", request->number);
	put(fd, head, REPLY_HEAD);
	for (int i = 0; i < NR_PIECES && at < len; i++, at += PIECE)
		put(fd, body + at, len - at < PIECE ? len - at : PIECE);
	if (request->number % 10 == 4)
		compute(1500000);
	if (at < len)
		put(fd, body + at, len - at);
	free(body);
}

void
get_reply(int fd, const struct request *request)
{
	size_t len = (size_t)request->len;
	char *body = room(len + 1), head[REPLY_HEAD + 1] = "";

	if (!get(fd, head, REPLY_HEAD, REPLY_HEAD) ||
	    (len && !get(fd, body, len, PIECE))) {
		errno = ENODATA;
		fail("read");
	}
	if (atoi(head) != request->number) {
		errno = EBADMSG;
		fail("reply");
	}
	check(body, len, request->number);
	free(body);
}

int
listen_tcp(int flags)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
	socklen_t len = sizeof addr;

	if (fd < 0)
		fail("socket");
	if (bind(fd, (struct sockaddr *)&addr, len) < 0)
		fail("bind");
	if (listen(fd, 16) < 0)
		fail("listen");
	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		fail("getsockname");
	say("port %d", ntohs(addr.sin_port));
	return fd;
}

static int
listen_unix(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		fail("bind");
	if (listen(fd, 16) < 0)
		fail("listen");
	say("port 0");
	return fd;
}

int
accept_one(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		fail("accept");
	return fd;
}

void
serve_one(int fd)
{
	struct request request;

	while (get_request(fd, &request) && request.len)
		put_reply(fd, &request);
	if (close(fd) < 0)
		fail("close");
}

static int
run_serve(int nr)
{
	int listener = listen_tcp(0);

	while (nr-- > 0)
		serve_one(accept_one(listener));
	return 0;
}

/* After each connection a call that the kernel may refuse to a process with threads. */
static int
run_unix(int nr, const char *path)
{
	int listener = listen_unix(path);

	while (nr-- > 0) {
		serve_one(accept_one(listener));
		if (unshare(CLONE_FS) < 0)
			fail("unshare");
	}
	return 0;
}

#define ALLOW(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Whatever this program does not call itself from here on ends it. */
static void
lock_in(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read),
		ALLOW(SYS_write),
		ALLOW(SYS_accept),
		ALLOW(SYS_close),
		ALLOW(SYS_brk),
		ALLOW(SYS_mmap),
		ALLOW(SYS_munmap),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		fail("prctl");
}

/* In the middle of the first connection, its second reply not yet waited for by anything. */
static int
run_sandbox(int nr)
{
	int listener = listen_tcp(0), fd = accept_one(listener);
	struct request request;

	for (int i = 0; i < 2 && get_request(fd, &request); i++)
		put_reply(fd, &request);
	lock_in();
	serve_one(fd);
	while (--nr > 0)
		serve_one(accept_one(listener));
	return 0;
}

/* A child each. The parent goes on at once, and counts how they ended. */
static int
run_fork(int nr)
{
	int listener = listen_tcp(0), status, bad = 0;

	for (int i = 0; i < nr; i++) {
		int fd = accept_one(listener);
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			close(listener);
			serve_one(fd);
			exit(0);
		}
		close(fd);
	}
	while (nr-- > 0) {
		if (wait(&status) < 0)
			fail("wait");
		bad |= status;
	}
	if (bad)
		say("E child %#x", bad);
	return bad ? 4 : 0;
}

/* Replies to all requests of a connection, which have been read, in turns with a child. Whose turn it is
 * stands in memory: no call of either says so. */
static int
run_turns(int nr)
{
	int listener = listen_tcp(0), fd = accept_one(listener), status = 0;
	int *turn = mmap(NULL, sizeof *turn, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct request requests[64];
	pid_t pid;
	int all = 0;

	(void)nr;
	while (all < 64 && get_request(fd, &requests[all]) && requests[all].len)
		all++;
	put_reply(fd, &requests[0]);
	pid = fork();
	if (pid < 0)
		fail("fork");
	for (int i = pid == 0 ? 1 : 2; i < all; i += 2) {
		while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != i - 1)
			raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
		put_reply(fd, &requests[i]);
		__atomic_store_n(turn, i, __ATOMIC_RELEASE);
	}
	if (pid > 0 && (waitpid(pid, &status, 0) != pid || status)) {
		errno = ECHILD;
		fail("child");
	}
	return 0;
}

static char *self_path;

/* The rest of a connection, served by this program anew: the number is an argument. */
static void
rest_args(char *args[5], char number[16], int fd)
{
	snprintf(number, 16, "%d", fd);
	args[0] = self_path;
	args[1] = "rest";
	args[2] = "1";
	args[3] = number;
	args[4] = NULL;
}

/* Two requests each; the reply to the second is not waited for by any read when another program takes
 * over, by posix_spawn, vfork and at last exec. */
static int
run_hand_over(int nr)
{
	int listener = listen_tcp(0), status;
	struct request request;
	char *args[5], number[16];
	pid_t pid;

	for (int i = 0; i < nr; i++) {
		int fd = accept_one(listener);

		for (int j = 0; j < 2 && get_request(fd, &request); j++)
			put_reply(fd, &request);
		rest_args(args, number, fd);
		if (i == nr - 1) {
			execve(self_path, args, environ);
			fail("execve");
		}
		if (i % 2)
			pid = vfork();
		else if ((errno = posix_spawn(&pid, self_path, NULL, NULL, args,
					      environ)))
			fail("posix_spawn");
		if (pid == 0) {
			execve(self_path, args, environ);
			_exit(9);
		}
		if (pid < 0)
			fail("vfork");
		if (waitpid(pid, &status, 0) != pid || status) {
			errno = ECHILD;
			fail("rest");
		}
		close(fd);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[1] : "";
	int nr = argc > 2 ? atoi(argv[2]) : 0;

	self_path = argv[0];
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(name, "serve"))
		return run_serve(nr);
	if (!strcmp(name, "unix") && argc > 3)
		return run_unix(nr, argv[3]);
	if (!strcmp(name, "sandbox"))
		return run_sandbox(nr);
	if (!strcmp(name, "turns"))
		return run_turns(nr);
	if (!strcmp(name, "fork"))
		return run_fork(nr);
	if (!strcmp(name, "epoll"))
		return run_epoll(nr);
	if (!strcmp(name, "threads"))
		return run_threads(nr);
	if (!strcmp(name, "hand-over"))
		return run_hand_over(nr);
	if (!strcmp(name, "client") && argc > 3)
		return run_client(nr, atoi(argv[3]));
	if (!strcmp(name, "rest") && argc > 3) {
		serve_one(atoi(argv[3]));
		return 0;
	}
	return 2;
}
