/* Sandboxes, identities, name spaces and small limits. */
#include "actor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define TRIES 5

static void
write_on(int fd)
{
	put(fd, "4;");
	put(fd, "5;");
	put(fd, "6;");
}

/* Only read, write, exit (of the thread) and sigreturn are left. */
static int
limit_strict(int fd, char **args)
{
	(void)args;
	result("prctl", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	write_on(fd);
	raw_call(SYS_exit, 7, 0, 0, 0, 0);
	return 1;
}

#define ALLOW(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	ALLOW(SYS_read),
	ALLOW(SYS_write),
	ALLOW(SYS_exit_group),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};
static struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

/* filter prctl|syscall: any call that the program did not ask for itself kills it. */
static int
limit_filter(int fd, char **args)
{
	long rc;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	put(fd, "before;");
	put(fd, "before;");
	if (!strcmp(args[0], "prctl"))
		rc = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	else
		rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
	if (rc)
		result("seccomp", rc);
	write_on(fd);
	(void)!write(ACTOR_LOG, "still here\n", 11);
	if (args[1])
		exit(7);
	_exit(7);
}

/* Nobody is left with what the process gave up. */
static void
say_identity_of_all_threads(void)
{
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");
	char path[300], line[200];
	unsigned ids[8];

	while ((entry = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (file && fgets(line, sizeof line, file))
			if (sscanf(line, "Uid: %u %u %u %u", ids, ids + 1, ids + 2,
				   ids + 3) == 4 ||
			    sscanf(line, "Gid: %u %u %u %u", ids, ids + 1, ids + 2,
				   ids + 3) == 4)
				for (int i = 0; i < 4; i++)
					if (ids[i] != NOBODY)
						say("a thread has %u", ids[i]);
		if (file)
			fclose(file);
	}
	closedir(tasks);
}

static void
say_groups_of_all_threads(void)
{
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");
	char path[300], line[200];
	unsigned group;

	while ((entry = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (file && fgets(line, sizeof line, file))
			if (!strncmp(line, "Groups:", 7) &&
			    (sscanf(line, "Groups: %u", &group) != 1 || group != NOBODY))
				say("a thread has %s", line);
		if (file)
			fclose(file);
	}
	closedir(tasks);
}

static int
limit_identity(int fd, char **args)
{
	if (getuid() != 0) {
		say("skip");
		return 0;
	}
	result("seteuid", seteuid(NOBODY));
	put(fd, "e1;");
	put(fd, "e2;");
	result("seteuid", seteuid(0));
	put(fd, "e3;");
	put(fd, "e4;");
	result("setgroups", setgroups(1, &(gid_t){ NOBODY }));
	write_on(fd);
	say_groups_of_all_threads();
	result("setgid", setgid(NOBODY));
	result("setuid", args[0] ? syscall(SYS_setuid, NOBODY) : setuid(NOBODY));
	say_identity_of_all_threads();
	write_on(fd);
	say_identity_of_all_threads();
	result("setuid", setuid(0));
	put(fd, "end;");
	return 0;
}

/* A second thread would make these fail: ours must be gone by then. */
static int
limit_unshare(int fd, char **args)
{
	(void)args;
	result("unshare", unshare(CLONE_NEWUSER));
	write_on(fd);
	result("unshare", unshare(CLONE_NEWNS));
	put(fd, "7;");
	put(fd, "8;");
	return 0;
}

/* A network of our own in which sockets are no more writable behind so many bytes that were not sent. */
static bool
own_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, r;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	r = ioctl(fd, SIOCSIFFLAGS, &lo);
	close(fd);
	fd = open("/proc/sys/net/ipv4/tcp_notsent_lowat", O_WRONLY);
	if (r < 0 || fd < 0)
		return false;
	r = (int)write(fd, "16384", 5);
	close(fd);
	return r == 5;
}

/* The peer never reads: who does not wait is refused, and then waits for nothing. How long that took. */
static int64_t
end_refused(int fd, long results[3])
{
	int64_t begin;
	int error;
	socklen_t len = sizeof error;

	while (write(fd, "a small piece;", 14) == 14)
		;
	begin = actor_now_ns();
	results[0] = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	results[1] = shutdown(fd, SHUT_WR);
	results[2] = close(fd);
	return actor_now_ns() - begin;
}

/* Looked at again where it took long: once, that is a moment without a processor. */
static int
limit_notsent(int unused, char **args)
{
	struct sockaddr_in name = { .sin_family = AF_INET };
	socklen_t len = sizeof name;
	int64_t took = INT64_MAX;
	long results[3] = { -1, -1, -1 };
	int listener;
	pid_t pid;

	(void)unused, (void)args;
	if (!own_network()) {
		say("skip");
		return 0;
	}
	listener = socket(AF_INET, SOCK_STREAM, 0);
	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (struct sockaddr *)&name, sizeof name);
	listen(listener, TRIES);
	getsockname(listener, (struct sockaddr *)&name, &len);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < TRIES; i++)
			connect(socket(AF_INET, SOCK_STREAM, 0),
				(struct sockaddr *)&name, sizeof name);
		for (;;)
			raw_call(SYS_pause, 0, 0, 0, 0, 0);
	}
	for (int i = 0; i < TRIES && took >= 500000000; i++)
		took = end_refused(accept4(listener, NULL, NULL, SOCK_NONBLOCK),
				   results);
	result("getsockopt", results[0]);
	result("shutdown", results[1]);
	result("close", results[2]);
	say("at once %d", took < 500000000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

static int
limit_setns(int fd, char **args)
{
	int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	(void)args;
	put(fd, "before;");
	put(fd, "before;");
	result("setns", setns(ns, CLONE_NEWNS));
	write_on(fd);
	return 0;
}

static int
limit_capset(int fd, char **args)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	(void)args;
	result("capget", syscall(SYS_capget, &head, caps));
	put(fd, "before;");
	put(fd, "before;");
	caps[0].inheritable = caps[1].inheritable = 0;
	result("capset", syscall(SYS_capset, &head, caps));
	write_on(fd);
	return 0;
}

