/* Handlers that write, leave by siglongjmp, or stop their thread; cancelled writers. */
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Records of eight bytes: a writer's letter, six digits, ';'. */
#define RECORD 8
#define RECORDS 60000

static int stream;
static volatile int nr_handler;
static sigjmp_buf away;
static volatile sig_atomic_t may_jump;

static void
put_record(char who, int nr)
{
	char text[RECORD + 1];

	/* No stdio: a handler that jumps may interrupt this. */
	text[0] = who;
	for (int i = 6; i > 0; i--, nr /= 10)
		text[i] = (char)('0' + nr % 10);
	text[7] = ';';
	text[8] = '\0';
	put(stream, text);
}

static void
timer(int usec)
{
	struct itimerval every = { { 0, usec }, { 0, usec } };

	setitimer(ITIMER_REAL, &every, NULL);
}

static void
write_record(int sig)
{
	(void)sig;
	put_record('h', nr_handler++);
}

static void
jump(int sig)
{
	(void)sig;
	if (may_jump)
		siglongjmp(away, 1);
}

static void
catch_alarm(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(SIGALRM, &action, NULL);
}

/* main and a handler write to the same stream. */
static int
signal_writes(int fd, char **args)
{
	(void)args;
	stream = fd;
	catch_alarm(write_record);
	timer(300);
	for (int i = 0; i < RECORDS; i++) {
		put_record('m', i);
		if (i % 1000 == 0)
			poll(NULL, 0, 1);
	}
	timer(0);
	put(fd, "end;");
	say("~main %d", RECORDS);
	say("~handler %d", nr_handler);
	return 0;
}

static volatile int nr_main;

static void
leave(int sig)
{
	(void)sig;
	say("~main %d", nr_main);
	_exit(4);
}

/* A handler ends the process in the middle of main's writes. */
static int
signal_exits(int fd, char **args)
{
	(void)args;
	stream = fd;
	catch_alarm(leave);
	timer(20000);
	for (nr_main = 0; nr_main < 1000000000; nr_main++)
		put_record('m', nr_main);
	return 1;
}

/* The number moves on before the write, so a record cut by a jump is one gap. */
static int
signal_jumps(int fd, char **args)
{
	static volatile int nr, nr_jumps;

	(void)args;
	stream = fd;
	catch_alarm(jump);
	timer(300);
	if (sigsetjmp(away, 1))
		nr_jumps++;
	may_jump = 1;
	while (nr < RECORDS)
		put_record('m', nr++);
	may_jump = 0;
	timer(0);
	put(fd, "end;");
	say("~main %d", nr);
	say("~jumps %d", nr_jumps);
	return 0;
}

static atomic_int progress;

static void *
write_for_ever(void *nothing)
{
	(void)nothing;
	for (int i = 0;; i++) {
		put_record('t', i);
		atomic_store(&progress, i);
	}
	return NULL;
}

/* A writer is cancelled in the middle of its writes, again and again. */
static int
signal_cancels(int fd, char **args)
{
	pthread_t thread;
	void *value;
	int nr_cancelled = 0;

	(void)args;
	stream = fd;
	for (int i = 0; i < 50; i++) {
		atomic_store(&progress, 0);
		pthread_create(&thread, NULL, write_for_ever, NULL);
		while (atomic_load(&progress) < 40)
			;
		pthread_cancel(thread);
		pthread_join(thread, &value);
		nr_cancelled += value == PTHREAD_CANCELED;
		put_record('m', i);
		put_record('m', i);
	}
	put(fd, "end;");
	say("cancelled %d", nr_cancelled);
	return 0;
}

/* Blocked in read: cancelled there, with bytes written before. */
static void *
write_and_read(void *nothing)
{
	char byte;

	(void)nothing;
	put(stream, "4;");
	put(stream, "5;");
	atomic_store(&progress, 1);
	return (void *)(intptr_t)read(stream, &byte, 1);
}

