/* interpose/write: the calls that send. Each one is held, sent together with what is held
 * (stream/writer.h), or made natively and reported. */
#include "interpose/entry.h"
#include "interpose/rights.h"
#include "stream/pair.h"
#include "stream/reader.h"
#include "stream/writer.h"

/* Reports a native call; `s` may be NULL: then it made something else ready, maybe, that the program waits for. */
static inline ssize_t
sent(struct stream *s, size_t len, ssize_t r)
{
	if (s)
		writer_sent(s, len, entry_raw(r));
	else
		interest_unsure();
	return r;
}

/* Reports a call of libc's own that was let go by writer_goes(), or the like; errno is set. */
static inline __attribute__((always_inline)) ssize_t
called(struct stream *s, size_t len, ssize_t r)
{
	if (r == (ssize_t)len && writer_went_quick(s, len, self_is_alone()))
		return r;
	self.call_start_ns = 0;
	return sent(s, len, r);
}

static __attribute__((noinline)) ssize_t
not_quick(struct stream *s, size_t len, ssize_t r)
{
	self.call_start_ns = 0;
	writer_sent(s, len, r);
	return entry_result(r);
}

/* The same of one made here: `r` is a count or -errno. `alone`: self_is_alone(). In a function of its own with the call,
 * so that what decided has nothing to keep on the stack; and what is not quick in another one, so that this has
 * not, either. */
static inline __attribute__((always_inline)) ssize_t
went(struct stream *s, size_t len, ssize_t r, bool alone)
{
	hot_known(len > 0);
	if (__builtin_expect(r == (ssize_t)len, 1) && writer_went_quick(s, len, alone))
		return r;
	return not_quick(s, len, r);
}

static __attribute__((noinline)) ssize_t
write_slow(int fd, const void *buf, size_t n)
{
	struct stream *s = stream_at(fd);
	struct iovec iov = { (void *)buf, n };
	ssize_t r;

	if (!s || !n || entry_nowhere(buf))
		return sent(NULL, 0, real.write(fd, buf, n));
	entry_testcancel();
	if (writer_append(s, &iov, 1, n))
		return (ssize_t)n;
	if (writer_take(s, &iov, 1, 0, &r))
		return entry_result(r);
	return sent(s, n, real.write(fd, buf, n));
}

static __attribute__((noinline)) ssize_t
write_called(int fd, const void *buf, size_t n, struct stream *s)
{
	return called(s, n, real.write(fd, buf, n));
}

static __attribute__((noinline)) ssize_t
write_among(int fd, const void *buf, size_t n, struct stream *s)
{
	if (!entry_direct_among(s, 0))
		return write_called(fd, buf, n, s);
	return went(s, n, enter3(SYS_write, fd, (long)buf, (long)n), false);
}

static __attribute__((noinline)) ssize_t
write_alone(int fd, const void *buf, size_t n, struct stream *s)
{
	if (!quick(real_direct)) /* we are alone: that has been asked */
		return write_called(fd, buf, n, s);
	return went(s, n, enter3(SYS_write, fd, (long)buf, (long)n), true);
}

static __attribute__((noinline)) ssize_t
write_plain(int fd, const void *buf, size_t n)
{
	return sent(NULL, 0, real.write(fd, buf, n));
}

/* Apart from the entry, so that this has nothing to keep on the stack for what is appended. */
static __attribute__((noinline)) ssize_t
write_native(int fd, const void *buf, size_t n)
{
	struct stream *s = stream_last(fd);

	if (!s && number_is_plain(fd))
		return write_plain(fd, buf, n);
	if (!s)
		s = stream_quick(fd);
	if (!s || !n || !writer_goes(s, n))
		return write_slow(fd, buf, n);
	return self_is_alone() ? write_alone(fd, buf, n, s) : write_among(fd, buf, n, s);
}

ssize_t
write(int fd, const void *buf, size_t n)
{
	ssize_t r = writer_append_hot(fd, buf, n);

	return r ? r : write_native(fd, buf, n);
}

/* send() that must not be held: its flags mean more than "these bytes". */
static ssize_t
send_apart(struct stream *s, int fd, const void *buf, size_t n, int flags)
{
	entry_order(fd);
	return sent(s, n, real.send(fd, buf, n, flags));
}

