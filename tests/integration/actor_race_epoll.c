/* Races of a handler that changes what an epoll instance waits for with a change, or a wait, that it interrupts. Two
 * streams in the set are changed; a third has bytes that were read ahead. In one thread. */
#include "actor_epoll.h"
#include "actor_interleave.h"

#include <setjmp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROOM = EPOLLIN | EPOLLOUT, MOST_EVENTS = 8 };

static int ep = -1, ahead[2], first[2], second[2];
static struct epoll_event events[MOST_EVENTS + 1];
static sigjmp_buf out;
static volatile bool inside;

static void
pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		result("socketpair", -1);
	epoll_change(ep, EPOLL_CTL_ADD, fds[0], EPOLLIN);
}

/* In the kernel: an answer from memory goes where the last one went. */
static void
wait(void)
{
	static unsigned nr;

	epoll_wait(ep, events + nr++ % 2, MOST_EVENTS, 0);
}

/* Some of the third's bytes have been read, so a library that reads ahead owes something. */
static void
read_some(void)
{
	char bytes[2];

	raw_call(SYS_write, ahead[1], (long)"0123456789", 10, 0, 0);
	for (int i = 0; i < 5; i++)
		read(ahead[0], bytes, sizeof bytes);
	raw_call(SYS_write, ahead[1], (long)"0123456789", 10, 0, 0);
	for (int i = 0; i < 3; i++)
		read(ahead[0], bytes, sizeof bytes);
}

/* The kernel waits for room, and has just been told so. */
static void
begin(void)
{
	if (ep < 0) {
		ep = epoll_create1(0);
		pair(ahead);
		pair(first);
		pair(second);
	}
	wait();
	read_some();
	epoll_wants_room(ep, first[0], true);
	epoll_wants_room(ep, second[0], true);
}

static void
stop_waiting(void)
{
	epoll_wants_room(ep, first[0], false);
}

static void
begin_wait(void)
{
	begin();
	stop_waiting();
}

static void
change_other(void)
{
	epoll_wants_room(ep, second[0], false);
}

static void
change_same(void)
{
	epoll_wants_room(ep, first[0], false);
	epoll_wants_room(ep, first[0], true);
}

/* The kernel waits for one or the other, and from then on for what it is told. */
static void
expect(const int fds[2], unsigned wanted, unsigned or)
{
	unsigned known;

	wait();
	known = epoll_kernel(ep, fds[0]);
	if (known != wanted && known != or)
		say("at instruction %ld: %x", race_passed, known);
	for (int wants = 1; wants >= 0; wants--) {
		epoll_wants_room(ep, fds[0], wants);
		wait();
		known = epoll_kernel(ep, fds[0]);
		if (known != (unsigned)(wants ? ROOM : EPOLLIN))
			say("at instruction %ld, later: %x", race_passed, known);
	}
}

static void
drain(void)
{
	char bytes[64];

	while (recv(ahead[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

static void
after_other(void)
{
	expect(first, EPOLLIN, EPOLLIN);
	expect(second, EPOLLIN, EPOLLIN);
	drain();
}

static void
after_same(void)
{
	expect(first, EPOLLIN, ROOM);
	expect(second, ROOM, ROOM);
	drain();
}

static void
after_wait(void)
{
	expect(first, ROOM, ROOM);
	expect(second, ROOM, ROOM);
	drain();
}

/* Out of what is stepped; where it is over there is nothing to leave. */
static void
jump(void)
{
	if (inside)
		siglongjmp(out, 1);
}

static void
leave(void (*what)(void))
{
	if (!sigsetjmp(out, 1)) {
		inside = true;
		what();
	}
	inside = false;
}

static void
stop_waiting_and_leave(void)
{
	leave(stop_waiting);
}

static void
wait_and_leave(void)
{
	leave(wait);
}

static void
after_left_wait(void)
{
	expect(first, EPOLLIN, EPOLLIN);
	expect(second, ROOM, ROOM);
	drain();
}

const struct race epoll_races[] = {
	{ "epoll-other", begin, stop_waiting, change_other, after_other },
	{ "epoll-same", begin, stop_waiting, change_same, after_same },
	{ "epoll-wait", begin_wait, wait, change_same, after_wait, .stride = 3 },
	{ "epoll-jump", begin, stop_waiting_and_leave, jump, after_same },
	{ "epoll-jump-wait", begin_wait, wait_and_leave, jump, after_left_wait,
	  .stride = 3 },
	{ 0 },
};
