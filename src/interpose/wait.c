/* interpose/wait: poll, select, epoll. What a wait means to the bytes this thread holds is
 * in waits/wait.h; each entry brings its own native call, and its own look: the same call
 * with no time to wait, and the caller's signal mask. */
#include "interpose/entry.h"
#include "stream/stall.h"

#include <string.h>

static const struct timespec no_time;

/* Backpressure ends where the kernel says "writable". */
static int
polled(const struct pollfd *fds, nfds_t nr, int r)
{
	for (nfds_t i = 0; stall_any() && r > 0 && i < nr; i++)
		if (fds[i].revents & POLLOUT && entry_stream(fds[i].fd))
			stall_over(fds[i].fd);
	return r;
}

/*
 * Where a read went past the urgent mark, but what it took is not settled, the kernel still tells of
 * urgent data. True: it does, and by now all is settled; look again.
 */
static bool
polled_urgent(const struct pollfd *fds, nfds_t nr, int r)
{
	bool any = false;

	for (nfds_t i = 0; r > 0 && turn_owes() && i < nr; i++)
		any |= (fds[i].revents & POLLPRI) != 0;
	if (any)
		turn_flush();
	return any;
}

static __attribute__((noinline)) int
poll_owing(struct pollfd *fds, nfds_t nr, int timeout)
{
	struct wait w;
	int r;

	if (entry_wait(&w, !timeout)) {
		r = real.poll(fds, nr, 0);
		if (polled_urgent(fds, nr, r))
			r = real.poll(fds, nr, 0);
		if (wait_looked(r))
			return polled(fds, nr, r);
	}
	r = real.poll(fds, nr, timeout);
	if (!timeout && polled_urgent(fds, nr, r))
		r = real.poll(fds, nr, timeout);
	wait_end(&w, r);
	return polled(fds, nr, r);
}

int
poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	if (!stall_any() && entry_wait_free(!timeout))
		return real.poll(fds, nr, timeout);
	return poll_owing(fds, nr, timeout);
}

/* No time to wait, or none that the kernel takes: then it has to say so, whatever is ready. */
static bool
no_time_in(int64_t seconds, int64_t part, int64_t second)
{
	return (!seconds && !part) || seconds < 0 || part < 0 || part >= second;
}

static bool
is_zero(const struct timespec *timeout)
{
	return !entry_nowhere(timeout) &&
	       no_time_in(timeout->tv_sec, timeout->tv_nsec, 1000000000);
}

int
ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout,
      const sigset_t *mask)
{
	struct wait w;
	int r;

	if (!stall_any() && entry_wait_free(is_zero(timeout)))
		return real.ppoll(fds, nr, timeout, mask);
	if (entry_wait(&w, is_zero(timeout))) {
		r = real.ppoll(fds, nr, &no_time, mask);
		if (polled_urgent(fds, nr, r))
			r = real.ppoll(fds, nr, &no_time, mask);
		if (wait_looked(r))
			return polled(fds, nr, r);
	}
	r = real.ppoll(fds, nr, timeout, mask);
	if (is_zero(timeout) && polled_urgent(fds, nr, r))
		r = real.ppoll(fds, nr, timeout, mask);
	wait_end(&w, r);
	return polled(fds, nr, r);
}

/* An empty look would wipe the caller's sets, so it works on copies. The kernel reads whole words
 * up to nr, no more: the caller's memory may end there. */
struct sets {
	fd_set in, out, except;
};

static fd_set *
copy_set(fd_set *copy, const fd_set *set, int nr)
{
	size_t words = nr > 0 ? ((size_t)nr + NFDBITS - 1) / NFDBITS : 0;

	if (!set)
		return NULL;
	memcpy(copy, set, words * sizeof(fd_mask));
	return copy;
}

static bool
selected_urgent(int nr, const fd_set *except, int r)
{
	bool any = false;

	for (int fd = 0; r > 0 && except && turn_owes() && fd < nr; fd++)
		any |= FD_ISSET(fd, except);
	if (any)
		turn_flush();
	return any;
}

static int
look_select(int nr, fd_set *in, fd_set *out, fd_set *except, const sigset_t *mask)
{
	struct sets sets;
	bool again = false;
	int r;

	do
		r = real.pselect(nr, copy_set(&sets.in, in, nr),
				 copy_set(&sets.out, out, nr),
				 copy_set(&sets.except, except, nr), &no_time, mask);
	while (!again && (again = selected_urgent(nr, except ? &sets.except : NULL, r)));
	if (r > 0) {
		copy_set(in, in ? &sets.in : NULL, nr);
		copy_set(out, out ? &sets.out : NULL, nr);
		copy_set(except, except ? &sets.except : NULL, nr);
	}
	return r;
}

/* True: *r is the answer. Sets larger than an fd_set are not looked at: what is held leaves. */
static bool
looked_select(int nr, fd_set *sets[3], const sigset_t *mask, int *r)
{
	if (nr > FD_SETSIZE) {
		wait_sleep();
		return false;
	}
	*r = look_select(nr, sets[0], sets[1], sets[2], mask);
	return wait_looked(*r);
}

