/* Streams that a fork copies: are they held again once one process alone has them? Each command
 * makes a stream and its peer, forks, and says of some moments whether small writes were "held"
 * or "sent", which only the library makes differ. What the library is not to see is a raw call. */
#include "actor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 100, FORKS = 30, STORM = 150, TOGETHER = 8, ENDED = 5000 };

static int stream, peer;
static int up[2], down[2]; /* child to parent, and back */

static void
make_tcp(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(peer, (struct sockaddr *)&addr, len) < 0)
		result("loopback", -1);
	stream = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

static void
make_unix(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		result("socketpair", -1);
	stream = pair[0];
	peer = pair[1];
}

static void
make(const char *family)
{
	if (!strcmp(family, "tcp"))
		make_tcp();
	else
		make_unix();
}

/* Takes what has come. */
static long
came(void)
{
	char to[64];
	long r = raw_call(SYS_recvfrom, peer, (long)to, sizeof to, MSG_DONTWAIT, 0);

	return r > 0 ? r : 0;
}

/* The first may have to prove that the kernel is willing, the third is held if any is. Returns how many bytes came
 * at once; -1: it took so long that the keeper, a second away, may have sent the others. */
static long
put_three_and_look(void)
{
	int64_t start = actor_now_ns();
	long nr;

	put(stream, "1;");
	put(stream, "2;");
	put(stream, "3;");
	nr = came();
	return nr == 6 && actor_now_ns() - start > 500000000 ? -1 : nr;
}

static void
look(const char *when)
{
	long nr;

	while ((nr = put_three_and_look()) < 0)
		usleep(1);
	say("%s: %s", when, nr == 6 ? "sent" : nr < 6 ? "held" : "too much");
	usleep(1);
	nr += came();
	if (nr < 6)
		say("%s: lost %ld", when, 6 - nr);
}

static void
tell(int fd)
{
	raw_call(SYS_write, fd, (long)"x", 1, 0, 0);
}

/* A byte, or the end. */
static void
await(int fd)
{
	char c;

	while (raw_call(SYS_read, fd, (long)&c, 1, 0, 0) == -4)
		;
}

static void
begin(const char *family)
{
	make(family);
	if (pipe2(up, O_CLOEXEC) < 0 || pipe2(down, O_CLOEXEC) < 0)
		result("pipe", -1);
}

static void
child_does(const char *what)
{
	char *const argv[] = { "sleep", "60", NULL };
	int pair[2];

	if (!strcmp(what, "close"))
		close(stream);
	else if (!strcmp(what, "close_range"))
		close_range((unsigned)stream, (unsigned)stream, 0);
	else if (!strcmp(what, "shutdown"))
		shutdown(stream, SHUT_RD);
	else if (!strcmp(what, "replace"))
		dup2(up[1], stream);
	else if (!strcmp(what, "dup"))
		dup(stream);
	else if (!strcmp(what, "use-and-close")) {
		put(stream, "c;");
		usleep(1);
		came();
		close(stream);
	} else if (!strcmp(what, "pass")) {
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
		actor_send_descriptor(pair[0], stream);
	} else if (!strcmp(what, "exec") || !strcmp(what, "exec-open")) {
		if (what[4])
			fcntl(stream, F_SETFD, 0);
		execv("/bin/sleep", argv);
	} else if (!strcmp(what, "raise"))
		raise(SIGKILL);
	else if (!strcmp(what, "exit"))
		exit(0);
	else if (!strcmp(what, "_exit"))
		_exit(0);
	else if (!strcmp(what, "end-after-dup") || !strcmp(what, "end-after-pass")) {
		child_does(what + 10);
		_exit(0);
	}
}

static pid_t
fork_by(const char *kind)
{
	if (!strcmp(kind, "_Fork"))
		return _Fork();
	if (!strcmp(kind, "clone"))
		return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	return fork();
}

