/* interpose/read: the calls that receive. Each one is served from what was read ahead
 * (stream/borrow.h), or made natively between reader_begin() and reader_end(), which know what
 * it means to the writer of the same stream (stream/reader.h). */
#include "interpose/entry.h"
#include "interpose/rights.h"
#include "stream/reader.h"

/* Begins the common read: nothing is to do for it but to make the call, and plain_end(). */
static inline __attribute__((always_inline)) bool
plain(struct stream *s, size_t n, int flags, bool alone)
{
	if (!stream_never_blocks(s) && __builtin_expect(metrics_undecided, 0))
		return false;
	return reader_plain(s, n, flags) && reader_plain_begin(s, flags, alone);
}

/* No stream, and no sleep before which something would have to leave. */
static inline bool
passes(int fd)
{
	return number_is_plain(fd) && !turn_owes() && !self.inside;
}

/* Reads of the error queue and of urgent data move none of the stream's bytes. */
static inline bool
off_stream(int flags)
{
	return flags & (MSG_ERRQUEUE | MSG_OOB);
}

/* Urgent data is about, so reads are left alone. */
static void
read_off_stream(int fd, int flags)
{
	if (flags & MSG_OOB)
		stream_bypass_reads(fd, BYPASS_URGENT);
	life_quiesce(fd, FLUSH_ORDER);
}

/* A read that may block is a sleep. */
static enum reading
begin(struct stream *s, struct msghdr *msg, size_t n, int flags, bool servable,
      ssize_t *r)
{
	entry_testcancel();
	entry_settle();
	if (metrics_undecided && !(flags & MSG_DONTWAIT) && stream_blocking(s))
		entry_before_sleep();
	return reader_begin(s, msg, n, flags, servable, r);
}

/* Closed behind our back; or by another thread just before the call, and then the number may be a new stream
 * by now, with bytes held. */
static __attribute__((noinline)) void
forget_closed(const struct stream *s, int fd)
{
	uint64_t cookie = __atomic_load_n(&stream_cold(s)->cookie, __ATOMIC_ACQUIRE);

	if (sys_no_socket(fd))
		stream_forget_socket(fd, cookie);
}

/* `r` is a count or -errno. */
static ssize_t
end(struct stream *s, int fd, enum reading reading, size_t n, int flags, ssize_t r)
{
	r = reader_end(s, reading, n, flags & MSG_PEEK, r);
	if (r == -ENOTSOCK || r == -EBADF)
		forget_closed(s, fd);
	return entry_result(r);
}

static __attribute__((noinline)) ssize_t
plain_failed(struct stream *s, size_t n, ssize_t r)
{
	/* Where stream_last() took another number for this one, this one is open. */
	return end(s, stream_fd(s), READ_NATIVE, n, 0, r);
}

static __attribute__((noinline)) ssize_t
plain_unmoved(struct stream *s, size_t n, ssize_t r)
{
	if (r != -EAGAIN)
		return plain_failed(s, n, r);
	reader_plain_refused(s);
	return entry_fail(EAGAIN);
}

/* The end of a plain read: `r` is a count or -errno. In a function of its own with the call, so that what
 * decided has nothing to keep on the stack; and what fails in another one, so that this has not, either. */
static inline __attribute__((always_inline)) ssize_t
plain_end(struct stream *s, size_t n, ssize_t r, bool alone)
{
	return __builtin_expect(r > 0, 1) ? reader_plain_end(s, n, (size_t)r, alone)
					  : plain_unmoved(s, n, r);
}

/* The same of libc's own call, errno set. */
static inline __attribute__((always_inline)) ssize_t
plain_called(struct stream *s, size_t n, ssize_t r)
{
	return __builtin_expect(r > 0, 1) ? reader_plain_end(s, n, (size_t)r, false)
					  : plain_unmoved(s, n, entry_raw(r));
}

/* All of a read() but the common cases. */
static __attribute__((noinline)) ssize_t
read_slow(int fd, void *buf, size_t n)
{
	struct stream *s = stream_at(fd);
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	enum reading reading;
	ssize_t r;

	if (!s || !n) {
		entry_read_plain(fd);
		return real.read(fd, buf, n);
	}
	reading = begin(s, &msg, n, 0, true, &r);
	if (reading == READ_SERVED)
		return entry_result(r);
	if (reading != READ_MADE)
		r = entry_raw(real.read(fd, buf, n));
	return end(s, fd, reading, n, 0, r);
}

static __attribute__((noinline)) ssize_t
read_called(int fd, void *buf, size_t n, struct stream *s)
{
	return plain_called(s, n, real.read(fd, buf, n));
}

static __attribute__((noinline)) ssize_t
read_among(int fd, void *buf, size_t n, struct stream *s)
{
	if (!entry_direct_among(s, 0))
		return read_called(fd, buf, n, s);
	return plain_end(s, n, enter3(SYS_read, fd, (long)buf, (long)n), false);
}

