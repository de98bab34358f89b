/* interpose/read: the calls that receive. The bytes are the kernel's own answer; what a read
 * means to the writer of the same stream is stream/reader's. */
#include "interpose/entry.h"
#include "stream/reader.h"

#include <string.h>

static inline bool
owes_nothing(const struct stream *s)
{
	return !__builtin_expect(metrics_undecided, 0) && reader_owes_nothing(s);
}

/* A read that may block is a sleep. True: answered without one, *r is the result. */
static __attribute__((noinline)) bool
begin(struct stream *s, struct msghdr *msg, int flags, struct reading *reading,
      ssize_t *r)
{
	if (metrics_undecided && !(flags & MSG_DONTWAIT) && stream_blocking(s))
		entry_before_sleep();
	return reader_begin(s, msg, flags, reading, r);
}

static __attribute__((noinline)) bool
begin_flat(struct stream *s, void *buf, size_t n, int flags, struct reading *reading,
	   ssize_t *r)
{
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return begin(s, &msg, flags, reading, r);
}

/* `r` is a count or -errno. */
static inline ssize_t
end(struct stream *s, int fd, const struct reading *reading, size_t n, int flags,
    ssize_t r)
{
	r = reader_end(s, reading, n, flags & MSG_PEEK, r);
	if (r == -ENOTSOCK || r == -EBADF)
		stream_forget(fd); /* closed behind our back */
	return entry_result(r);
}

/* Reads of the error queue and of urgent data move none of the stream's bytes. */
static inline bool
off_stream(int flags)
{
	return flags & (MSG_ERRQUEUE | MSG_OOB);
}

/* All of a read() but the common case. */
static __attribute__((noinline)) ssize_t
read_slow(int fd, void *buf, size_t n)
{
	struct stream *s = stream_at(fd);
	struct reading reading = { 0 };
	ssize_t r;

	if (!s || !n) {
		entry_read_plain(fd);
		return real.read(fd, buf, n);
	}
	if (owes_nothing(s) || !begin_flat(s, buf, n, 0, &reading, &r))
		r = entry_raw(real.read(fd, buf, n));
	return end(s, fd, &reading, n, 0, r);
}

/* The end of a native call that was not begun; r is its result, errno set. */
static __attribute__((noinline)) ssize_t
unmoved(struct stream *s, int fd, size_t n, ssize_t r)
{
	const struct reading untimed = { 0 };

	return end(s, fd, &untimed, n, 0, entry_raw(r));
}

ssize_t
read(int fd, void *buf, size_t n)
{
	struct stream *s = stream_quick(fd);
	ssize_t r;

	if (!s || !n || !owes_nothing(s))
		return read_slow(fd, buf, n);
	r = real.read(fd, buf, n);
	if (r <= 0)
		return unmoved(s, fd, n, r);
	reader_moved(s, (size_t)r);
	return r;
}

ssize_t
readv(int fd, const struct iovec *iov, int nr)
{
	struct stream *s = stream_at(fd);
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)nr };
	struct reading reading = { 0 };
	ssize_t r;

	if (!s || nr <= 0 || nr > IOV_MAX) {
		entry_read_plain(fd);
		return real.readv(fd, iov, nr);
	}
	if (owes_nothing(s) || !begin(s, &msg, 0, &reading, &r))
		r = entry_raw(real.readv(fd, iov, nr));
	return end(s, fd, &reading, entry_total(iov, (size_t)nr), 0, r);
}

ssize_t
recv(int fd, void *buf, size_t n, int flags)
{
	struct stream *s = stream_quick(fd);
	ssize_t r;

	if (!s || !n || flags || !owes_nothing(s))
		return recvfrom(fd, buf, n, flags, NULL, NULL);
	r = real.recvfrom(fd, buf, n, 0, NULL, NULL);
	if (r <= 0)
		return unmoved(s, fd, n, r);
	reader_moved(s, (size_t)r);
	return r;
}

ssize_t
recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct stream *s = stream_at(fd);
	struct reading reading = { 0 };
	ssize_t r;

	real_ready();
	if (!s || !n || off_stream(flags)) {
		entry_read_plain(fd);
		return real.recvfrom(fd, buf, n, flags, addr, len);
	}
	/* A name has to be filled in as the kernel does it, so no other call tries first. */
	if (addr && !(flags & MSG_DONTWAIT) && stream_blocking(s))
		entry_sleep();
	if (addr || owes_nothing(s) || !begin_flat(s, buf, n, flags, &reading, &r))
		r = entry_raw(real.recvfrom(fd, buf, n, flags, addr, len));
	return end(s, fd, &reading, n, flags, r);
}

/* Descriptors came with the message: their numbers are new. */
static ssize_t
received_rights(struct msghdr *msg, ssize_t r)
{
	struct cmsghdr *c;
	int fd;

	if (r < 0 || !msg->msg_controllen || !msg->msg_control || !entry_live())
		return r;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			stream_forget(fd);
		}
	}
	return r;
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct stream *s = stream_at(fd);
	struct reading reading = { 0 };
	size_t n;
	ssize_t r;

	real_ready();
	if (!s || msg->msg_iovlen > IOV_MAX || off_stream(flags)) {
		entry_read_plain(fd);
		return received_rights(msg, real.recvmsg(fd, msg, flags));
	}
	n = entry_total(msg->msg_iov, msg->msg_iovlen);
	if (owes_nothing(s) || !begin(s, msg, flags, &reading, &r))
		r = entry_raw(real.recvmsg(fd, msg, flags));
	return end(s, fd, &reading, n, flags, received_rights(msg, r));
}

/* Each message is a read of its own to the counts; an error is that of the first. */
static int
received_messages(struct stream *s, struct mmsghdr *msgs, int flags, int r)
{
	const struct reading untimed = { 0 };

	if (s && r < 0)
		reader_end(s, &untimed, 0, flags & MSG_PEEK, entry_raw(r));
	for (int i = 0; i < r; i++) {
		struct msghdr *msg = &msgs[i].msg_hdr;

		received_rights(msg, 1);
		if (s)
			reader_end(s, &untimed,
				   entry_total(msg->msg_iov, msg->msg_iovlen),
				   flags & MSG_PEEK, msgs[i].msg_len);
	}
	return r;
}

int
recvmmsg(int fd, struct mmsghdr *msgs, unsigned nr, int flags, struct timespec *timeout)
{
	struct stream *s = stream_at(fd);

	real_ready();
	if (off_stream(flags))
		s = NULL;
	if (s && !(flags & MSG_DONTWAIT))
		entry_sleep();
	if (s)
		entry_order(fd);
	else
		entry_read_plain(fd);
	return received_messages(s, msgs, flags,
				 real.recvmmsg(fd, msgs, nr, flags, timeout));
}

ssize_t
preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	const struct reading untimed = { 0 };
	struct stream *s;
	ssize_t r;

	if (offset == -1 && !flags)
		return readv(fd, iov, nr);
	real_ready();
	s = stream_at(fd);
	if (!s || nr <= 0 || nr > IOV_MAX)
		return real.preadv2(fd, iov, nr, offset, flags);
	entry_order(fd);
	r = entry_raw(real.preadv2(fd, iov, nr, offset, flags));
	return end(s, fd, &untimed, entry_total(iov, (size_t)nr), 0, r);
}

ssize_t
preadv64v2(int fd, const struct iovec *iov, int nr, off64_t offset, int flags)
{
	return preadv2(fd, iov, nr, offset, flags);
}
