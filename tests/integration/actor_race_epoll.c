/* Races of a handler that changes what an epoll instance waits for, or puts it in other hands, with a change, a wait or
 * a sleep that it interrupts. Two streams in the set are changed; a third has bytes that were read ahead. */
#include "actor_epoll.h"
#include "actor_interleave.h"

#include <setjmp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROOM = EPOLLIN | EPOLLOUT, MOST_EVENTS = 8, OTHER_DATA = 12345 };

static int ep = -1, ahead[2], first[2], second[2];
static struct epoll_event events[MOST_EVENTS + 1];
static int nr_events;
static sigjmp_buf out;
static volatile bool inside;

static void
pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		result("socketpair", -1);
}

/* In the kernel: an answer from memory goes where the last one went. */
static void
wait(void)
{
	static unsigned nr;
	struct epoll_event *to = events + nr++ % 2;

	nr_events = epoll_wait(ep, to, MOST_EVENTS, 0);
	if (to > events)
		memmove(events, to, MOST_EVENTS * sizeof *to);
}

/* Some of the third's bytes have been read, so a library that reads ahead owes something. */
static void
read_some(void)
{
	char bytes[2];

	for (int i = 0; i < 2; i++) {
		raw_call(SYS_write, ahead[1], (long)"0123456789", 10, 0, 0);
		for (int j = 0; j < 5 - 2 * i; j++)
			read(ahead[0], bytes, sizeof bytes);
	}
}

static void
drain(void)
{
	char bytes[64];

	while (recv(ahead[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

/* A new instance each time, as some rounds end what is known of one. The kernel is told to wait for room. */
static void
begin(void)
{
	if (ep < 0) {
		pair(ahead);
		pair(first);
		pair(second);
	}
	close(ep);
	ep = epoll_create1(0);
	epoll_change(ep, EPOLL_CTL_ADD, ahead[0], EPOLLIN);
	epoll_change(ep, EPOLL_CTL_ADD, first[0], EPOLLIN);
	epoll_change(ep, EPOLL_CTL_ADD, second[0], EPOLLIN);
	read_some();
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
begin_stopped(void)
{
	begin();
	stop_waiting();
}

/* Nothing is owed. */
static void
begin_free(void)
{
	begin_stopped();
	drain();
	usleep(1);
}

/* Something is, but no change. */
static void
begin_owing(void)
{
	begin_stopped();
	wait();
	read_some();
}

static void
sleep_shortly(void)
{
	usleep(1);
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

static void
read_and_stop(void)
{
	read_some();
	epoll_wants_room(ep, first[0], true);
	stop_waiting();
}

static void
wait_and_stop(void)
{
	wait();
	read_and_stop();
}

static void
begin_anew(void)
{
	struct epoll_event event = { .events = ROOM, .data.u64 = OTHER_DATA };

	epoll_ctl(ep, EPOLL_CTL_DEL, first[0], NULL);
	epoll_ctl(ep, EPOLL_CTL_ADD, first[0], &event);
}

static void
copy(void)
{
	close(dup(ep));
}

static void
check_known(const int fds[2], unsigned wanted, unsigned or, const char *when)
{
	struct epoll_event known = epoll_kernel(ep, fds[0]);

	if ((known.events != wanted && known.events != or) ||
	    known.data.u64 != (uint64_t)fds[0])
		say("at instruction %ld%s: %x with %llx", race_passed, when,
		    known.events, (unsigned long long)known.data.u64);
}

/* The kernel waits for one or the other, and from then on for what it is told. */
static void
expect(const int fds[2], unsigned wanted, unsigned or)
{
	wait();
	check_known(fds, wanted, or, "");
	for (int wants = 1; wants >= 0; wants--) {
		epoll_wants_room(ep, fds[0], wants);
		wait();
		check_known(fds, wants ? ROOM : EPOLLIN, wants ? ROOM : EPOLLIN,
			    ", later");
	}
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
after_room(void)
{
	expect(first, ROOM, ROOM);
	expect(second, ROOM, ROOM);
	drain();
}

static void
after_stopped(void)
{
	expect(first, EPOLLIN, EPOLLIN);
	expect(second, ROOM, ROOM);
	drain();
}

/* Room was never wanted of the first, as the kernel could tell. */
static void
after_free(void)
{
	for (int i = 0; i < nr_events; i++)
		if (events[i].data.fd == first[0])
			say("at instruction %ld: told %x", race_passed,
			    events[i].events);
	after_stopped();
}

static void
after_anew(void)
{
	struct epoll_event known;

	wait();
	known = epoll_kernel(ep, first[0]);
	if (!(known.events == EPOLLIN && known.data.u64 == (uint64_t)first[0]) &&
	    !(known.events == ROOM && known.data.u64 == OTHER_DATA))
		say("at instruction %ld: %x with %llx", race_passed, known.events,
		    (unsigned long long)known.data.u64);
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
sleep_and_leave(void)
{
	leave(sleep_shortly);
}

const struct race epoll_races[] = {
	{ "epoll-other", begin, stop_waiting, change_other, after_other },
	{ "epoll-same", begin, stop_waiting, change_same, after_same },
	{ "epoll-anew", begin, stop_waiting, begin_anew, after_anew },
	{ "epoll-slept", begin, stop_waiting, sleep_shortly, after_stopped,
	  .stride = 3 },
	{ "epoll-copied", begin, stop_waiting, copy, after_stopped },
	{ "epoll-wait", begin_stopped, wait, change_same, after_room, .stride = 3 },
	{ "epoll-owing", begin_owing, wait, read_and_stop, after_free, .stride = 3 },
	{ "epoll-nested", begin_owing, wait, wait_and_stop, after_free, .stride = 3 },
	{ "epoll-free", begin_free, wait, read_and_stop, after_free },
	{ "epoll-sleep", begin_stopped, sleep_shortly, change_same, after_room,
	  .stride = 3 },
	{ "epoll-left", begin, stop_waiting_and_leave, jump, after_same, .apart = true,
	  .stride = 3 },
	{ "epoll-left-wait", begin_stopped, wait_and_leave, jump, after_stopped,
	  .apart = true, .stride = 3 },
	{ "epoll-left-sleep", begin_stopped, sleep_and_leave, jump, after_stopped,
	  .apart = true, .stride = 3 },
	{ 0 },
};