/* share KIND FAMILY WHAT: before, while and after a child has the stream. */
static int
share(int fd, char **args)
{
	const char *what = args[2];
	bool stays = !strcmp(what, "close") || !strcmp(what, "close_range") ||
		     !strcmp(what, "replace") || !strcmp(what, "use-and-close") ||
		     !strcmp(what, "dup") || !strcmp(what, "pass") ||
		     !strcmp(what, "shutdown");
	pid_t pid;

	(void)fd;
	begin(args[1]);
	look("before");
	pid = fork_by(args[0]);
	if (!pid) {
		tell(up[1]);
		await(down[0]);
		child_does(what);
		tell(up[1]);
		await(down[0]);
		_exit(0);
	}
	await(up[0]);
	look("while");
	tell(down[1]);
	close(up[1]);
	/* A byte, or that the child's copies of the pipe are closed. */
	await(up[0]);
	if (!stays && strncmp(what, "exec", 4))
		waitpid(pid, NULL, 0);
	usleep(20000);
	look("after");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

/* share-child FAMILY: of a server that forks for each connection, the child. */
static int
share_child(int fd, char **args)
{
	pid_t pid;

	(void)fd;
	begin(args[0]);
	pid = fork();
	if (!pid) {
		look("while");
		tell(up[1]);
		await(down[0]);
		look("after");
		_exit(0);
	}
	await(up[0]);
	close(stream);
	tell(down[1]);
	waitpid(pid, NULL, 0);
	return 0;
}

/* share-orphan FAMILY: a daemon's, whose parent ends with the stream open. */
static int
share_orphan(int fd, char **args)
{
	pid_t parent;

	(void)fd;
	begin(args[0]);
	parent = fork();
	if (!parent) {
		if (fork())
			_exit(0);
		await(down[0]);
		usleep(20000);
		look("after");
		tell(up[1]);
		_exit(0);
	}
	close(stream);
	waitpid(parent, NULL, 0);
	tell(down[1]);
	await(up[0]);
	return 0;
}

/* share-grandchild FAMILY: a child of a child has it as well. */
static int
share_grandchild(int fd, char **args)
{
	pid_t pid;

	(void)fd;
	begin(args[0]);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (!pid) {
		if (!fork()) {
			tell(up[1]);
			await(down[0]);
		}
		_exit(0);
	}
	await(up[0]);
	waitpid(pid, NULL, 0);
	usleep(20000);
	look("while");
	tell(down[1]);
	waitpid(-1, NULL, 0);
	usleep(20000);
	look("after");
	return 0;
}

/* share-unseen FAMILY: a fork that nobody sees; an earlier one has had the stream counted. */
static int
share_unseen(int fd, char **args)
{
	pid_t pid;

	(void)fd;
	begin(args[0]);
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	usleep(20000);
	look("before");
	pid = (pid_t)raw_call(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		close(999); /* the first call the library sees */
		tell(up[1]);
		await(down[0]);
		_exit(0);
	}
	await(up[0]);
	look("while");
	tell(down[1]);
	waitpid(pid, NULL, 0);
	return 0;
}

/* share-spawn FAMILY: a spawn gives its child a copy of a stream that is closed on exec. */
static int
share_spawn(int fd, char **args)
{
	char *const argv[] = { "sleep", "60", NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;

	(void)fd;
	make(args[0]);
	look("before");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, stream, STDIN_FILENO);
	if (posix_spawn(&pid, "/bin/sleep", &actions, NULL, argv, environ))
		result("posix_spawn", -1);
	posix_spawn_file_actions_destroy(&actions);
	look("while");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

/* share-spawn-cloexec FAMILY: a child is spawned with the stream open, which is closed on exec from then on. */
static int
share_spawn_cloexec(int fd, char **args)
{
	char *const argv[] = { "sleep", "60", NULL };
	pid_t pid;

	(void)fd;
	make(args[0]);
	look("before");
	fcntl(stream, F_SETFD, 0);
	if (posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, environ))
		result("posix_spawn", -1);
	fcntl(stream, F_SETFD, FD_CLOEXEC);
	look("while");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

static void
pass(int fd, const char *how)
{
	char room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec iov = { "d", 1 };
	struct mmsghdr many = { { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = room,
				  .msg_controllen = sizeof room },
				0 };
	struct cmsghdr *c = CMSG_FIRSTHDR(&many.msg_hdr);
	int pair[2];

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	if (!strcmp(how, "sendmsg"))
		result(how, sendmsg(pair[0], &many.msg_hdr, 0));
	else if (!strcmp(how, "sendmmsg"))
		result(how, sendmmsg(pair[0], &many, 1, 0));
	else if (!strcmp(how, "syscall-sendmsg"))
		result(how, syscall(SYS_sendmsg, pair[0], &many.msg_hdr, 0));
	else
		result(how, syscall(SYS_sendmmsg, pair[0], &many, 1, 0));
}

/* share-pass HOW FAMILY: it is passed in a message. */
static int
share_pass(int fd, char **args)
{
	(void)fd;
	make(args[1]);
	look("before");
	pass(stream, args[0]);
	look("after");
	return 0;
}

/* share-pass-bare FAMILY: a socket is passed, and connected then. */
static int
share_pass_bare(int fd, char **args)
{
	bool tcp = !strcmp(args[0], "tcp");
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr *addr = tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un;
	socklen_t len = tcp ? sizeof in : sizeof un;
	int listener = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)fd;
	/* An AF_UNIX address without a name gets one: unix(7), autobind. */
	bind(listener, addr, tcp ? len : sizeof un.sun_family);
	getsockname(listener, addr, &len);
	listen(listener, 1);
	stream = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pass(stream, "sendmsg");
	result("connect", connect(stream, addr, len));
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	look("after");
	return 0;
}

static void *
own_table(void *how)
{
	bool tcp = !strcmp(how, "tcp");

	make(how);
	/* By either call; the second closes a range of nothing. */
	result("own table",
	       tcp ? unshare(CLONE_FILES) : close_range(~0U, ~0U, CLOSE_RANGE_UNSHARE));
	look("after");
	return NULL;
}

/* share-own-table FAMILY: a thread with a table of its own, in which a number means something else. */
static int
share_own_table(int fd, char **args)
{
	pthread_t thread;

	(void)fd;
	make(args[0]);
	look("before");
	pthread_create(&thread, NULL, own_table, args[0]);
	pthread_join(thread, NULL);
	return 0;
}

static void *
end_by_system_call(void *unused)
{
	put(stream, "1;");
	put(stream, "2;");
	put(stream, "3;");
	syscall(SYS_exit, 0);
	return unused;
}

/* share-ended FAMILY: after more threads than can hold at a time have ended by the system call. */
static int
share_ended(int fd, char **args)
{
	pthread_t thread;

	(void)fd;
	make(args[0]);
	for (int i = 0; i < ENDED; i++) {
		if (pthread_create(&thread, NULL, end_by_system_call, NULL))
			say("no thread %d", i);
		pthread_join(thread, NULL);
		while (came() > 0)
			;
	}
	/* A new one, which has no delayed ACK to wait for. */
	make(args[0]);
	look("after");
	return 0;
}

/* share-many FAMILY: a hundred streams, and children that live side by side. */
static int
share_many(int fd, char **args)
{
	int streams[MANY], peers[MANY];
	pid_t pids[FORKS];

	(void)fd;
	begin(args[0]);
	for (int i = 0; i < MANY; i++) {
		make(args[0]);
		streams[i] = stream;
		peers[i] = peer;
	}
	for (int i = 0; i < FORKS; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			close(down[1]);
			for (int k = i; k < MANY; k++)
				close(streams[k]);
			await(down[0]);
			_exit(0);
		}
	}
	close(down[0]);
	close(down[1]);
	for (int i = 0; i < FORKS; i++)
		waitpid(pids[i], NULL, 0);
	usleep(20000);
	for (int i = 0; i < MANY; i += 11) {
		stream = streams[i];
		peer = peers[i];
		look("after");
	}
	return 0;
}

