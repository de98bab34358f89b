/* Changes of what an epoll instance waits for, with bytes of the stream read ahead: the answers, what the kernel is
 * told before anybody could tell, and what a wait says. */
#include "actor_epoll.h"
#include "actor_rest.h"

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 4000, MOST = 8, TURNS = 200 };

static int ep,
	other[2]; /* the instance; a stream of our own, with room, and its other end */
static struct epoll_event events[MOST];

struct epoll_event
epoll_kernel(int set, int fd)
{
	struct epoll_event found = { .events = ~0U };
	char path[64], text[4096] = "";
	const char *at = text;
	long in, n;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
	in = raw_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY, 0, 0);
	n = raw_call(SYS_read, in, (long)text, sizeof text - 1, 0, 0);
	raw_call(SYS_close, in, 0, 0, 0, 0);
	if (n < 0)
		result("fdinfo", -1);
	while ((at = strstr(at, "tfd:"))) {
		unsigned long long data;
		unsigned wanted;
		int number;

		if (sscanf(at, "tfd: %d events: %x data: %llx", &number, &wanted,
			   &data) == 3 &&
		    number == fd) {
			found.events = wanted & ~(unsigned)(EPOLLERR | EPOLLHUP);
			found.data.u64 = data;
		}
		at++;
	}
	return found;
}

int
epoll_change(int set, int op, int fd, unsigned wanted)
{
	struct epoll_event event = { .events = wanted, .data.fd = fd };

	return epoll_ctl(set, op, fd, &event);
}

void
epoll_wants_room(int set, int fd, bool wants)
{
	unsigned wanted = wants ? EPOLLIN | EPOLLOUT : EPOLLIN;

	if (epoll_change(set, EPOLL_CTL_ADD, fd, wanted) < 0 && errno == EEXIST)
		epoll_change(set, EPOLL_CTL_MOD, fd, wanted);
}

static void
say_kernel(const char *when)
{
	say("%s: %x", when, epoll_kernel(ep, other[0]).events);
}

static void
say_events(const char *what, int fd, int nr)
{
	result(what, nr);
	for (int i = 0; i < nr; i++)
		say("  %s %x",
		    events[i].data.fd == fd         ? "stream"
		    : events[i].data.fd == other[0] ? "other"
						    : "?",
		    events[i].events);
}

static void
wait_and_say(const char *what, int fd, int timeout)
{
	memset(events, 0, sizeof events);
	say_events(what, fd, epoll_wait(ep, events, MOST, timeout));
}

/* Some turns as a broker's: a little is read, and passed on. */
static void
serve(int fd, int turns)
{
	for (int i = 0; i < turns; i++) {
		if (epoll_wait(ep, events, MOST, 100) != 1 || events[0].data.fd != fd ||
		    events[0].events != EPOLLIN)
			say("at %zu: events %x of %d", rest_at, events[0].events,
			    events[0].data.fd);
		rest_take(fd, 1, 3);
		epoll_wants_room(ep, other[0], true);
		put(other[0], "passed on;");
		epoll_wants_room(ep, other[0], false);
	}
}

static void
begin(int fd)
{
	ep = epoll_create1(0);
	if (ep < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, other) < 0)
		result("epoll", -1);
	rest_arrived(fd, QUEUE);
	epoll_change(ep, EPOLL_CTL_ADD, fd, EPOLLIN);
	epoll_change(ep, EPOLL_CTL_ADD, other[0], EPOLLIN);
	serve(fd, 20);
}

/* epoll-serve: all answers are right, all along; at the end the kernel knows what is wanted. */
static int
serves(int fd, char **args)
{
	char passed[TURNS * 10];
	ssize_t n;

	(void)args;
	begin(fd);
	serve(fd, TURNS - 20);
	say("at %zu", rest_at);
	poll(NULL, 0, 1);
	say_kernel("after a sleep");
	n = recv(other[1], passed, sizeof passed, MSG_WAITALL);
	result("passed on", n);
	result("ADD", epoll_change(ep, EPOLL_CTL_ADD, other[0], EPOLLIN));
	result("ADD",
	       epoll_change(ep, EPOLL_CTL_ADD, other[0], EPOLLIN | EPOLLEXCLUSIVE));
	result("ADD", epoll_ctl(ep, EPOLL_CTL_ADD, other[0], NULL));
	result("DEL", epoll_ctl(ep, EPOLL_CTL_DEL, other[0], NULL));
	result("DEL", epoll_ctl(ep, EPOLL_CTL_DEL, other[0], NULL));
	result("MOD", epoll_change(ep, EPOLL_CTL_MOD, other[0], EPOLLIN));
	result("ADD", epoll_change(ep, EPOLL_CTL_ADD, other[0], EPOLLOUT));
	result("no op", epoll_change(ep, 7, other[0], EPOLLOUT));
	result("itself", epoll_change(ep, EPOLL_CTL_ADD, ep, EPOLLIN));
	wait_and_say("wait", fd, 0);
	close(other[0]);
	result("closed", epoll_change(ep, EPOLL_CTL_MOD, other[0], EPOLLIN));
	return 0;
}