static __attribute__((noinline)) ssize_t
read_alone(int fd, void *buf, size_t n, struct stream *s)
{
	if (!quick(real_direct)) /* we are alone: that has been asked */
		return read_called(fd, buf, n, s);
	return plain_end(s, n, enter3(SYS_read, fd, (long)buf, (long)n), true);
}

static __attribute__((noinline)) ssize_t
read_other(int fd, void *buf, size_t n)
{
	struct stream *s = stream_quick(fd);

	if (!s && passes(fd))
		return real.read(fd, buf, n);
	if (s && n && self_is_alone()) {
		if (plain(s, n, 0, true))
			return read_alone(fd, buf, n, s);
	} else if (s && n && plain(s, n, 0, false))
		return read_among(fd, buf, n, s);
	return read_slow(fd, buf, n);
}

/* Apart from the entry, so that this has nothing to keep on the stack for what is served. First the
 * commonest: what does not block. */
static __attribute__((noinline)) ssize_t
read_native(int fd, void *buf, size_t n)
{
	struct stream *s = stream_last(fd);

	if (!s || !n || !stream_never_blocks(s))
		return read_other(fd, buf, n);
	if (self_is_alone()) {
		if (plain(s, n, MSG_DONTWAIT, true))
			return read_alone(fd, buf, n, s);
	} else if (plain(s, n, MSG_DONTWAIT, false))
		return read_among(fd, buf, n, s);
	return read_slow(fd, buf, n);
}

ssize_t
read(int fd, void *buf, size_t n)
{
	ssize_t r = borrow_take_hot(fd, buf, n);

	return r ? r : read_native(fd, buf, n);
}

ssize_t
readv(int fd, const struct iovec *iov, int nr)
{
	struct stream *s = stream_at(fd);
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)nr };
	enum reading reading;
	size_t n;
	ssize_t r;

	if (!s || nr <= 0 || nr > IOV_MAX || !(n = entry_total(iov, (size_t)nr))) {
		entry_read_plain(fd);
		return real.readv(fd, iov, nr);
	}
	reading = begin(s, &msg, n, 0, true, &r);
	if (reading == READ_SERVED)
		return entry_result(r);
	if (reading != READ_MADE)
		r = entry_raw(real.readv(fd, iov, nr));
	return end(s, fd, reading, n, 0, r);
}

static __attribute__((noinline)) ssize_t
recvfrom_slow(int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
	      socklen_t *len)
{
	struct stream *s = stream_at(fd);
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	enum reading reading;
	ssize_t r;

	real_ready();
	if (!s || !n || off_stream(flags)) {
		if (s)
			read_off_stream(fd, flags);
		entry_read_plain(fd);
		return real.recvfrom(fd, buf, n, flags, addr, len);
	}
	/* A name has to be filled in as the kernel does it, so no other call tries first. */
	if (addr && !(flags & MSG_DONTWAIT) && stream_blocking(s))
		entry_sleep();
	reading = begin(s, &msg, n, addr ? flags | MSG_DONTWAIT : flags, !addr, &r);
	if (reading == READ_SERVED)
		return entry_result(r);
	if (reading != READ_MADE)
		r = entry_raw(real.recvfrom(fd, buf, n, flags, addr, len));
	return end(s, fd, reading, n, flags, r);
}

static __attribute__((noinline)) ssize_t
recv_called(int fd, void *buf, size_t n, int flags, struct stream *s)
{
	return plain_called(s, n, real.recv(fd, buf, n, flags));
}

static inline __attribute__((always_inline)) ssize_t
recv_here(int fd, void *buf, size_t n, int flags)
{
	return enter6(SYS_recvfrom, fd, (long)buf, (long)n, (unsigned)flags, 0, 0);
}

static __attribute__((noinline)) ssize_t
recv_alone(int fd, void *buf, size_t n, int flags, struct stream *s)
{
	if (!quick(real_direct)) /* we are alone: that has been asked */
		return recv_called(fd, buf, n, flags, s);
	return plain_end(s, n, recv_here(fd, buf, n, flags), true);
}

static __attribute__((noinline)) ssize_t
recv_among(int fd, void *buf, size_t n, int flags, struct stream *s)
{
	if (!entry_direct_among(s, flags))
		return recv_called(fd, buf, n, flags, s);
	return plain_end(s, n, recv_here(fd, buf, n, flags), false);
}

static __attribute__((noinline)) ssize_t
recv_slow(int fd, void *buf, size_t n, int flags)
{
	return recvfrom_slow(fd, buf, n, flags, NULL, NULL);
}