static volatile int over;

static void *
open_and_close(void *family)
{
	while (!over) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			continue;
		put(pair[0], "1;");
		put(pair[0], "2;");
		close(pair[0]);
		close(pair[1]);
	}
	return family;
}

/* share-storm: threads open and close while the process forks: nothing is left open. */
static int
share_storm(int fd, char **args)
{
	pthread_t threads[2];
	int pair[2];

	(void)fd;
	(void)args;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, open_and_close, NULL);
	for (int i = 0; i < STORM; i++) {
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
		if (!fork()) {
			put(pair[0], "c;");
			if (i % 3)
				close(pair[i % 2]);
			if (i % 5 == 0)
				raise(SIGKILL);
			_exit(0);
		}
		close(pair[0]);
		close(pair[1]);
		if (i % TOGETHER == 0)
			while (waitpid(-1, NULL, 0) > 0)
				;
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	over = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("over");
	wait_for_harness();
	return 0;
}

const struct command share_commands[] = {
	{ "share", share, NOTHING },
	{ "share-child", share_child, NOTHING },
	{ "share-orphan", share_orphan, NOTHING },
	{ "share-grandchild", share_grandchild, NOTHING },
	{ "share-unseen", share_unseen, NOTHING },
	{ "share-spawn", share_spawn, NOTHING },
	{ "share-spawn-cloexec", share_spawn_cloexec, NOTHING },
	{ "share-pass", share_pass, NOTHING },
	{ "share-own-table", share_own_table, NOTHING },
	{ "share-ended", share_ended, NOTHING },
	{ "share-pass-bare", share_pass_bare, NOTHING },
	{ "share-many", share_many, NOTHING },
	{ "share-storm", share_storm, NOTHING },
	{ 0 },
};