static int
signal_cancels_read(int fd, char **args)
{
	pthread_t thread;
	void *value;

	(void)args;
	stream = fd;
	pthread_create(&thread, NULL, write_and_read, NULL);
	while (!atomic_load(&progress))
		;
	usleep(5000); /* it is in read by now, or cancelled on its way in */
	pthread_cancel(thread);
	pthread_join(thread, &value);
	say("cancelled %d", value == PTHREAD_CANCELED);
	put(fd, "6;");
	put(fd, "7;");
	return 0;
}

/* The first read is not the commonest, the second is: made as quickly as can be. */
static void *
read_alone(void *nothing)
{
	char bytes[8192];

	(void)nothing;
	recv(stream, bytes, sizeof bytes, 0);
	atomic_store(&progress, 1);
	return (void *)(intptr_t)recv(stream, bytes, sizeof bytes, 0);
}

static void *
look_alone(void *nothing)
{
	char bytes[8192];

	(void)nothing;
	for (;;) {
		recv(stream, bytes, sizeof bytes, MSG_DONTWAIT);
		atomic_store(&progress, 1);
	}
	return NULL;
}

static int
cancels_alone(int fd, void *(*run)(void *))
{
	pthread_t thread;
	void *value;

	stream = fd;
	pthread_create(&thread, NULL, run, NULL);
	while (!atomic_load(&progress))
		;
	usleep(5000);
	pthread_cancel(thread);
	pthread_join(thread, &value);
	say("cancelled %d", value == PTHREAD_CANCELED);
	return 0;
}

static int
signal_cancels_sleeper(int fd, char **args)
{
	(void)args;
	return cancels_alone(fd, read_alone);
}

static int
signal_cancels_looker(int fd, char **args)
{
	(void)args;
	return cancels_alone(fd, look_alone);
}

/* Reads that do not wait, made as quickly as can be; then one that does, for O_NONBLOCK is gone. */
static void *
look_then_sleep(void *nothing)
{
	char bytes[8192];

	(void)nothing;
	for (int i = 0; i < 100; i++)
		while (read(stream, bytes, sizeof bytes) > 0)
			;
	atomic_store(&progress, 1);
	while (atomic_load(&progress) != 2)
		;
	read(stream, bytes, sizeof bytes);
	return NULL;
}

static void
clear_nonblock(int fd)
{
	if (fcntl(fd, F_SETFL, 0))
		result("F_SETFL", -1);
}

static int
signal_clears(int fd, char **args)
{
	(void)fd;
	clear_nonblock(atoi(args[0]));
	return 0;
}

/* The fork has not returned yet, and the child has come and gone. */
static void
sleep_in_the_fork(void)
{
	waitpid(-1, NULL, 0);
	atomic_store(&progress, 2);
	usleep(20000);
}

/* By whom: this process, a copy of the number, or another process that has the socket. */
static void
clear_by(const char *whom, int fd)
{
	char number[16];
	char *child[] = { actor_path, actor_kind, actor_address, "clears", number, NULL };
	pid_t pid = -1;
	int on = 0, status = 0;

	snprintf(number, sizeof number, "%d", fd);
	if (!strcmp(whom, "fork-under-way"))
		pthread_atfork(NULL, sleep_in_the_fork, NULL);
	if (!strcmp(whom, "fcntl"))
		clear_nonblock(fd);
	else if (!strcmp(whom, "ioctl"))
		ioctl(fd, FIONBIO, &on);
	else if (!strcmp(whom, "dup"))
		clear_nonblock(dup(fd));
	else if (!strncmp(whom, "fork", 4) && !(pid = fork())) {
		clear_nonblock(fd);
		_exit(0);
	} else if (!strcmp(whom, "spawn") &&
		   posix_spawn(&pid, actor_path, NULL, NULL, child, environ))
		result("posix_spawn", -1);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (status)
		result("child", status);
}

static int
signal_cancels_cleared(int fd, char **args)
{
	struct timespec until;
	pthread_t thread;
	void *value;

	stream = fd;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	pthread_create(&thread, NULL, look_then_sleep, NULL);
	while (!atomic_load(&progress))
		;
	clear_by(args[0], fd);
	atomic_store(&progress, 2);
	usleep(20000);
	pthread_cancel(thread);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	say("cancelled %d",
	    !pthread_timedjoin_np(thread, &value, &until) && value == PTHREAD_CANCELED);
	return 0;
}

