/* Several threads hold bytes, each on a stream of its own, when the process ends. */
#include "actor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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

const struct command many_commands[] = {
	{ "many", many_end, NOTHING },
	{ 0 },
};
