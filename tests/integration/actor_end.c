/* Every way to end a process: what was written before it must arrive. */
#include "actor.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static int stream;

static int
end_return(int fd, char **args)
{
	(void)fd;
	(void)args;
	return 3;
}

static void
write_late(void)
{
	put(stream, "late;");
}

static void
handler_exits(int sig)
{
	(void)sig;
	_exit(5);
}

static void
handler_writes_and_exits(int sig)
{
	(void)sig;
	put(stream, "handler;");
	_exit(5);
}

static void
handler_writes(int sig)
{
	(void)sig;
	put(stream, "a;");
	put(stream, "b;");
	put(stream, "c;");
}

static void
end_by_call(const char *how)
{
	if (!strcmp(how, "exit"))
		exit(3);
	if (!strcmp(how, "_exit"))
		_exit(3);
	if (!strcmp(how, "_Exit"))
		_Exit(3);
	if (!strcmp(how, "quick_exit"))
		quick_exit(3);
	if (!strcmp(how, "syscall-exit"))
		syscall(SYS_exit_group, 3);
	if (!strcmp(how, "syscall-exit-thread"))
		syscall(SYS_exit, 3);
	if (!strcmp(how, "pthread_exit"))
		pthread_exit(NULL);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "assert"))
		__assert_fail("held bytes leave", "actor", 1, "end_by_call");
	if (!strcmp(how, "assert-perror"))
		__assert_perror_fail(EIO, "actor", 1, "end_by_call");
	if (!strcmp(how, "assert-plain"))
		__assert("held bytes leave", "actor", 1);
}

/* kill() takes the number of any thread for that of its process. */
static void *
kill_by_thread(void *sig)
{
	kill(gettid(), *(const int *)sig);
	return NULL;
}

static void
end_by_thread(int sig)
{
	pthread_t thread;

	pthread_create(&thread, NULL, kill_by_thread, &sig);
	/* No call that flushes: the thread's is to. */
	for (;;)
		raw_call(SYS_pause, 0, 0, 0, 0, 0);
}

/* valgrind 3.19 has none: nothing to compare. */
static int
own_pidfd(void)
{
	int fd = pidfd_open(getpid(), 0);

	if (fd < 0)
		say("skip");
	return fd;
}

static void
end_by_signal(const char *how, int sig)
{
	union sigval value = { .sival_int = 0 };
	siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE };

	if (!strcmp(how, "raise"))
		raise(sig);
	if (!strcmp(how, "kill"))
		kill(getpid(), sig);
	if (!strcmp(how, "kill-thread"))
		end_by_thread(sig);
	if (!strcmp(how, "kill0"))
		kill(0, sig);
	if (!strcmp(how, "kill-group"))
		kill(-getpgrp(), sig);
	if (!strcmp(how, "killpg"))
		killpg(getpgrp(), sig);
	if (!strcmp(how, "tgkill"))
		tgkill(getpid(), gettid(), sig);
	if (!strcmp(how, "syscall-tgkill"))
		syscall(SYS_tgkill, getpid(), gettid(), sig);
	if (!strcmp(how, "pthread_kill"))
		pthread_kill(pthread_self(), sig);
	if (!strcmp(how, "sigqueue"))
		sigqueue(getpid(), sig, value);
	if (!strcmp(how, "gsignal"))
		gsignal(sig);
	if (!strcmp(how, "pthread_sigqueue"))
		pthread_sigqueue(pthread_self(), sig, value);
	if (!strcmp(how, "pidfd"))
		pidfd_send_signal(own_pidfd(), sig, NULL, 0);
	if (!strcmp(how, "syscall-pidfd"))
		syscall(SYS_pidfd_send_signal, own_pidfd(), sig, NULL, 0);
	if (!strcmp(how, "syscall-sigqueue"))
		syscall(SYS_rt_sigqueueinfo, getpid(), sig, &info);
	if (!strcmp(how, "syscall-tgsigqueue"))
		syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sig, &info);
	say("survived %s", how);
}

static int
end_call(int fd, char **args)
{
	stream = fd;
	if (args[1] && !strcmp(args[1], "caught"))
		signal(SIGABRT, handler_writes_and_exits);
	if (args[1] && !strcmp(args[1], "writes"))
		signal(SIGABRT, handler_writes);
	if (args[1] && !strcmp(args[1], "atexit"))
		atexit(write_late);
	if (args[1] && !strcmp(args[1], "at_quick_exit"))
		at_quick_exit(write_late);
	end_by_call(args[0]);
	return 1;
}

