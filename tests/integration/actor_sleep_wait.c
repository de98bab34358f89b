/* poll, select and epoll: asleep until SIGUSR1, or with no time to wait at all. */
#include "actor_sleep.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOREVER_S 30
#define FOREVER_MS 30000

static int
watching(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	return ep;
}

static void
sleep_poll(int fd)
{
	result("poll", poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, FOREVER_MS));
}

static void
sleep_poll_none(int fd)
{
	(void)fd;
	result("poll", poll(NULL, 0, FOREVER_MS));
}

static void
sleep_ppoll(int fd)
{
	struct timespec t = { FOREVER_S, 0 };

	result("ppoll", ppoll(&(struct pollfd){ fd, POLLIN, 0 }, 1, &t, NULL));
}

static void
sleep_select(int fd)
{
	struct timeval t = { FOREVER_S, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	result("select", select(fd + 1, &set, NULL, NULL, &t));
}

static void
sleep_pselect(int fd)
{
	struct timespec t = { FOREVER_S, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	result("pselect", pselect(fd + 1, &set, NULL, NULL, &t, NULL));
}

static void
sleep_epoll_wait(int fd)
{
	struct epoll_event ev;

	result("epoll_wait", epoll_wait(watching(fd), &ev, 1, FOREVER_MS));
}

static void
sleep_epoll_pwait(int fd)
{
	struct epoll_event ev;

	result("epoll_pwait", epoll_pwait(watching(fd), &ev, 1, FOREVER_MS, NULL));
}

static void
sleep_epoll_pwait2(int fd)
{
	struct timespec t = { FOREVER_S, 0 };
	struct epoll_event ev;

	result("epoll_pwait2", epoll_pwait2(watching(fd), &ev, 1, &t, NULL));
}

/* What finds nothing and must not wait flushes all the same; then we compute. */
static void
look_poll(int fd)
{
	result("poll", poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
	spin_ms(400);
}

static void
look_ppoll(int fd)
{
	struct timespec t = { 0, 0 };

	result("ppoll", ppoll(&(struct pollfd){ fd, POLLIN, 0 }, 1, &t, NULL));
	spin_ms(400);
}

static void
look_select(int fd)
{
	struct timeval t = { 0, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	result("select", select(fd + 1, &set, NULL, NULL, &t));
	spin_ms(400);
}

static void
look_epoll(int fd)
{
	struct epoll_event ev;

	result("epoll_wait", epoll_wait(watching(fd), &ev, 1, 0));
	spin_ms(400);
}

/* A refused read, then a look with nothing to look at. */
static void
look_recv_again(int fd)
{
	char byte;

	result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
	result("poll", poll(NULL, 0, 0));
	spin_ms(400);
}

const struct sleeping wait_sleeps[] = {
	{ "poll", sleep_poll, NULL },
	{ "poll-none", sleep_poll_none, NULL },
	{ "ppoll", sleep_ppoll, NULL },
	{ "select", sleep_select, NULL },
	{ "pselect", sleep_pselect, NULL },
	{ "epoll_wait", sleep_epoll_wait, NULL },
	{ "epoll_pwait", sleep_epoll_pwait, NULL },
	{ "epoll_pwait2", sleep_epoll_pwait2, NULL },
	{ "look-poll", look_poll, NULL },
	{ "look-ppoll", look_ppoll, NULL },
	{ "look-select", look_select, NULL },
	{ "look-epoll_wait", look_epoll, NULL },
	{ "look-recv", look_recv_again, NULL },
	{ 0 },
};