static __attribute__((noinline)) ssize_t
send_slow(int fd, const void *buf, size_t n, int flags)
{
	struct stream *s = stream_at(fd);
	struct iovec iov = { (void *)buf, n };
	ssize_t r;

	real_ready();
	if (!s || !n || entry_nowhere(buf))
		return sent(NULL, 0, real.send(fd, buf, n, flags));
	if (flags & ~HELD_FLAGS)
		return send_apart(s, fd, buf, n, flags);
	entry_testcancel();
	if (!pair_withholds(s, flags) && writer_append(s, &iov, 1, n))
		return (ssize_t)n;
	if (writer_take(s, &iov, 1, flags, &r))
		return entry_result(r);
	return sent(s, n, real.send(fd, buf, n, flags));
}

static __attribute__((noinline)) ssize_t
send_called(int fd, const void *buf, size_t n, int flags, struct stream *s)
{
	return called(s, n, real.send(fd, buf, n, flags));
}

static inline __attribute__((always_inline)) long
send_here(int fd, const void *buf, size_t n, int flags)
{
	return enter6(SYS_sendto, fd, (long)buf, (long)n, (unsigned)flags, 0, 0);
}

static __attribute__((noinline)) ssize_t
send_among(int fd, const void *buf, size_t n, int flags, struct stream *s)
{
	if (!entry_direct_among(s, flags))
		return send_called(fd, buf, n, flags, s);
	return went(s, n, send_here(fd, buf, n, flags), false);
}

static __attribute__((noinline)) ssize_t
send_alone(int fd, const void *buf, size_t n, int flags, struct stream *s)
{
	if (!quick(real_direct)) /* we are alone: that has been asked */
		return send_called(fd, buf, n, flags, s);
	return went(s, n, send_here(fd, buf, n, flags), true);
}

static __attribute__((noinline)) ssize_t
send_native(int fd, const void *buf, size_t n, int flags)
{
	struct stream *s = !n || flags & ~PLAIN_FLAGS ? NULL : stream_quick(fd);

	if (!s || !writer_goes(s, n))
		return send_slow(fd, buf, n, flags);
	return self_is_alone() ? send_alone(fd, buf, n, flags, s)
			       : send_among(fd, buf, n, flags, s);
}

ssize_t
send(int fd, const void *buf, size_t n, int flags)
{
	ssize_t r = 0;

	if (fd == self.hot_fd && !(flags & ~PLAIN_FLAGS))
		r = writer_append_hot(fd, buf, n);
	return r ? r : send_native(fd, buf, n, flags);
}

ssize_t
sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
       socklen_t len)
{
	struct stream *s;

	if (!addr)
		return send(fd, buf, n, flags);
	real_ready();
	s = stream_at(fd);
	if (s)
		entry_order(fd);
	return sent(s, n, real.sendto(fd, buf, n, flags, addr, len));
}

static __attribute__((noinline)) ssize_t
writev_slow(int fd, const struct iovec *iov, int nr)
{
	struct stream *s = stream_at(fd);
	size_t total;
	ssize_t r;

	if (!s || nr <= 0 || nr > IOV_MAX)
		return sent(NULL, 0, real.writev(fd, iov, nr));
	entry_testcancel();
	total = entry_total(iov, (size_t)nr);
	if (!total) {
		entry_order(fd); /* what comes before a piece that is nowhere is sent */
		return sent(s, 0, real.writev(fd, iov, nr));
	}
	if (writer_append(s, iov, (size_t)nr, total))
		return (ssize_t)total;
	if (writer_take(s, iov, nr, 0, &r))
		return entry_result(r);
	return sent(s, total, real.writev(fd, iov, nr));
}

static __attribute__((noinline)) ssize_t
writev_called(int fd, const struct iovec *iov, int nr, size_t total, struct stream *s)
{
	return called(s, total, real.writev(fd, iov, nr));
}

static __attribute__((noinline)) ssize_t
writev_among(int fd, const struct iovec *iov, int nr, size_t total, struct stream *s)
{
	if (!entry_direct_among(s, 0))
		return writev_called(fd, iov, nr, total, s);
	return went(s, total, enter3(SYS_writev, fd, (long)iov, (unsigned)nr), false);
}

