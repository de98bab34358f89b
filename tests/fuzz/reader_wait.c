/* Every call that waits, for the stream alone. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "model.h"
#include "reader.h"

static const uint64_t epoll_mark = 0x1234567890abcdefULL;

static struct timespec
time_of(int ms)
{
	return (struct timespec){ .tv_nsec = ms * 1000000L };
}

static int
by_poll(struct reader *r)
{
	struct pollfd fds = { reader_fd(r), (short)r->step.flags, 0 };
	struct timespec t = time_of(r->step.n);
	int value = r->step.op == DO_POLL
			    ? poll(&fds, 1, r->step.n)
			    : ppoll(&fds, 1, r->is_waiter ? NULL : &t, NULL);

	r->result.more[0] = fds.revents;
	return value;
}

static fd_set *
set_of(fd_set *set, int fd, bool wanted)
{
	FD_ZERO(set);
	if (fd >= 0) /* closed: the call is made with an empty set */
		FD_SET(fd, set);
	return wanted ? set : NULL;
}

static int
by_select(struct reader *r)
{
	int fd = reader_fd(r), value;
	struct timespec t = time_of(r->step.n);
	struct timeval tv = { .tv_usec = r->step.n * 1000L };
	fd_set in, out, except;
	fd_set *sets[] = { set_of(&in, fd, r->step.flags & POLLIN),
			   set_of(&out, fd, r->step.flags & POLLOUT),
			   set_of(&except, fd, r->step.flags & POLLPRI) };

	value = r->step.op == DO_SELECT ? select(fd + 1, sets[0], sets[1], sets[2],
						 r->is_waiter ? NULL : &tv)
					: pselect(fd + 1, sets[0], sets[1], sets[2],
						  r->is_waiter ? NULL : &t, NULL);
	for (int i = 0; i < 3; i++)
		r->result.more[i] = sets[i] && FD_ISSET(fd, sets[i]);
	return value;
}

static int
by_epoll(struct reader *r)
{
	struct epoll_event events[4];
	int value;

	memset(events, 0, sizeof events);
	value = epoll_wait(r->hands->epoll, events, 4, r->step.n);
	r->result.more[0] = (int)events[0].events;
	r->result.more[1] = events[0].data.u64 == epoll_mark;
	return value;
}

/* Adds the stream, or its duplicate, or changes what is wanted of it. */
static int
set_epoll(struct reader *r)
{
	struct epoll_event event = { .events = (uint32_t)r->step.flags,
				     .data.u64 = epoll_mark };
	int value;

	if (r->hands->epoll < 0)
		r->hands->epoll = epoll_create1(EPOLL_CLOEXEC);
	value = epoll_ctl(r->hands->epoll, EPOLL_CTL_ADD, reader_fd(r), &event);
	if (value < 0 && errno == EEXIST)
		value = epoll_ctl(r->hands->epoll, EPOLL_CTL_MOD, reader_fd(r), &event);
	return value;
}

static int
wait(struct reader *r)
{
	switch (r->step.op) {
	case DO_POLL:
	case DO_PPOLL:
		return by_poll(r);
	case DO_SELECT:
	case DO_PSELECT:
		return by_select(r);
	case DO_EPOLL_WAIT:
		return by_epoll(r);
	case DO_EPOLL_SET:
		return set_epoll(r);
	default:
		return epoll_ctl(r->hands->epoll, EPOLL_CTL_DEL, reader_fd(r), NULL);
	}
}

/* An epoll set tells of both streams, whichever the step is about. */
static bool
room_is_known(const struct reader *r)
{
	const struct flow *flows = r->shared->flows;

	if (r->step.op != DO_EPOLL_WAIT)
		return model_writable(r->flow);
	for (int i = 0; i < MAX_STREAMS; i++)
		if (!model_writable(&flows[i]))
			return false;
	return true;
}

/* Whether there is room is not asked while it may be so or otherwise. False: nor is anything else, in
 * a set that has been told to ask. */
static bool
ask_what_is_promised(struct reader *r)
{
	if (r->step.op == DO_EPOLL_SET && r->step.flags & (int)EPOLLET &&
	    r->shared->program.writes)
		r->step.flags &= ~EPOLLOUT;
	if (room_is_known(r) || r->step.op == DO_EPOLL_SET ||
	    r->step.op == DO_EPOLL_DELETE)
		return true;
	r->step.flags &= ~POLLOUT;
	return r->step.op != DO_EPOLL_WAIT;
}

void
reader_waits(struct reader *r)
{
	int64_t start = reader_now_ns();
	int value;

	if (!ask_what_is_promised(r)) {
		r->result.value = SKIPPED;
		return;
	}

	errno = 0;
	reader_call_begins();
	value = wait(r);
	reader_call_ends();
	reader_returned(r, value);
	r->result.slept = !value && r->step.n && r->step.op <= DO_EPOLL_WAIT &&
			  reader_now_ns() - start >= r->step.n * INT64_C(900000);
}