static void *
small_thread(void *fd)
{
	write_on(*(int *)fd);
	return fd;
}

/* Threads with the smallest stack there is. */
static int
limit_stack(int fd, char **args)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)args;
	pthread_attr_init(&attr);
	result("stacksize",
	       pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)));
	for (int i = 0; i < 4; i++) {
		int rc = pthread_create(&thread, &attr, small_thread, &fd);

		result("pthread_create", rc);
		if (!rc)
			pthread_join(thread, NULL);
	}
	put(fd, "end;");
	return 0;
}

static int
limit_resource(const char *name)
{
	static const struct {
		const char *name;
		int resource;
	} names[] = {
		{ "nofile", RLIMIT_NOFILE },   { "as", RLIMIT_AS },
		{ "fsize", RLIMIT_FSIZE },     { "nproc", RLIMIT_NPROC },
		{ "memlock", RLIMIT_MEMLOCK }, { "stack", RLIMIT_STACK },
		{ "data", RLIMIT_DATA },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!strcmp(names[i].name, name))
			return names[i].resource;
	}
	return -1;
}

/* limit NAME VALUE|max root|nobody COMMAND...: the actor anew under a limit. */
static int
limit_exec(int unused, char **args)
{
	int resource = limit_resource(args[0]);
	struct rlimit limit;
	char *next[16] = { "actor", actor_kind, actor_address };

	(void)unused;
	if (!strcmp(args[2], "nobody") && (setgid(NOBODY) || setuid(NOBODY))) {
		say("skip: %s", strerrorname_np(errno));
		return 0;
	}
	getrlimit((__rlimit_resource_t)resource, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (strcmp(args[1], "max") != 0)
		limit.rlim_cur = limit.rlim_max = strtoul(args[1], NULL, 10);
	if (setrlimit((__rlimit_resource_t)resource, &limit) < 0) {
		say("skip: %s", strerrorname_np(errno));
		return 0;
	}
	for (int i = 0; args[i + 3] && i < 12; i++)
		next[i + 3] = args[i + 3];
	execve(actor_path, next, environ);
	say("skip: %s", strerrorname_np(errno));
	return 0;
}

/* closed DIGITS COMMAND...: the actor anew without those of its descriptors. */
static int
limit_closed(int unused, char **args)
{
	char *next[16] = { "actor", actor_kind, actor_address };

	(void)unused;
	for (int i = 1; args[i] && i < 12; i++)
		next[i + 2] = args[i];
	for (const char *digit = args[0]; *digit; digit++)
		close(*digit - '0');
	execve(actor_path, next, environ);
	return 1;
}

static int
limit_write_on(int fd, char **args)
{
	(void)args;
	say("stream %d", fd);
	write_on(fd);
	return 7;
}

/* Long enough for a thread of ours to be wanted, and refused. */
static int
limit_sleep_on(int fd, char **args)
{
	(void)args;
	say("stream %d", fd);
	for (int i = 0; i < 5; i++) {
		write_on(fd);
		usleep(1000);
		write_on(fd);
		spin_ms(2);
	}
	return 7;
}

/* A child, copied without libc at the moment its parent first has bytes held, sets its identity: libc
 * asks every thread that it knows of to do so too. */
static int
early_copy(void)
{
	int pair[2], status = -1;
	char byte;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	put(pair[1], "?");
	if (read(pair[0], &byte, 1) != 1)
		return -1;
	put(pair[0], "1;");
	put(pair[0], "2;");
	put(pair[0], "3;");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		alarm(20);
		_exit(setuid(getuid()));
	}
	waitpid(pid, &status, 0);
	return status;
}

static int
limit_early_copies(int fd, char **args)
{
	cpu_set_t one;
	int bad = 0;

	(void)args;
	/* So that a thread that the library makes does not run before it is copied. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (int i = 0; i < 10 && !bad; i++) {
		int status = -1;
		pid_t pid = fork();

		if (!pid)
			_exit(early_copy() != 0);
		waitpid(pid, &status, 0);
		bad = status;
	}
	result("copies", bad);
	write_on(fd);
	return 7;
}

const struct command limit_commands[] = {
	{ "strict", limit_strict, TURN },
	{ "filter", limit_filter, TURN },
	{ "identity", limit_identity, TURN },
	{ "unshare", limit_unshare, TURN },
	{ "notsent", limit_notsent, NOTHING },
	{ "setns", limit_setns, TURN },
	{ "capset", limit_capset, TURN },
	{ "small-stack", limit_stack, TURN },
	{ "limit", limit_exec, NOTHING },
	{ "closed", limit_closed, NOTHING },
	{ "write-on", limit_write_on, TURN },
	{ "sleep-on", limit_sleep_on, TURN },
	{ "early-copies", limit_early_copies, TURN },
	{ 0 },
};