/* die HOW SIGNAL: by a signal to itself, at its default. */
static int
end_die(int fd, char **args)
{
	(void)fd;
	end_by_signal(args[0], atoi(args[1]));
	return 1;
}

/* pending HOW: blocked when it is sent, let in after more was written. */
static int
end_pending(int fd, char **args)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec second = { 1, 0 };
	sigset_t set, before;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	end_by_signal(args[0], SIGTERM);
	put(fd, "4;");
	put(fd, "5;");
	put(fd, "6;");
	if (args[1])
		ppoll(&p, 1, &second, &before);
	else
		sigprocmask(SIG_SETMASK, &before, NULL);
	return 1;
}

static atomic_int other; /* the thread's number, 0 when it is to let the signal in */

static void *
lets_it_in(void *set)
{
	other = gettid();
	while (other)
		;
	pthread_sigmask(SIG_UNBLOCK, set, NULL);
	return NULL;
}

/* elsewhere HOW: to another thread that blocks it, and lets it in after more was written. */
static int
end_elsewhere(int fd, char **args)
{
	const union sigval value = { .sival_int = 1 };
	pthread_t thread;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, lets_it_in, &set);
	while (!other)
		;
	if (!strcmp(args[0], "pthread_kill"))
		pthread_kill(thread, SIGTERM);
	if (!strcmp(args[0], "pthread_sigqueue"))
		pthread_sigqueue(thread, SIGTERM, value);
	if (!strcmp(args[0], "tgkill"))
		tgkill(getpid(), other, SIGTERM);
	if (!strcmp(args[0], "syscall-tgkill"))
		syscall(SYS_tgkill, getpid(), other, SIGTERM);
	put(fd, "4;");
	put(fd, "5;");
	put(fd, "6;");
	other = 0;
	/* No call that flushes. */
	while (!other)
		raw_call(SYS_pause, 0, 0, 0, 0, 0);
	return 1;
}

/* handled HOW SIGNAL [writes]: the handler leaves by _exit. */
static int
end_handled(int fd, char **args)
{
	stream = fd;
	signal(atoi(args[1]), args[2] ? handler_writes_and_exits : handler_exits);
	end_by_signal(args[0], atoi(args[1]));
	return 1;
}

/* A signal from elsewhere while the program computes. */
static int
end_alarm(int fd, char **args)
{
	struct itimerval in = { .it_value = { .tv_usec = 20000 } };

	stream = fd;
	signal(SIGALRM, args[0] ? handler_writes_and_exits : handler_exits);
	put(fd, "4;");
	put(fd, "5;");
	/* Behind the writes: its time may pass between any two instructions. */
	setitimer(ITIMER_REAL, &in, NULL);
	spin_ms(20000);
	return 1;
}

static void *
thread_ends_process(void *how)
{
	put(stream, "4;");
	put(stream, "5;");
	end_by_call(how);
	return NULL;
}

/* thread HOW: another thread ends the process while main computes. */
static int
end_thread(int fd, char **args)
{
	pthread_t thread;

	stream = fd;
	pthread_create(&thread, NULL, thread_ends_process, args[0]);
	spin_ms(20000);
	return 1;
}

static void *
thread_outlives_main(void *nothing)
{
	(void)nothing;
	wait_for_harness();
	put(stream, "4;");
	put(stream, "5;");
	say("slept");
	return NULL;
}

/* main's pthread_exit with another thread that goes on writing. */
static int
end_main_thread(int fd, char **args)
{
	pthread_t thread;

	(void)args;
	stream = fd;
	pthread_create(&thread, NULL, thread_outlives_main, NULL);
	put(fd, "main;");
	note_time("sleep");
	pthread_exit(NULL);
}

const struct command end_commands[] = {
	{ "return", end_return, TURN },
	{ "end", end_call, TURN },
	{ "die", end_die, TURN },
	{ "pending", end_pending, TURN },
	{ "elsewhere", end_elsewhere, TURN },
	{ "handled", end_handled, TURN },
	{ "alarm", end_alarm, TURN },
	{ "thread", end_thread, TURN },
	{ "main-thread", end_main_thread, TURN },
	{ 0 },
};
