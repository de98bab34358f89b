/* Several threads: each with a stream of its own when the process ends, silent or in the middle of a write; two that
 * read one. */
#include "actor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_THREADS 8

static struct sockaddr_un name = { .sun_family = AF_UNIX };
static socklen_t name_len = sizeof name.sun_family;
static atomic_int nr_written;

static int
listen_somewhere(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* No path: the kernel finds a free abstract name. */
	bind(fd, (struct sockaddr *)&name, name_len);
	name_len = sizeof name;
	getsockname(fd, (struct sockaddr *)&name, &name_len);
	listen(fd, NR_THREADS);
	return fd;
}

/* The peer of all threads: a process of its own, made before any stream is. */
static void
read_from_all(int listener)
{
	for (int i = 0; i < NR_THREADS; i++) {
		int fd = accept(listener, NULL, NULL);
		char got[64] = "";
		size_t len = 0;
		ssize_t n;

		while ((n = read(fd, got + len, sizeof got - 1 - len)) > 0)
			len += (size_t)n;
		say("got %s", got);
		close(fd);
	}
	_exit(0);
}

static void *
write_and_spin(void *nothing)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&name, name_len) < 0)
		result("connect", -1);
	put(fd, "1;");
	put(fd, "2;");
	put(fd, "3;");
	atomic_fetch_add(&nr_written, 1);
	spin_ms(3000);
	return nothing;
}

static void
end_of_all(const char *how)
{
	if (!strcmp(how, "exit"))
		exit(3);
	if (!strcmp(how, "_exit"))
		_exit(3);
	if (!strcmp(how, "raise"))
		raise(SIGTERM);
	if (!strcmp(how, "exec"))
		execl("/bin/true", "true", (char *)NULL);
	if (!strcmp(how, "fork") && fork() == 0)
		exit(3); /* sends nothing; the parent is killed and loses nothing */
	raw_call(SYS_exit_group, 3, 0, 0, 0, 0);
}

static int
many_end(int unused, char **args)
{
	pthread_t thread;
	int listener = listen_somewhere();

	(void)unused;
	if (fork() == 0)
		read_from_all(listener);
	close(listener);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_create(&thread, NULL, write_and_spin, NULL);
	while (atomic_load(&nr_written) < NR_THREADS)
		;
	end_of_all(args[0]);
	return 1;
}

/* ---- threads that write on while the process ends ---- */

enum { NR_WRITERS = 4, NR_ENDS = 40, RECORD = 8 };

/* Of one process, for us to read: how many records of each writer were written, by what its calls have said. */
static struct written {
	atomic_long records[NR_WRITERS];
} * written;

static void *
write_on(void *number)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), i = *(int *)number;
	char record[RECORD + 24];

	if (connect(fd, (struct sockaddr *)&name, name_len) < 0)
		result("connect", -1);
	snprintf(record, sizeof record, "%d      ;", i);
	write(fd, record, RECORD); /* who it is */
	for (long n = 0;; n++) {
		snprintf(record, sizeof record, "%07ld;", n % 10000000);
		if (write(fd, record, RECORD) != RECORD)
			result("write", -1);
		atomic_store(&written->records[i], n + 1);
	}
	return NULL;
}

static void
write_and_end(const char *how, int round)
{
	static int number[NR_WRITERS];
	pthread_t thread;
	bool all;

	for (int i = 0; i < NR_WRITERS; i++) {
		number[i] = i;
		pthread_create(&thread, NULL, write_on, &number[i]);
	}
	do {
		all = true;
		for (int i = 0; i < NR_WRITERS; i++)
			all &= atomic_load(&written->records[i]) > 10 * round;
	} while (!all);
	end_of_all(how);
}

/* What one writer sent. */
struct sent {
	char record[RECORD];
	size_t len; /* of the record that is under way */
	long next;
	int writer; /* -1: it has not said */
};

static void
take(struct sent *sent, const char *bytes, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		sent->record[sent->len++] = bytes[i];
		if (sent->len < RECORD)
			continue;
		sent->len = 0;
		if (sent->writer < 0)
			sent->writer = sent->record[0] - '0';
		else if (atol(sent->record) != sent->next++)
			say("%ld instead of %ld", atol(sent->record), sent->next - 1);
	}
}

