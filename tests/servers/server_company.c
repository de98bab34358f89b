/* server_company PORT: a thread for each connection, every line of a reply by itself.
 * Small enough to be built in many ways, and it does to its own process what servers do.
 *
 *   ask SEED LENGTH   load_lines.py's reply
 *   become UID        this process takes the identity, all its threads; replies with it
 *   child UID         a forked child takes it, and says so through the stream it inherits
 *   run PROGRAM       what the program prints
 *   apart             its name spaces are unshared; replies with the result
 *   quit              exit(0) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_CAP = 4096 };

static void
say(int fd, const char *format, ...)
{
	char line[LINE_CAP];
	int len, at = 0;
	va_list ap;

	va_start(ap, format);
	len = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	while (at < len) {
		ssize_t r = write(fd, line + at, (size_t)(len - at));

		if (r < 0 && errno != EINTR)
			return;
		at += r > 0 ? (int)r : 0;
	}
}

static void
ask(int fd, const char *line)
{
	long seed = 0, length = 0;

	if (sscanf(line, "ask %ld %ld", &seed, &length) != 2)
		return;
	say(fd, "re %s\n", line);
	for (long i = 0; i < length; i++)
		say(fd, "%ld %ld\n", i, seed * 7919 + i * 104729);
	say(fd, "end %ld\n", seed);
}

static void
become(int fd, uid_t uid)
{
	uid_t r = 0, e = 0, s = 0;
	int failed = setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
		     setresuid(uid, uid, uid) < 0;

	getresuid(&r, &e, &s);
	say(fd, "became %d ", failed);
	say(fd, "%u %u %u\n", r, e, s);
}

static void
child(int fd, uid_t uid)
{
	int status = 0;
	pid_t pid;

	say(fd, "a child ");
	pid = fork();
	if (pid == 0) {
		become(fd, uid);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say(fd, "ended %d\n", status);
}

static void
run(int fd, const char *command)
{
	char line[LINE_CAP];
	FILE *from = popen(command, "r");

	while (from && fgets(line, sizeof(line), from))
		say(fd, "%s", line);
	say(fd, "status %d\n", from ? pclose(from) : -1);
}

static void
obey(int fd, const char *line)
{
	if (!strncmp(line, "ask ", 4))
		ask(fd, line);
	else if (!strncmp(line, "become ", 7))
		become(fd, (uid_t)atoi(line + 7));
	else if (!strncmp(line, "child ", 6))
		child(fd, (uid_t)atoi(line + 6));
	else if (!strncmp(line, "run ", 4))
		run(fd, line + 4);
	else if (!strcmp(line, "apart"))
		say(fd, "apart %d\n",
		    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC));
	else if (!strcmp(line, "quit"))
		exit(0);
}

static void *
serve(void *arg)
{
	int fd = (int)(long)arg;
	char *line = malloc(LINE_CAP);
	size_t len = 0;
	ssize_t r;

	while (line && (r = read(fd, line + len, LINE_CAP - 1 - len)) > 0) {
		char *at = line, *end;

		len += (size_t)r;
		while ((end = memchr(at, '\n', len - (size_t)(at - line)))) {
			*end = '\0';
			obey(fd, at);
			at = end + 1;
		}
		len -= (size_t)(at - line);
		memmove(line, at, len);
	}
	free(line);
	close(fd);
	return NULL;
}

int
main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in here = { .sin_family = AF_INET };

	if (argc != 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	here.sin_port = htons((uint16_t)atoi(argv[1]));
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(fd, 64) < 0)
		return 1;
	for (;;) {
		pthread_t thread;
		int stream = accept(fd, NULL, NULL);

		if (stream < 0)
			return 1;
		if (pthread_create(&thread, NULL, serve, (void *)(long)stream) != 0)
			return 1;
		pthread_detach(thread);
	}
}