static __attribute__((noinline)) ssize_t
recv_other(int fd, void *buf, size_t n, int flags)
{
	struct stream *s = stream_quick(fd);

	if (s && !(flags & ~PLAIN_FLAGS) && self_is_alone()) {
		if (plain(s, n, flags, true))
			return recv_alone(fd, buf, n, flags, s);
	} else if (s && !(flags & ~PLAIN_FLAGS) && plain(s, n, flags, false))
		return recv_among(fd, buf, n, flags, s);
	return recv_slow(fd, buf, n, flags);
}

static __attribute__((noinline)) ssize_t
recv_native(int fd, void *buf, size_t n, int flags)
{
	struct stream *s = flags & ~PLAIN_FLAGS ? NULL : stream_last(fd);

	if (!s || !stream_never_blocks(s))
		return recv_other(fd, buf, n, flags);
	if (self_is_alone()) {
		if (plain(s, n, MSG_DONTWAIT, true))
			return recv_alone(fd, buf, n, flags, s);
	} else if (plain(s, n, MSG_DONTWAIT, false))
		return recv_among(fd, buf, n, flags, s);
	return recv_slow(fd, buf, n, flags);
}

ssize_t
recv(int fd, void *buf, size_t n, int flags)
{
	ssize_t r = 0;

	if (fd == self.hot_read_fd && !(flags & ~PLAIN_FLAGS))
		r = borrow_take_hot(fd, buf, n);
	return r ? r : recv_native(fd, buf, n, flags);
}

ssize_t
recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	if (!addr)
		return recv(fd, buf, n, flags);
	return recvfrom_slow(fd, buf, n, flags, addr, len);
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct stream *s = stream_at(fd);
	enum reading reading;
	bool servable;
	size_t n;
	ssize_t r;

	real_ready();
	if (!s || entry_nowhere(msg) || msg->msg_iovlen > IOV_MAX || off_stream(flags)) {
		if (s)
			read_off_stream(fd, flags);
		entry_read_plain(fd);
		return rights_received(msg, real.recvmsg(fd, msg, flags));
	}
	n = entry_total(msg->msg_iov, msg->msg_iovlen);
	servable = n && relaxed(s->options) & OPTION_TCP && !msg->msg_name &&
		   !msg->msg_controllen;
	reading = begin(s, msg, n, flags, servable, &r);
	if (reading == READ_SERVED) {
		if (r >= 0)
			msg->msg_flags = 0;
		return entry_result(r);
	}
	if (reading != READ_MADE)
		r = entry_raw(real.recvmsg(fd, msg, flags));
	return end(s, fd, reading, n, flags, rights_received(msg, r));
}

/* Each message is a read of its own to the counts; an error is that of the first. */
static void
count_messages(struct stream *s, const struct mmsghdr *msgs, int flags, int r)
{
	if (r < 0)
		reader_count(s, 0, flags & MSG_PEEK, entry_raw(r));
	for (int i = 0; i < r; i++)
		reader_count(s,
			     entry_total(msgs[i].msg_hdr.msg_iov,
					 msgs[i].msg_hdr.msg_iovlen),
			     flags & MSG_PEEK, msgs[i].msg_len);
}

static int
received_messages(struct mmsghdr *msgs, int r)
{
	for (int i = 0; i < r; i++)
		rights_received(&msgs[i].msg_hdr, 1);
	return r;
}

int
recvmmsg(int fd, struct mmsghdr *msgs, unsigned nr, mmsg_flags flags,
	 struct timespec *timeout)
{
	struct stream *s = stream_at(fd);
	int r;

	real_ready();
	if (!s || off_stream(flags)) {
		if (s)
			read_off_stream(fd, flags);
		else
			entry_read_plain(fd);
		return received_messages(msgs,
					 real.recvmmsg(fd, msgs, nr, flags, timeout));
	}
	if (!(flags & MSG_DONTWAIT))
		entry_sleep();
	entry_order(fd);
	reader_enter(s);
	r = received_messages(msgs, real.recvmmsg(fd, msgs, nr, flags, timeout));
	reader_leave(s);
	count_messages(s, msgs, flags, r);
	return r;
}

ssize_t
preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	struct stream *s;
	ssize_t r;

	if (offset == -1 && !flags)
		return readv(fd, iov, nr);
	real_ready();
	s = stream_at(fd);
	if (!s || nr <= 0 || nr > IOV_MAX)
		return real.preadv2(fd, iov, nr, offset, flags);
	entry_order(fd);
	reader_enter(s);
	r = entry_raw(real.preadv2(fd, iov, nr, offset, flags));
	return end(s, fd, READ_NATIVE, entry_total(iov, (size_t)nr), 0, r);
}

ssize_t
preadv64v2(int fd, const struct iovec *iov, int nr, off64_t offset, int flags)
{
	return preadv2(fd, iov, nr, offset, flags);
}