static void
read_to_the_end(int listener)
{
	struct sent sent[NR_WRITERS] = { 0 };
	struct pollfd peers[NR_WRITERS];
	int open = NR_WRITERS;
	char bytes[4096];

	for (int i = 0; i < NR_WRITERS; i++) {
		peers[i] = (struct pollfd){ accept(listener, NULL, NULL), POLLIN, 0 };
		sent[i].writer = -1;
	}
	while (open) {
		poll(peers, NR_WRITERS, -1);
		for (int i = 0; i < NR_WRITERS; i++) {
			ssize_t n = peers[i].revents
					    ? read(peers[i].fd, bytes, sizeof bytes)
					    : -1;

			if (n > 0)
				take(&sent[i], bytes, (size_t)n);
			if (n)
				continue;
			open--;
			close(peers[i].fd);
			peers[i].fd = -1;
			if (sent[i].next <
			    atomic_load(&written->records[sent[i].writer]))
				say("lost at %ld", sent[i].next);
		}
	}
}

/* writing HOW: as often as that a process ends in the middle of its threads' writes. */
static int
many_writing(int unused, char **args)
{
	int listener = listen_somewhere(), status;

	(void)unused;
	written = mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < NR_ENDS; round++) {
		pid_t pid;

		memset(written, 0, sizeof *written);
		pid = fork();
		if (pid == 0) {
			close(listener);
			write_and_end(args[0], round);
		}
		read_to_the_end(listener);
		waitpid(pid, &status, 0);
	}
	result("the last one", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	return 0;
}

/* ---- a thread that libc does not know ---- */

#define NR_ROUNDS 8
#define NR_LOOKS 100000
#define ROOM (256 << 10) /* for its stack, and for what is thread-local */

static atomic_int nr_ready, nr_done;

/* At the same time as the other one; nothing is there. */
static int
look_often(void *stream)
{
	char byte;
	int round = atomic_fetch_add(&nr_ready, 1) / 2 + 1;

	while (atomic_load(&nr_ready) < 2 * round)
		;
	for (int i = 0; i < NR_LOOKS; i++)
		recv(*(int *)stream, &byte, 1, MSG_DONTWAIT);
	atomic_fetch_add(&nr_done, 1);
	return 0;
}

/* As a language's runtime may make one: its thread-local data is all 0. */
static int
make_unknown(int *fd)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		    CLONE_SYSVSEM | CLONE_SETTLS;
	char *area = mmap(NULL, 3 * ROOM, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **tp = (void **)(area + 2 * ROOM);

#ifdef __x86_64__
	tp[0] = tp[2] = tp; /* the ABI's, and glibc's */
#endif
	return clone(look_often, area + ROOM, flags, fd, NULL, tp, NULL);
}

/* unknown-thread NR: two threads look again and again; then one reads so many records. */
static int
many_unknown(int fd, char **args)
{
	char record[8];

	for (int i = 1; i <= NR_ROUNDS; i++) {
		if (make_unknown(&fd) < 0) {
			result("clone", -1);
			return 1;
		}
		look_often(&fd);
		while (atomic_load(&nr_done) < 2 * i)
			;
	}
	say("looked");
	for (int i = 0; i < atoi(args[0]); i++)
		if (recv(fd, record, sizeof record, MSG_WAITALL) != sizeof record)
			result("recv", -1);
	say("read");
	wait_for_harness();
	return 0;
}

/* ---- a worker of a pool ---- */

enum { NR_REPLIES = 20 };

static pthread_mutex_t work_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static int nr_work;

static void *
answer(void *stream)
{
	int fd = *(int *)stream;

	pthread_mutex_lock(&work_mutex);
	for (int i = 0; i < NR_REPLIES; i++) {
		while (!nr_work)
			pthread_cond_wait(&work, &work_mutex);
		nr_work--;
		put(fd, "head;");
		put(fd, "body;");
	}
	pthread_mutex_unlock(&work_mutex);
	return NULL;
}

static void
set_nodelay(int fd, int on)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* worker plain, nodelay, or cleared after half of the replies: two writes each, by a thread that waits on a
 * condition variable for the next. */
static int
many_worker(int fd, char **args)
{
	bool cleared = !strcmp(args[0], "cleared");
	pthread_t thread;
	char bytes[64];

	set_nodelay(fd, cleared || !strcmp(args[0], "nodelay"));
	pthread_create(&thread, NULL, answer, &fd);
	for (int i = 0; i < NR_REPLIES; i++) {
		if (read(fd, bytes, sizeof bytes) != 8)
			result("read", -1);
		if (cleared && i == NR_REPLIES / 2)
			set_nodelay(fd, 0);
		pthread_mutex_lock(&work_mutex);
		nr_work++;
		pthread_cond_signal(&work);
		pthread_mutex_unlock(&work_mutex);
	}
	wait_for_harness();
	pthread_join(thread, NULL);
	return 0;
}

const struct command many_commands[] = {
	{ "many", many_end, NOTHING },
	{ "writing", many_writing, NOTHING },
	{ "unknown-thread", many_unknown, TURN },
	{ "worker", many_worker, STREAM },
	{ 0 },
};