static __attribute__((noinline)) ssize_t
writev_alone(int fd, const struct iovec *iov, int nr, size_t total, struct stream *s)
{
	if (!quick(real_direct)) /* we are alone: that has been asked */
		return writev_called(fd, iov, nr, total, s);
	return went(s, total, enter3(SYS_writev, fd, (long)iov, (unsigned)nr), true);
}

ssize_t
writev(int fd, const struct iovec *iov, int nr)
{
	struct stream *s = stream_quick(fd);
	size_t total;

	if (!s || nr <= 0 || nr > IOV_MAX)
		return writev_slow(fd, iov, nr);
	total = entry_total_native(iov, (size_t)nr);
	if (!total || !writer_goes(s, total))
		return writev_slow(fd, iov, nr);
	return self_is_alone() ? writev_alone(fd, iov, nr, total, s)
			       : writev_among(fd, iov, nr, total, s);
}

/* True: nothing but bytes in order, so it may be held. */
static inline bool
plain_message(const struct msghdr *msg, int flags)
{
	return !entry_nowhere(msg) && !msg->msg_name && !msg->msg_controllen &&
	       !(flags & ~HELD_FLAGS);
}

static __attribute__((noinline)) ssize_t
sendmsg_slow(int fd, const struct msghdr *msg, int flags)
{
	struct stream *s = stream_at(fd);
	size_t total;
	ssize_t r;

	real_ready();
	if (entry_nowhere(msg))
		return real.sendmsg(fd, msg, flags);
	rights_sent(msg);
	if (!s)
		return sent(NULL, 0, real.sendmsg(fd, msg, flags));
	entry_testcancel();
	total = entry_total(msg->msg_iov, msg->msg_iovlen);
	if (!total || !plain_message(msg, flags)) {
		entry_order(fd);
		return sent(s, total, real.sendmsg(fd, msg, flags));
	}
	if (!pair_withholds(s, flags) &&
	    writer_append(s, msg->msg_iov, msg->msg_iovlen, total))
		return (ssize_t)total;
	if (writer_take(s, msg->msg_iov, (int)msg->msg_iovlen, flags, &r))
		return entry_result(r);
	return sent(s, total, real.sendmsg(fd, msg, flags));
}

static __attribute__((noinline)) ssize_t
sendmsg_called(int fd, const struct msghdr *msg, int flags, size_t total,
	       struct stream *s)
{
	return called(s, total, real.sendmsg(fd, msg, flags));
}

/* Else libc has more to do than to enter the kernel: its header has padding where the kernel's has none. */
enum { KERNELS_HEADER = sizeof(((struct msghdr *)NULL)->msg_iovlen) == sizeof(size_t) };

static __attribute__((noinline)) ssize_t
sendmsg_among(int fd, const struct msghdr *msg, int flags, size_t total,
	      struct stream *s)
{
	if (!KERNELS_HEADER || !entry_direct_among(s, flags))
		return sendmsg_called(fd, msg, flags, total, s);
	return went(s, total, enter3(SYS_sendmsg, fd, (long)msg, (unsigned)flags),
		    false);
}

static __attribute__((noinline)) ssize_t
sendmsg_alone(int fd, const struct msghdr *msg, int flags, size_t total,
	      struct stream *s)
{
	if (!KERNELS_HEADER || !quick(real_direct)) /* alone: that has been asked */
		return sendmsg_called(fd, msg, flags, total, s);
	return went(s, total, enter3(SYS_sendmsg, fd, (long)msg, (unsigned)flags), true);
}

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct stream *s = stream_quick(fd);
	size_t total;

	if (!s || flags & MSG_MORE || !plain_message(msg, flags))
		return sendmsg_slow(fd, msg, flags);
	total = entry_total_native(msg->msg_iov, msg->msg_iovlen);
	if (!total || !writer_goes(s, total))
		return sendmsg_slow(fd, msg, flags);
	return self_is_alone() ? sendmsg_alone(fd, msg, flags, total, s)
			       : sendmsg_among(fd, msg, flags, total, s);
}

