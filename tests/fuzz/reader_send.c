/* Every call that sends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "model.h"
#include "reader.h"

/* One for a step, one for that which interrupts it. */
static unsigned char buffers[2][MAX_WRITE + 1];
static __thread unsigned char *outgoing;

unsigned char *
reader_outgoing(const struct reader *r, size_t n)
{
	unsigned char *bytes = buffers[r->nested];

	for (size_t i = 0; i < n; i++)
		bytes[i] = program_back(r->shared, r->step.stream, r->flow->written + i);
	bytes[n] = '\0';
	return bytes;
}

/* The bytes, in pieces of which one is empty. */
static int
cut(struct iovec *iov, const struct step *step)
{
	size_t n = (size_t)step->n, at = 0;
	int nr = step->pieces ? step->pieces : 1;

	for (int i = 0; i < nr; i++) {
		size_t len = i == nr - 1 ? n - at : i == 1 ? 0 : (n - at) / 2;

		iov[i] = (struct iovec){ outgoing + at, len };
		at += len;
	}
	return nr;
}

static long
by_sendmsg(const struct reader *r)
{
	struct iovec iov[MAX_PIECES];
	struct msghdr msg = { .msg_iov = iov };

	msg.msg_iovlen = (size_t)cut(iov, &r->step);
	return sendmsg(reader_fd(r), &msg, r->step.flags);
}

static long
by_sendmmsg(const struct reader *r)
{
	struct mmsghdr msgs[MAX_PIECES];
	struct iovec iov[MAX_PIECES];
	int nr = cut(iov, &r->step), nr_sent;
	long value = 0;

	memset(msgs, 0, sizeof msgs);
	for (int i = 0; i < nr; i++) {
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	nr_sent = sendmmsg(reader_fd(r), msgs, (unsigned)nr, r->step.flags);
	if (nr_sent < 0)
		return -1;
	for (int i = 0; i < nr_sent; i++)
		value += msgs[i].msg_len;
	return value;
}

static long
by_sendfile(const struct reader *r)
{
	int file = memfd_create("outgoing", MFD_CLOEXEC);
	size_t n = (size_t)r->step.n;
	long value;
	int err;

	if (write(file, outgoing, n) != (ssize_t)n)
		return -1;
	lseek(file, 0, SEEK_SET);
	value = sendfile(reader_fd(r), file, NULL, n);
	err = errno;
	close(file);
	errno = err;
	return value;
}

static long
by_splice(const struct reader *r)
{
	size_t n = (size_t)r->step.n;
	int pipe[2], err;
	long value;

	if (pipe2(pipe, O_CLOEXEC) || write(pipe[1], outgoing, n) != (ssize_t)n)
		return -1;
	value = splice(pipe[0], NULL, reader_fd(r), NULL, n, 0);
	err = errno;
	close(pipe[0]);
	close(pipe[1]);
	errno = err;
	return value;
}

static long
send_by(const struct reader *r)
{
	size_t n = (size_t)r->step.n;
	struct iovec iov[MAX_PIECES];
	int fd = reader_fd(r), flags = r->step.flags;

	switch (r->step.op) {
	case DO_WRITE:
		return send(fd, outgoing, n, MSG_NOSIGNAL);
	case DO_SEND:
		return send(fd, outgoing, n, flags);
	case DO_WRITE_PLAIN:
		return write(fd, outgoing, n);
	case DO_WRITEV:
		return writev(fd, iov, cut(iov, &r->step));
	case DO_PWRITEV2:
		return pwritev2(fd, iov, cut(iov, &r->step), -1, 0);
	case DO_SENDTO:
		return sendto(fd, outgoing, n, flags, NULL, 0);
	case DO_SENDMSG:
		return by_sendmsg(r);
	case DO_SENDMMSG:
		return by_sendmmsg(r);
	case DO_SENDFILE:
		return by_sendfile(r);
	case DO_SPLICE:
		return by_splice(r);
	case DO_DPRINTF:
		return dprintf(fd, "%.*s", (int)n, (const char *)outgoing);
	default:
		return syscall(SYS_write, fd, outgoing, n);
	}
}

void
reader_sent(struct reader *r, long value)
{
	if (value > 0)
		__atomic_fetch_add(&r->flow->written, (uint64_t)value, __ATOMIC_RELAXED);
}

void
reader_sends(struct reader *r)
{
	enum room room = model_room(r->flow, &r->step);
	unsigned char *interrupted = outgoing;
	long value;

	outgoing = reader_outgoing(r, (size_t)r->step.n);
	if (room == NO_PROMISE && !model_may_fall_short(&r->step)) {
		r->result.value = SKIPPED;
		outgoing = interrupted;
		return;
	}
	r->flow->slow |= r->step.flags & MSG_MORE;
	if (room != TAKEN_WHOLE)
		r->shared->draining = 1;
	errno = 0;
	reader_call_begins();
	value = send_by(r);
	reader_call_ends();
	outgoing = interrupted;
	if (!r->nested)
		r->shared->draining = 0;
	reader_sent(r, value);
	reader_returned(r, value);
	r->flow->guessed |= room == NO_PROMISE;
	if (room == NO_PROMISE && (value >= 0 || errno == EAGAIN))
		r->result.value = FREE;
}
