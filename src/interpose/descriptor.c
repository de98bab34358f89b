/* interpose/descriptor: what closes, copies or changes a descriptor number. To the application
 * the library's own number does not exist (metrics/metrics.h); what it copies is a
 * stream with two numbers, which are both left alone for good: stdio on one would overtake
 * bytes held on the other. */
#include "interpose/descriptor.h"
#include "interpose/entry.h"
#include "interpose/sandbox.h"
#include "stream/share.h"

#include <linux/close_range.h>

static __attribute__((noinline)) int
close_slow(int fd)
{
	int r;

	if (!entry_live())
		return real.close(fd);
	if (metrics_owns(fd))
		return entry_fail(EBADF);
	stream_close_begin(fd);
	r = real.close(fd);
	stream_close_end(fd);
	return r;
}

int
close(int fd)
{
	if (!number_is_plain(fd) || metrics_owns(fd))
		return close_slow(fd);
	number_stays_plain(fd);
	return real.close(fd);
}

/* Calls `each` for the known numbers of the range, where there ever was a socket: whoever makes
 * any of the others anew resets it. */
static void
numbers_between(unsigned first, unsigned last, void (*each)(int fd))
{
	for (unsigned leaf = first >> LEAF_BITS; leaf < NR_LEAVES; leaf++) {
		unsigned n = leaf << LEAF_BITS, end = n + (1 << LEAF_BITS);

		if (n > last)
			return;
		if (!__atomic_load_n(&stream_leaf[leaf], __ATOMIC_RELAXED))
			continue;
		for (n = n < first ? first : n; n < end && n <= last; n++)
			if (__atomic_load_n(&number_kind[n], __ATOMIC_RELAXED) !=
			    KIND_UNKNOWN)
				each((int)n);
	}
}

static void
set_cloexec(int fd)
{
	stream_option(fd, OPTION_CLOEXEC, true);
}

/* Ours stays: the ranges around it. */
static int
close_around(unsigned first, unsigned last, int flags, unsigned ours)
{
	int r = 0;

	if (first < ours)
		r = real.close_range(first, ours - 1, flags);
	if (!r && ours < last)
		r = real.close_range(ours + 1, last, flags);
	return r;
}

int
close_range(unsigned first, unsigned last, int flags)
{
	unsigned ours = (unsigned)metrics_fd();
	int r;

	real_ready();
	if (!entry_live() || first > last)
		return real.close_range(first, last, flags);
	if (flags &
	    CLOSE_RANGE_UNSHARE) /* a helper thread would keep the old table open */
		sandbox_own_table();
	if (flags & CLOSE_RANGE_CLOEXEC) {
		r = real.close_range(first, last, flags);
		if (!r)
			numbers_between(first, last, set_cloexec);
		return r;
	}
	interest_end(); /* it may be one of them */
	numbers_between(first, last, stream_close_begin);
	share_close_range(first, last);
	if (ours <= INT_MAX && first <= ours && ours <= last)
		r = close_around(first, last, flags, ours);
	else
		r = real.close_range(first, last, flags);
	numbers_between(first, last, stream_close_end);
	return r;
}

void
closefrom(int first)
{
	unsigned low = first < 0 ? 0 : (unsigned)first;
	int ours = metrics_fd();

	real_ready();
	if (!entry_live()) {
		real.closefrom(first);
		return;
	}
	interest_end();
	numbers_between(low, INT_MAX, stream_close_begin);
	share_close_range(low, INT_MAX);
	for (int fd = (int)low; fd < ours; fd++)
		sys_close(fd);
	real.closefrom(ours >= (int)low ? ours + 1 : (int)low);
	numbers_between(low, INT_MAX, stream_close_end);
}

bool
copy_begin(int fd)
{
	if (!self_ready())
		life_vfork_passes(fd);
	else if (metrics_owns(fd))
		return false;
	else
		life_quiesce(fd, FLUSH_SHARE);
	return true;
}

int
copy_end(int fd, int copy)
{
	if (copy < 0 || !entry_live())
		return copy;
	/* Should the copy move data, it is met as a socket that came from elsewhere: never held. */
	stream_forget(copy);
	share_pass(fd);
	stream_leave(fd);
	return copy;
}

int
dup(int fd)
{
	real_ready();
	if (!copy_begin(fd))
		return entry_fail(EBADF);
	return copy_end(fd, real.dup(fd));
}

/* `to` is about to be replaced: false: `fd` is not open, so it will not be. */
static bool
replace_begin(int fd, int to)
{
	if (!entry_live())
		return false;
	if (fd == to || sys_fcntl(fd, F_GETFD, 0) < 0)
		return false;
	metrics_make_way(to);
	stream_close_begin(to);
	return true;
}

int
dup2(int fd, int to)
{
	bool replaces;
	int r;

	real_ready();
	if (!copy_begin(fd))
		return entry_fail(EBADF);
	replaces = replace_begin(fd, to);
	r = real.dup2(fd, to);
	if (!replaces)
		return r;
	stream_close_end(to);
	return copy_end(fd, r);
}

int
dup3(int fd, int to, int flags)
{
	bool replaces;
	int r;

	real_ready();
	if (!copy_begin(fd))
		return entry_fail(EBADF);
	replaces = replace_begin(fd, to);
	r = real.dup3(fd, to, flags);
	if (!replaces)
		return r;
	stream_close_end(to);
	return copy_end(fd, r);
}

static int
set_descriptor_flags(int fd, long flags)
{
	int r;

	if (!(flags & FD_CLOEXEC) && !self_ready())
		life_vfork_passes(fd);
	r = real.fcntl(fd, F_SETFD, flags);
	if (!r)
		stream_option(fd, OPTION_CLOEXEC, flags & FD_CLOEXEC);
	return r;
}

static int
fcntl_do(int fd, int cmd, long arg)
{
	int r;

	if (entry_live() && metrics_owns(fd))
		return entry_fail(EBADF);
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		copy_begin(fd);
		return copy_end(fd, real.fcntl(fd, cmd, arg));
	case F_SETFD:
		return set_descriptor_flags(fd, arg);
	}
	if (cmd == F_SETFL && !(arg & O_NONBLOCK))
		stream_nonblock_ends(fd);
	r = real.fcntl(fd, cmd, arg);
	if (cmd == F_SETFL && !r)
		stream_nonblock(fd, arg & O_NONBLOCK);
	return r;
}

/* Libc's own fcntl takes one long as well, whatever the command wants. */
int
fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl_do(fd, cmd, arg);
}

int
fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl_do(fd, cmd, arg);
}

int
__fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl_do(fd, cmd, arg);
}

static void
ioctl_done(int fd, unsigned long request, long arg)
{
	if (request == FIOCLEX || request == FIONCLEX)
		stream_option(fd, OPTION_CLOEXEC, request == FIOCLEX);
	else if (request == FIONBIO)
		stream_nonblock(fd, *(const int *)arg);
}

int
ioctl(int fd, ioctl_request request, ...)
{
	va_list ap;
	long arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	if (request == FIONCLEX && !self_ready())
		life_vfork_passes(fd);
	if (request == SIOCATMARK)
		stream_bypass_reads(fd, BYPASS_URGENT);
	life_quiesce(fd, FLUSH_ORDER);
	if (request == FIONBIO)
		stream_nonblock_ends(fd);
	r = real.ioctl(fd, request, arg);
	if (r >= 0)
		ioctl_done(fd, request, arg);
	return r;
}

int
sockatmark(int fd)
{
	int at;

	return ioctl(fd, SIOCATMARK, &at) < 0 ? -1 : at;
}