/* The count of each message that went; an error is that of the first. */
static int
sent_messages(struct stream *s, const struct mmsghdr *msgs, int r)
{
	if (r < 0)
		sent(s, 0, r);
	for (int i = 0; i < r; i++)
		sent(s, entry_total(msgs[i].msg_hdr.msg_iov, msgs[i].msg_hdr.msg_iovlen),
		     msgs[i].msg_len);
	return r;
}

int
sendmmsg(int fd, struct mmsghdr *msgs, unsigned nr, mmsg_flags flags)
{
	struct stream *s = stream_at(fd);

	real_ready();
	rights_sent_all(msgs, nr);
	if (!s)
		return (int)sent(NULL, 0, real.sendmmsg(fd, msgs, nr, flags));
	entry_order(fd);
	return sent_messages(s, msgs, real.sendmmsg(fd, msgs, nr, flags));
}

ssize_t
pwritev2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	struct stream *s;

	if (offset == -1 && !flags)
		return writev(fd, iov, nr);
	real_ready();
	s = stream_at(fd);
	if (!s || nr <= 0 || nr > IOV_MAX)
		return real.pwritev2(fd, iov, nr, offset, flags);
	entry_order(fd);
	return sent(s, entry_total(iov, (size_t)nr),
		    real.pwritev2(fd, iov, nr, offset, flags));
}

ssize_t
pwritev64v2(int fd, const struct iovec *iov, int nr, off64_t offset, int flags)
{
	return pwritev2(fd, iov, nr, offset, flags);
}

/* Of a copy in the kernel a short count says nothing about the peer: the input may have ended.
 * So what went counts as what was asked for. `s` may be NULL. */
static ssize_t
copied(struct stream *s, ssize_t r)
{
	return sent(s, r < 0 ? 0 : (size_t)r, r);
}

static __attribute__((noinline)) ssize_t
sendfile_slow(int out, int in, off_t *offset, size_t n)
{
	real_ready();
	entry_order(out);
	return copied(stream_at(out), real.sendfile(out, in, offset, n));
}

static __attribute__((noinline)) ssize_t
sendfile_called(int out, int in, off_t *offset, size_t n, struct stream *s)
{
	self.call_start_ns = 0;
	return copied(s, real.sendfile(out, in, offset, n));
}

static __attribute__((noinline)) ssize_t
sendfile_alone(int out, int in, off_t *offset, size_t n, struct stream *s)
{
	long r;

	if (!quick(real_direct)) /* we are alone: that has been asked */
		return sendfile_called(out, in, offset, n, s);
	r = enter6(SYS_sendfile, out, in, (long)offset, (long)n, 0, 0);
	if (__builtin_expect(r <= 0, 0))
		return not_quick(s, 0, r);
	self.wrote = true;
	return went(s, (size_t)r, r, true);
}

ssize_t
sendfile(int out, int in, off_t *offset, size_t n)
{
	struct stream *s = stream_quick(out);

	if (!s || stream_word(s) | (uintptr_t)relaxed(s->borrow) | self.nr_owed |
			  relaxed(s->stalled))
		return sendfile_slow(out, in, offset, n);
	return self_is_alone() ? sendfile_alone(out, in, offset, n, s)
			       : sendfile_called(out, in, offset, n, s);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t n)
	__attribute__((alias("sendfile")));

ssize_t
splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t n,
       unsigned flags)
{
	struct stream *s = stream_at(in);
	ssize_t r;

	real_ready();
	if (s)
		wait_sleep();
	entry_order(in);
	entry_order(out);
	if (s)
		reader_enter(s);
	r = copied(stream_at(out),
		   real.splice(in, in_offset, out, out_offset, n, flags));
	if (s)
		reader_end(s, READ_NATIVE, n, false, entry_raw(r));
	return r;
}

ssize_t
tee(int in, int out, size_t n, unsigned flags)
{
	/* Between pipes only, so there is nothing to order. */
	real_ready();
	return real.tee(in, out, n, flags);
}

ssize_t
copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t n,
		unsigned flags)
{
	/* Between files only: a stream gets the kernel's own error, in order. */
	real_ready();
	entry_order(in);
	entry_order(out);
	return real.copy_file_range(in, in_offset, out, out_offset, n, flags);
}
