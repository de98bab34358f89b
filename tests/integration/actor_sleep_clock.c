/* The sleep, wait and signal families. */
#include "actor_sleep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FOREVER \
	{ \
		30, 0 \
	}

static void
sleep_nanosleep(int fd)
{
	struct timespec t = FOREVER, left = { 0, 0 };

	(void)fd;
	result("nanosleep", nanosleep(&t, &left));
	say("left %d", left.tv_sec > 0);
}

static void
sleep_clock_nanosleep(int fd)
{
	struct timespec t = FOREVER;

	(void)fd;
	result("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
}

static void
sleep_usleep(int fd)
{
	(void)fd;
	result("usleep", usleep(30000000));
}

static void
sleep_sleep(int fd)
{
	(void)fd;
	say("sleep left %d", sleep(30) > 0);
}

static void
sleep_syscall_nanosleep(int fd)
{
	struct timespec t = FOREVER;

	(void)fd;
	result("nanosleep", syscall(SYS_nanosleep, &t, NULL));
}

static void
sleep_pause(int fd)
{
	(void)fd;
	result("pause", pause());
}

static void
sleep_sigsuspend(int fd)
{
	sigset_t none;

	(void)fd;
	sigemptyset(&none);
	result("sigsuspend", sigsuspend(&none));
}

static sigset_t
only_usr1(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return set;
}

static void
block_usr1(void)
{
	sigset_t set = only_usr1();

	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void
sleep_sigwait(int fd)
{
	sigset_t set = only_usr1();
	int sig = 0;

	(void)fd;
	result("sigwait", sigwait(&set, &sig));
	say("signal %d", sig);
}

static void
sleep_sigwaitinfo(int fd)
{
	sigset_t set = only_usr1();

	(void)fd;
	result("sigwaitinfo", sigwaitinfo(&set, NULL));
}

static void
sleep_sigtimedwait(int fd)
{
	sigset_t set = only_usr1();
	struct timespec t = FOREVER;

	(void)fd;
	result("sigtimedwait", sigtimedwait(&set, NULL, &t));
}

/* A child that ends when the harness says so. */
static void
make_child(void)
{
	if (fork() == 0) {
		wait_for_harness();
		_exit(9);
	}
}

static void
sleep_wait(int fd)
{
	int status = 0;

	(void)fd;
	say("wait %d", wait(&status) > 0);
	say("status %#x", status);
}

static void
sleep_waitpid(int fd)
{
	int status = 0;

	(void)fd;
	say("waitpid %d", waitpid(-1, &status, 0) > 0);
	say("status %#x", status);
}

static void
sleep_wait3(int fd)
{
	struct rusage usage;
	int status = 0;

	(void)fd;
	say("wait3 %d", wait3(&status, 0, &usage) > 0);
	say("status %#x", status);
}

static void
sleep_wait4(int fd)
{
	struct rusage usage;
	int status = 0;

	(void)fd;
	say("wait4 %d", wait4(-1, &status, 0, &usage) > 0);
	say("status %#x", status);
}

static void
sleep_waitid(int fd)
{
	siginfo_t info = { 0 };

	(void)fd;
	result("waitid", waitid(P_ALL, 0, &info, WEXITED));
	say("status %d", info.si_status);
}

static FILE *piped;

/* It ends once the harness says so. */
static void
make_piped(void)
{
	piped = popen("head -c 1 >/dev/null", "r");
}

static void
sleep_pclose(int fd)
{
	(void)fd;
	result("pclose", pclose(piped));
}

const struct sleeping clock_sleeps[] = {
	{ "nanosleep", sleep_nanosleep, NULL },
	{ "clock_nanosleep", sleep_clock_nanosleep, NULL },
	{ "usleep", sleep_usleep, NULL },
	{ "sleep", sleep_sleep, NULL },
	{ "syscall-nanosleep", sleep_syscall_nanosleep, NULL },
	{ "pause", sleep_pause, NULL },
	{ "sigsuspend", sleep_sigsuspend, NULL },
	{ "sigwait", sleep_sigwait, block_usr1 },
	{ "sigwaitinfo", sleep_sigwaitinfo, block_usr1 },
	{ "sigtimedwait", sleep_sigtimedwait, block_usr1 },
	{ "wait", sleep_wait, make_child },
	{ "waitpid", sleep_waitpid, make_child },
	{ "wait3", sleep_wait3, make_child },
	{ "wait4", sleep_wait4, make_child },
	{ "waitid", sleep_waitid, make_child },
	{ "pclose", sleep_pclose, make_piped },
	{ 0 },
};