static void *
write_records(void *who)
{
	for (int i = 0; i < 20000; i++)
		put_record(*(char *)who, i);
	return NULL;
}

/* Four threads share the stream; each one's records stay whole and in order. */
static int
signal_threads(int fd, char **args)
{
	pthread_t threads[4];
	static char who[] = "abcd";

	(void)args;
	stream = fd;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, write_records, &who[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	put(fd, "end;");
	return 0;
}

/* ---- threads that a handler stops until another thread has gone on ---- */

enum { NR_STOPS = 1000 };

static const char *stop_by;
static sem_t stopped, may_go;
static int gate[2];
static atomic_bool over;
static int nr_written[2];

/* As collectors of garbage stop a thread, wherever it is: in the middle of a write, too. */
static void
stop(int sig)
{
	sigset_t all_but_one;
	int saved = errno;
	char byte;

	(void)sig;
	sigfillset(&all_but_one);
	sigdelset(&all_but_one, SIGUSR2);
	sem_post(&stopped);
	if (!strcmp(stop_by, "sigsuspend"))
		sigsuspend(&all_but_one);
	else if (!strcmp(stop_by, "sem_wait"))
		while (sem_wait(&may_go) < 0 && errno == EINTR)
			;
	else
		(void)!read(gate[0], &byte, 1);
	sem_post(&stopped);
	errno = saved;
}

static void
go(int sig)
{
	(void)sig;
}

static void *
write_until_over(void *who)
{
	int *nr = &nr_written[*(char *)who - 'a'];

	while (!atomic_load(&over)) {
		put_record(*(char *)who, (*nr)++);
		if (*nr % 64 == 0)
			usleep(10);
	}
	return NULL;
}

static void
let_go(pthread_t thread)
{
	if (!strcmp(stop_by, "sigsuspend"))
		pthread_kill(thread, SIGUSR2);
	else if (!strcmp(stop_by, "sem_wait"))
		sem_post(&may_go);
	else
		(void)!write(gate[1], "", 1);
}

/* stopped BY: main writes to the stream, too, while both of its writers are stopped. */
static int
signal_stopped(int fd, char **args)
{
	struct sigaction action = { .sa_handler = stop, .sa_flags = SA_RESTART };
	static char who[] = "ab";
	pthread_t threads[2];

	stream = fd;
	stop_by = args[0];
	sem_init(&stopped, 0, 0);
	sem_init(&may_go, 0, 0);
	if (pipe(gate) < 0)
		result("pipe", -1);
	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGUSR2, go);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_until_over, &who[i]);
	for (int i = 0; i < NR_STOPS; i++) {
		for (int t = 0; t < 2; t++)
			pthread_kill(threads[t], SIGUSR1);
		for (int t = 0; t < 2; t++)
			sem_wait(&stopped);
		put_record('m', i);
		for (int t = 0; t < 2; t++)
			let_go(threads[t]);
		for (int t = 0; t < 2; t++)
			sem_wait(&stopped);
	}
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	put(fd, "end;");
	say("~a %d", nr_written[0]);
	say("~b %d", nr_written[1]);
	return 0;
}

const struct command signal_commands[] = {
	{ "handler-writes", signal_writes, TURN },
	{ "handler-jumps", signal_jumps, TURN },
	{ "handler-exits", signal_exits, TURN },
	{ "cancels", signal_cancels, TURN },
	{ "cancels-read", signal_cancels_read, TURN },
	{ "cancels-sleeper", signal_cancels_sleeper, STREAM },
	{ "cancels-looker", signal_cancels_looker, STREAM },
	{ "cancels-cleared", signal_cancels_cleared, STREAM },
	{ "clears", signal_clears, NOTHING },
	{ "threads", signal_threads, TURN },
	{ "stopped", signal_stopped, TURN },
	{ 0 },
};
