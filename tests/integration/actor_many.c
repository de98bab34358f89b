/* Several threads: each with a stream of its own when the process ends; two that read one. */
#include "actor.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
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

const struct command many_commands[] = {
	{ "many", many_end, NOTHING },
	{ "unknown-thread", many_unknown, TURN },
	{ 0 },
};