/* ---- who could tell ---- */

static atomic_int said;

static void *
in_thread(void *unused)
{
	say_kernel("in a thread");
	said = 1;
	return unused;
}

static int
in_c11_thread(void *unused)
{
	in_thread(unused);
	return 0;
}

/* Before we do anything ourselves: a join would be a sleep. */
static void
await_thread(void)
{
	while (!said)
		raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static void
in_libcs_thread(union sigval unused)
{
	(void)unused;
	say_kernel("in a thread");
	said = 1;
}

/* Threads that libc makes, by itself. */
static void
time_to_thread(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD,
				  .sigev_notify_function = in_libcs_thread };
	struct itimerspec soon = { .it_value.tv_nsec = 1000 };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		result("timer_create", -1);
	else if (timer_settime(timer, 0, &soon, NULL) == 0)
		await_thread();
}

static void
tell_thread(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD,
				  .sigev_notify_function = in_libcs_thread };
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 1 };
	char name[32];
	mqd_t queue;

	snprintf(name, sizeof name, "/weir-epoll-%d", getpid());
	queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	mq_unlink(name);
	if (queue == (mqd_t)-1 || mq_notify(queue, &event) < 0)
		result("mq", -1);
	else if (mq_send(queue, "m", 1, 0) == 0)
		await_thread();
}

static void
ask_thread(bool list)
{
	static char byte;
	static struct aiocb *none[1], request = { .aio_buf = &byte, .aio_nbytes = 1 };
	static struct sigevent event = { .sigev_notify = SIGEV_THREAD,
					 .sigev_notify_function = in_libcs_thread };

	request.aio_sigevent = event;
	request.aio_fildes = list ? -1 : open("/dev/null", O_RDONLY);
	if ((list ? lio_listio(LIO_NOWAIT, none, 0, &event) : aio_read(&request)) < 0)
		result("aio", -1);
	else
		await_thread();
}

static int
in_cloned_thread(void *unused)
{
	(void)unused;
	said = 1;
	raw_call(SYS_exit, 0, 0, 0, 0, 0);
	return 0;
}

/* Of thread-local data it has a pointer, no more. */
static void
clone_thread(void)
{
	static char stack[32768] __attribute__((aligned(64)));
	static void *data[64] __attribute__((aligned(64)));
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		    CLONE_SYSVSEM | CLONE_SETTLS;

	if (clone(in_cloned_thread, stack + sizeof stack, flags, NULL, NULL, data + 32,
		  NULL) < 0)
		result("clone", -1);
	else
		await_thread();
}

