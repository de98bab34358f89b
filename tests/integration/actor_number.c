/* Descriptor numbers, what a process looks like from inside, what is held. */
#include "actor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* new numbers are the lowest free ones, as natively. */
static int
number_lowest(int fd, char **args)
{
	int ends[2];

	(void)args;
	usleep(1000); /* a sleep: threads and sockets of the library would be made */
	result("open", open("/dev/null", O_RDONLY));
	result("socket", socket(AF_INET, SOCK_STREAM, 0));
	put(fd, "4;");
	put(fd, "5;");
	(void)!pipe(ends);
	say("pipe %d %d", ends[0], ends[1]);
	result("dup", dup(0));
	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	say("socketpair %d %d", ends[0], ends[1]);
	result("eventfd", eventfd(0, 0));
	result("epoll_create1", epoll_create1(0));
	result("F_DUPFD", fcntl(0, F_DUPFD, 100));
	close(4);
	result("open", open("/dev/null", O_RDONLY));
	return 0;
}

/* A loop that closes everything: every number answers as natively. */
static int
number_close_all(int fd, char **args)
{
	int max = 65536, nr_closed = 0, nr_other = 0;

	usleep(1000);
	put(fd, "4;");
	put(fd, "5;");
	for (int i = 3; i < max; i++) {
		if (i == ACTOR_LOG)
			continue;
		if (args[0] && fcntl(i, F_GETFD) >= 0)
			say("open %d", i);
		if (close(i) == 0) {
			say("closed %d", i);
			nr_closed++;
		} else if (errno != EBADF) {
			nr_other++;
		}
	}
	say("closed %d other errors %d", nr_closed, nr_other);
	result("open", open("/dev/null", O_RDONLY));
	return 0;
}

/* After it closed everything a server opens a stream again and goes on. */
static int
number_close_all_and_go_on(int fd, char **args)
{
	int pair[2];
	char got[64] = "";

	(void)args;
	usleep(1000);
	put(fd, "4;");
	for (int i = 3; i < 1024; i++) {
		if (i != ACTOR_LOG && i != fd)
			close(i);
	}
	put(fd, "5;");
	put(fd, "6;");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	put(pair[0], "a;");
	put(pair[0], "b;");
	put(pair[0], "c;");
	close(pair[0]);
	for (ssize_t n = 1, at = 0; n > 0; at += n)
		n = read(pair[1], got + at, sizeof got - 1 - (size_t)at);
	say("pair %s", got);
	put(fd, "7;");
	put(fd, "8;");
	return 0;
}

/* Every number of the table can be had with dup2, and holds what was put there. */
static int
number_dup2_everywhere(int fd, char **args)
{
	int nr = 0, nr_wrong = 0;

	(void)args;
	usleep(1000);
	put(fd, "4;");
	put(fd, "5;");
	for (int i = 900; i < 1024; i++) {
		nr += dup2(0, i) == i;
		nr_wrong += fcntl(i, F_GETFD) != 0;
	}
	say("dup2 %d wrong %d", nr, nr_wrong);
	for (int i = 900; i < 1024; i++)
		nr_wrong += close(i) != 0;
	say("wrong %d", nr_wrong);
	put(fd, "6;");
	put(fd, "7;");
	return 0;
}

static int
count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int nr = 0;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

static int
count_shared_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], mode[8];
	int nr = 0;

	while (maps && fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%*s %7s", mode) == 1 && mode[3] == 's')
			nr++;
	}
	if (maps)
		fclose(maps);
	return nr;
}

static void
say_shape(void)
{
	say("threads %d descriptors %d shared mappings %d",
	    count_entries("/proc/self/task") - 2, count_entries("/proc/self/fd") - 2,
	    count_shared_mappings());
}

/* A program without a stream: files, pipes, a datagram socket, sleeps. */
static int
number_plain(int unused, char **args)
{
	char text[] = "to a pipe";
	int ends[2], file;

	(void)unused;
	(void)args;
	say_shape();
	file = open("/dev/null", O_WRONLY);
	(void)!pipe(ends);
	for (int i = 0; i < 20; i++) {
		(void)!write(file, text, sizeof text);
		(void)!write(ends[1], text, sizeof text);
		(void)!read(ends[0], text, sizeof text);
	}
	result("socket", socket(AF_INET, SOCK_DGRAM, 0));
	usleep(1000);
	poll(NULL, 0, 1);
	say_shape();
	wait_for_harness();
	say_shape();
	return 0;
}

/* Bytes are held here for as long as the thread makes no call. */
static int
number_hold(int fd, char **args)
{
	(void)fd;
	(void)args;
	note_time("sleep");
	spin_ms(400);
	note_time("spun");
	return 0;
}

/* Many small writes a turn, then sleeps on the control pipe: for the metrics. */
static int
number_writes(int fd, char **args)
{
	int nr = atoi(args[0]);

	for (int i = 0; i < nr; i++)
		put(fd, "record;");
	say("written");
	wait_for_harness();
	return 0;
}

/* What the number names in the table of a thread. */
static void
what_is(const char *tid, int fd, char what[64])
{
	char path[64];
	ssize_t len;

	snprintf(path, sizeof path, "/proc/self/task/%.20s/fd/%d", tid, fd);
	len = readlink(path, what, 63);
	what[len < 0 ? 0 : len] = 0;
}

/* From its first sleep on no other table than its own has its files open: what it closes is closed. */
static int
number_kept(int unused, char **args)
{
	char us[16], ours[64], theirs[64];
	struct dirent *e;
	struct sched_param first = { .sched_priority = 1 };
	cpu_set_t here;
	int pair[2];
	int64_t begin;
	DIR *tasks;
	sem_t sem;

	(void)unused;
	(void)args;
	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	/* A sleep that is none, on one processor, and before all others where that may be had: a helper
	 * runs when somebody waits for it. */
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof here, &here);
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
	sem_init(&sem, 0, 1);
	begin = actor_now_ns();
	sem_wait(&sem);
	/* Who gets no processor for as long is not waited for. */
	if (actor_now_ns() - begin > 90000000)
		return 0;
	snprintf(us, sizeof us, "%d", gettid());
	what_is(us, pair[0], ours);
	tasks = opendir("/proc/self/task");
	while (tasks && (e = readdir(tasks))) {
		what_is(e->d_name, pair[0], theirs);
		if (e->d_name[0] != '.' && strcmp(e->d_name, us) &&
		    !strcmp(ours, theirs))
			say("a helper has the stream open");
	}
	return 0;
}

const struct command number_commands[] = {
	{ "lowest", number_lowest, TURN },
	{ "close-all", number_close_all, TURN },
	{ "close-all-and-go-on", number_close_all_and_go_on, TURN },
	{ "dup2-everywhere", number_dup2_everywhere, TURN },
	{ "kept", number_kept, NOTHING },
	{ "plain", number_plain, NOTHING },
	{ "hold", number_hold, TURN },
	{ "writes", number_writes, TURN },
	{ 0 },
};