static int
selected(int nr, const fd_set *out, int r)
{
	for (int fd = 0; stall_any() && r > 0 && out && fd < nr; fd++)
		if (((const fd_mask *)out)[fd / NFDBITS] >> fd % NFDBITS & 1 &&
		    entry_stream(fd))
			stall_over(fd);
	return r;
}

static __attribute__((noinline)) int
select_owing(int nr, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout,
	     bool zero)
{
	struct wait w;
	int r;

	real_ready();
	if ((entry_wait(&w, zero) || (zero && except)) &&
	    looked_select(nr, (fd_set *[]){ in, out, except }, NULL, &r))
		return selected(nr, out, r);
	r = real.select(nr, in, out, except, timeout);
	wait_end(&w, r);
	return selected(nr, out, r);
}

int
select(int nr, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	/* More than a second of microseconds it takes. */
	bool zero = timeout && no_time_in(timeout->tv_sec, timeout->tv_usec, INT64_MAX);

	if (!stall_any() && entry_wait_free(zero))
		return real.select(nr, in, out, except, timeout);
	return select_owing(nr, in, out, except, timeout, zero);
}

int
pselect(int nr, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout,
	const sigset_t *mask)
{
	struct wait w;
	int r;

	if (!stall_any() && entry_wait_free(is_zero(timeout)))
		return real.pselect(nr, in, out, except, timeout, mask);
	real_ready();
	if ((entry_wait(&w, is_zero(timeout)) || (is_zero(timeout) && except)) &&
	    looked_select(nr, (fd_set *[]){ in, out, except }, mask, &r))
		return selected(nr, out, r);
	r = real.pselect(nr, in, out, except, timeout, mask);
	wait_end(&w, r);
	return selected(nr, out, r);
}

/* An event does not say of which descriptor it is: where one asks for urgent data, all is settled before
 * the look. In ordinary memory: a child has the instances, too. */
static bool urgent_waits; /* A */

/* True: *r is the answer, from memory. */
static bool
epoll_known(int ep, struct epoll_event *events, int max, int *r)
{
	if (relaxed(urgent_waits)) {
		turn_flush();
		return false;
	}
	if (!wait_known(ep, events, max, r))
		return false;
	entry_testcancel();
	return true;
}

static __attribute__((noinline)) int
epoll_wait_owing(int ep, struct epoll_event *events, int max, int timeout)
{
	struct wait w;
	bool looks;
	int r;

	real_ready();
	if (epoll_known(ep, events, max, &r))
		return r;
	looks = entry_wait(&w, !timeout);
	interest_look(ep);
	if (looks) {
		r = real.epoll_wait(ep, events, max, 0);
		if (wait_looked(r)) {
			interest_told(ep, events, max, r);
			return r;
		}
	}
	r = real.epoll_wait(ep, events, max, timeout);
	wait_end(&w, r);
	interest_told(ep, events, max, r);
	return r;
}

int
epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	if (entry_wait_free(!timeout))
		return real.epoll_wait(ep, events, max, timeout);
	return epoll_wait_owing(ep, events, max, timeout);
}

static bool
epoll_looks(struct wait *w, bool zero)
{
	if (relaxed(urgent_waits))
		turn_flush();
	return entry_wait(w, zero);
}

int
epoll_pwait(int ep, struct epoll_event *events, int max, int timeout,
	    const sigset_t *mask)
{
	struct wait w;
	int r;

	if (entry_wait_free(!timeout))
		return real.epoll_pwait(ep, events, max, timeout, mask);
	real_ready();
	if (epoll_looks(&w, !timeout)) {
		r = real.epoll_pwait(ep, events, max, 0, mask);
		if (wait_looked(r))
			return r;
	}
	r = real.epoll_pwait(ep, events, max, timeout, mask);
	wait_end(&w, r);
	return r;
}

int
epoll_pwait2(int ep, struct epoll_event *events, int max,
	     const struct timespec *timeout, const sigset_t *mask)
{
	struct wait w;
	int r;

	if (entry_wait_free(is_zero(timeout)))
		return real.epoll_pwait2(ep, events, max, timeout, mask);
	real_ready();
	if (epoll_looks(&w, is_zero(timeout))) {
		r = real.epoll_pwait2(ep, events, max, &no_time, mask);
		if (wait_looked(r))
			return r;
	}
	r = real.epoll_pwait2(ep, events, max, timeout, mask);
	wait_end(&w, r);
	return r;
}

static inline int
epoll_ctl_native(int ep, int op, int fd, struct epoll_event *event)
{
	int r = real.epoll_ctl(ep, op, fd, event);

	if (r == 0 && op != EPOLL_CTL_DEL && event->events & EPOLLPRI)
		relaxed_set(urgent_waits, true);
	return r;
}

static __attribute__((noinline)) int
epoll_ctl_slow(int ep, int op, int fd, struct epoll_event *event)
{
	struct interest_call call;
	int r;

	real_ready();
	if (interest_ctl(ep, op, fd, entry_nowhere(event) ? NULL : event, &call, &r))
		return (int)entry_result(r);
	r = epoll_ctl_native(ep, op, fd, event);
	interest_done(op, fd, event, &call, (int)entry_raw(r));
	return r;
}

int
epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	if (__builtin_expect(!real_bound, 0) || relaxed(interest_any))
		return epoll_ctl_slow(ep, op, fd, event);
	return epoll_ctl_native(ep, op, fd, event);
}
