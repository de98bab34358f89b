#ifndef WEIR_INTERPOSE_ENTRY_H
#define WEIR_INTERPOSE_ENTRY_H
/* interpose/entry: what the exported symbols begin and end with. Three kinds, no fourth:
 *
 *   data    read, write and kin: stream_at() finds the stream; none: the native call
 *   wait    poll, select, epoll, sleeps: what is held leaves first, or a look shows that
 *           nobody has to sleep
 *   other   whatever can see, move, copy or end a descriptor or the process: quiesce,
 *           then the native call
 *
 * A native call is libc's own function, or on the quick ways the same system call (interpose/real.h),
 * made with no lock held: it may be a cancellation point, and a handler may leave it by siglongjmp.
 * Below this floor errors are -errno; entry_result() is the one place that writes errno,
 * entry_raw() the one that reads it.
 * Threads: any. Signals: as the function whose name it is. */
#include "base/enter.h"
#include "base/self.h"
#include "count/region.h"
#include "interpose/real.h"
#include "metrics/metrics.h"
#include "stream/interest.h"
#include "stream/keeper.h"
#include "stream/life.h"
#include "stream/section.h"
#include "stream/share.h"
#include "stream/stall.h"
#include "stream/stream.h"
#include "stream/turn.h"
#include "waits/wait.h"
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* With these a send is as plain as a write, and a receive as a read. */
enum { PLAIN_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };

/* Flags with which a write may be held: none of them changes what the peer gets. */
enum { HELD_FLAGS = PLAIN_FLAGS | MSG_MORE };

/* This process ends by itself: held bytes leave, the family is left. Idempotent. */
void entry_end(void);

/* Before and after a call that sends the signal `sig` to this process, or may; 0: none. What the first returns
 * the second is given; `ours`: it names this process, or a thread of it. `r`: what the call returned, and is returned. */
bool entry_signal_begin(int sig);
long entry_signal_end(int sig, bool shut, bool ours, long r);

/* A native or lower result as the application gets it. */
static inline ssize_t
entry_result(ssize_t r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

static inline int
entry_fail(int err)
{
	return (int)entry_result(-err);
}

/* A native call's result as the lower floors want it: -1 becomes -errno. */
static inline ssize_t
entry_raw(ssize_t r)
{
	return r < 0 ? -errno : r;
}

/* Where real_direct allows it, a quick way enters the kernel itself (interpose/real.h): the only thread always, for it
 * is cancelled by nobody while it sleeps; among threads only a call that is certain not to sleep. */
static inline __attribute__((always_inline)) bool
entry_direct_among(const struct stream *s, int flags)
{
	return __builtin_expect(quick(real_direct), 1) &&
	       (flags & MSG_DONTWAIT || stream_surely_never_blocks(s));
}

/* False: not set up yet, switched off for good, or a vfork child on our memory: make the
 * native call and touch nothing. */
static inline bool
entry_live(void)
{
	return __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED) && self_ready();
}

/* The number is known to be a stream; nobody is asked. */
static inline bool
entry_stream(int fd)
{
	return (unsigned)fd < __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&number_kind[fd], __ATOMIC_RELAXED) == KIND_STREAM &&
	       self_ready();
}

/* A call made a descriptor of unknown kind, or one that is certainly no stream. */
static inline int
entry_made(int fd)
{
	if (fd >= 0 && entry_live())
		stream_forget(fd);
	return fd;
}

static inline int
entry_made_plain(int fd)
{
	if (number_is_plain(fd))
		number_stays_plain(fd);
	else if (fd >= 0 && entry_live())
		stream_made_plain(fd);
	return fd;
}

/* NULL, or an errno, taken for an address: nothing is ever there, so the kernel is to say so. */
static inline bool
entry_nowhere(const void *p)
{
	return (uintptr_t)p + 4096 < 8192;
}

/* Bytes of a vector that goes to the kernel as it is; 0 where it is too long, or nowhere. */
static inline size_t
entry_total_native(const struct iovec *iov, size_t nr)
{
	size_t total = 0;

	if (nr > IOV_MAX || entry_nowhere(iov))
		return 0;
	for (size_t i = 0; i < nr; i++)
		total += iov[i].iov_len;
	return total;
}

/* The same of one whose bytes may be copied here: 0 also where a piece of it is nowhere, or the sum is more
 * than a size can be, which the kernel has to judge. */
static inline size_t
entry_total(const struct iovec *iov, size_t nr)
{
	size_t total = 0;

	if (nr > IOV_MAX || entry_nowhere(iov))
		return 0;
	for (size_t i = 0; i < nr; i++)
		if ((entry_nowhere(iov[i].iov_base) && iov[i].iov_len) ||
		    __builtin_add_overflow(total, iov[i].iov_len, &total))
			return 0;
	return total;
}

/* A call that is answered from memory is a cancellation point all the same. Until somebody has
 * called pthread_cancel() there is nothing to test. */
extern bool entry_cancels __attribute__((visibility("hidden")));

static inline void
entry_testcancel(void)
{
	if (__builtin_expect(__atomic_load_n(&entry_cancels, __ATOMIC_RELAXED), 0))
		pthread_testcancel();
}

/* Something on `fd` must come after what was written: another awaited stream is released, this
 * one is flushed. */
static inline void
entry_order(int fd)
{
	if (self_ready())
		turn_to(fd);
	life_quiesce(fd, FLUSH_ORDER);
}

/* This is a handler, which interrupted a section or an append: before it sleeps, maybe until other threads have gone
 * on, these must not have to wait for that. */
static inline bool
entry_interrupted(void)
{
	return self.inside || (self.thread && self.thread->hot);
}

static inline void
entry_settle(void)
{
	if (__builtin_expect(entry_interrupted(), 0) && entry_live() && self_enter())
		section_settle();
}

/* Before a wait call: the helper threads that this process owes are made now. */
static inline void
entry_before_sleep(void)
{
	entry_settle();
	/* A forked child has to know that it is one. */
	if (__builtin_expect(metrics_undecided || metrics_vacant(), 0) &&
	    entry_live() && self_enter())
		metrics_member_sleeps();
	keeper_watch();
}

/* Before any other sleep: everything this thread holds leaves as well. */
static inline void
entry_sleep(void)
{
	entry_before_sleep();
	wait_sleep();
}

/* The common wait call: nothing is held, no section was interrupted, and no helper thread is owed because nobody asks
 * for metrics, so the native call is all there is to do. False: entry_wait(), after real_ready(). */
static inline bool
entry_wait_free(bool zero_timeout)
{
	const uint64_t *asked = __atomic_load_n(&metrics_asked, __ATOMIC_RELAXED);

	return !__atomic_load_n(asked, __ATOMIC_RELAXED) && !self.inside &&
	       wait_free(zero_timeout);
}

/* Begins a wait call: true: look first (waits/wait.h). */
static inline bool
entry_wait(struct wait *w, bool zero_timeout)
{
	if (!zero_timeout)
		entry_before_sleep();
	return wait_begin(w, zero_timeout);
}

/* Before a read of what is no stream: a pipe, a terminal or an eventfd may sleep for long. */
static inline void
entry_read_plain(int fd)
{
	if (__builtin_expect(turn_owes() || self.inside, 0) && entry_live() &&
	    stream_plain_sleeps(fd)) {
		entry_settle();
		wait_sleep();
	}
}
#endif