static void
child_says(pid_t pid)
{
	int status = 0;

	if (pid == 0) {
		say_kernel("in a child");
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

static void
pass_instance(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		result("socketpair", -1);
	actor_send_descriptor(pair[0], ep);
}

/* Is readable, if what it waits for is. */
static void
nest(void)
{
	int outer = epoll_create1(0);

	epoll_change(outer, EPOLL_CTL_ADD, ep, EPOLLIN);
}

static char *const *
look_later(void)
{
	static char set[12], fd[12];
	static char *args[] = { actor_path, NULL, NULL, (char *)"epoll-look",
				set,        fd,   NULL };

	args[1] = (char *)KIND_NONE;
	args[2] = actor_address;
	snprintf(set, sizeof set, "%d", ep);
	snprintf(fd, sizeof fd, "%d", other[0]);
	return args;
}

static void
spawn(void)
{
	pid_t pid;
	int status;

	if (posix_spawn(&pid, actor_path, NULL, NULL, look_later(), environ) == 0)
		waitpid(pid, &status, 0);
}

static void
vfork_exec(void)
{
	char *const *args = look_later();
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		execve(actor_path, args, environ);
		_exit(127);
	}
	waitpid(pid, &status, 0);
}

static void
do_what(const char *what)
{
	/* Not where the last wait's went: no answer from memory. */
	struct epoll_event here[MOST];
	struct pollfd p = { .fd = ep, .events = POLLIN };
	struct timespec soon = { .tv_nsec = 1000 };
	struct timeval now = { 0 };
	pthread_t thread;
	thrd_t c11;
	fd_set in;

	FD_ZERO(&in);
	FD_SET(ep, &in);
	if (!strcmp(what, "epoll_wait"))
		epoll_wait(ep, here, MOST, 0);
	else if (!strcmp(what, "epoll_pwait"))
		epoll_pwait(ep, here, MOST, 1, NULL);
	else if (!strcmp(what, "epoll_pwait2"))
		epoll_pwait2(ep, here, MOST, &soon, NULL);
	else if (!strcmp(what, "syscall-epoll_pwait"))
		syscall(SYS_epoll_pwait, ep, here, MOST, 0, NULL, 8);
	else if (!strcmp(what, "poll"))
		poll(&p, 1, 0);
	else if (!strcmp(what, "ppoll"))
		ppoll(&p, 1, &soon, NULL);
	else if (!strcmp(what, "select"))
		select(ep + 1, &in, NULL, NULL, &now);
	else if (!strcmp(what, "nanosleep"))
		nanosleep(&soon, NULL);
	else if (!strcmp(what, "thread"))
		pthread_create(&thread, NULL, in_thread, NULL), await_thread();
	else if (!strcmp(what, "c11-thread"))
		thrd_create(&c11, in_c11_thread, NULL), await_thread();
	else if (!strcmp(what, "timer"))
		time_to_thread();
	else if (!strcmp(what, "mq_notify"))
		tell_thread();
	else if (!strcmp(what, "pidfd_getfd"))
		pidfd_getfd(pidfd_open(getpid(), 0), ep, 0);
	else if (!strcmp(what, "aio_read"))
		ask_thread(false);
	else if (!strcmp(what, "lio_listio"))
		ask_thread(true);
	else if (!strcmp(what, "io_submit"))
		syscall(SYS_io_submit, 0, 0, NULL);
	else if (!strcmp(what, "clone"))
		clone_thread();
	else if (!strcmp(what, "fork"))
		child_says(fork());
	else if (!strcmp(what, "syscall-fork"))
		child_says((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	else if (!strcmp(what, "spawn"))
		spawn();
	else if (!strcmp(what, "vfork"))
		vfork_exec();
	else if (!strcmp(what, "dup"))
		dup(ep);
	else if (!strcmp(what, "pass"))
		pass_instance();
	else if (!strcmp(what, "nest"))
		nest();
	else if (!strcmp(what, "exec"))
		execve(actor_path, look_later(), environ);
	else
		say("no %s", what);
}

/* epoll-seen WHAT: the program has said that it does not wait for room any more. */
static int
seen(int fd, char **args)
{
	begin(fd);
	epoll_wait(ep, events, MOST, 100);
	rest_take(fd, 1, 3);
	epoll_wants_room(ep, other[0], true);
	put(other[0], "passed on;");
	epoll_wants_room(ep, other[0], false);
	do_what(args[0]);
	say_kernel("after it");
	/* And from now on. */
	serve(fd, 20);
	poll(NULL, 0, 1);
	say_kernel("later");
	rest_take_all(fd, QUEUE);
	return 0;
}

/* epoll-look SET FD: what is known of the set after an exec. */
static int
look(int unused, char **args)
{
	(void)unused;
	say("in a program: %x", epoll_kernel(atoi(args[0]), atoi(args[1])).events);
	return 6;
}

/* epoll-close HOW: a duplicate keeps it in the set. */
static int
closes(int fd, char **args)
{
	int copy;

	begin(fd);
	copy = dup(other[0]);
	epoll_wait(ep, events, MOST, 100);
	rest_take(fd, 1, 3);
	epoll_wants_room(ep, other[0], true);
	epoll_wants_room(ep, other[0], false);
	if (!strcmp(args[0], "close"))
		close(other[0]);
	else if (!strcmp(args[0], "close_range"))
		close_range((unsigned)other[0], (unsigned)other[0], 0);
	else if (!strcmp(args[0], "syscall"))
		syscall(SYS_close, other[0]);
	else
		dup2(1, other[0]);
	say_kernel("closed");
	wait_and_say("wait", fd, 0);
	put(other[1], "x");
	spin_ms(1); /* a streak is over by then */
	wait_and_say("wait", fd, 0);
	close(copy);
	rest_take_all(fd, QUEUE);
	return 0;
}

/* ---- what a wait says while bytes are left ---- */

/* epoll-tells: what is newly wanted is told at once, if it is there. */
static int
tells(int fd, char **args)
{
	(void)args;
	begin(fd);
	for (int i = 0; i < 100; i++) {
		rest_take(fd, 1, 3);
		epoll_wants_room(ep, other[0], true);
		wait_and_say("with room", fd, -1);
		epoll_wants_room(ep, other[0], false);
		wait_and_say("without", fd, -1);
		epoll_change(ep, EPOLL_CTL_MOD, fd, 0);
		epoll_wants_room(ep, other[0], true);
		wait_and_say("room alone", fd, -1);
		epoll_wants_room(ep, other[0], false);
		wait_and_say("nothing", fd, 0);
		epoll_change(ep, EPOLL_CTL_MOD, fd, EPOLLIN);
		wait_and_say("again", fd, -1);
	}
	rest_take_all(fd, QUEUE);
	return 0;
}

/* epoll-other: another stream that always has something is not kept waiting. */
static int
others_too(int fd, char **args)
{
	int nr = 0, turns;

	(void)args;
	begin(fd);
	put(other[1], "never read");
	spin_ms(1); /* a streak is over by then */
	for (turns = 0; turns < 100; turns++) {
		int r = epoll_wait(ep, events, MOST, 100);

		for (int i = 0; i < r; i++)
			nr += events[i].data.fd == other[0];
		rest_take(fd, 1, 3);
		epoll_wants_room(ep, other[0], true);
		epoll_wants_room(ep, other[0], false);
	}
	say("%d of %d", nr, turns);
	return 0;
}

/* epoll-own: what the program writes to something else that it waits for is told at once. */
static int
owns(int fd, char **args)
{
	int event = eventfd(0, EFD_NONBLOCK), ends[2], nr = 0;
	uint64_t one = 1;
	char byte;

	(void)args;
	begin(fd);
	if (pipe(ends) < 0)
		result("pipe", -1);
	epoll_change(ep, EPOLL_CTL_ADD, event, EPOLLIN);
	epoll_change(ep, EPOLL_CTL_ADD, ends[0], EPOLLIN);
	serve(fd, 20);
	for (int turn = 0; turn < 50; turn++) {
		int r;

		serve(fd, 4);
		if (turn % 2)
			(void)!write(event, &one, sizeof one);
		else
			(void)!write(ends[1], "x", 1);
		r = epoll_wait(ep, events, MOST, 100);
		for (int i = 0; i < r; i++)
			nr += events[i].data.fd == (turn % 2 ? event : ends[0]);
		(void)!(turn % 2 ? read(event, &one, sizeof one)
				 : read(ends[0], &byte, 1));
	}
	say("%d told", nr);
	return 0;
}

/* epoll-shut: its own shutdown is told at the next wait. */
static int
shuts(int fd, char **args)
{
	(void)args;
	begin(fd);
	rest_take(fd, 1, 3);
	epoll_wants_room(ep, other[0], true);
	epoll_wants_room(ep, other[0], false);
	result("shutdown", shutdown(fd, SHUT_RDWR));
	epoll_wait(ep, events, MOST, 100);
	say("hup %d", !!(events[0].events & EPOLLHUP));
	return 0;
}

/* epoll-end: the peer's end is told, beside the bytes, once a streak is over. */
static int
ends(int fd, char **args)
{
	(void)args;
	begin(fd);
	shutdown(fd, SHUT_WR);
	rest_let_peer_act();
	for (int i = 0; i < 64; i++) {
		spin_ms(1);
		rest_take(fd, 1, 3);
		wait_and_say("wait", fd, 100);
	}
	rest_take_all(fd, QUEUE);
	return 0;
}

const struct command epoll_commands[] = {
	{ "epoll-serve", serves, STREAM }, { "epoll-seen", seen, STREAM },
	{ "epoll-look", look, NOTHING },   { "epoll-close", closes, STREAM },
	{ "epoll-tells", tells, STREAM },  { "epoll-other", others_too, STREAM },
	{ "epoll-own", owns, STREAM },     { "epoll-shut", shuts, STREAM },
	{ "epoll-end", ends, STREAM },     { 0 },
};
