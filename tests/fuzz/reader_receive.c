/* Every call that receives. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "model.h"
#include "reader.h"

/* So many bytes behind what a call may fill are looked at too. A time-out may be short by a tick of
 * the kernel, of 10 ms at most, so half of it is what has to pass. */
enum { GUARD = 16, MAX_TIMEOUTS = 1 };

/* One for a step, one for that which interrupts it, one for who waits. */
static unsigned char buffers[3][MAX_READ + GUARD];
static __thread unsigned char *buffer;

static bool
takes_flags(int op)
{
	return op >= DO_RECV && op <= DO_RECVMMSG;
}

/* Makes the step one that ends. False: it is not to be made. */
static bool
will_end(struct reader *r)
{
	if (r->step.op == DO_RECVMMSG)
		r->step.flags |= MSG_WAITFORONE;
	if (r->is_waiter || model_read_returns(r->flow, &r->step))
		return true;
	if (r->flow->rcvtimeo_ns && r->flow->nr_timeouts < MAX_TIMEOUTS) {
		r->flow->nr_timeouts++;
		return true;
	}
	r->step.flags |= MSG_DONTWAIT;
	return takes_flags(r->step.op);
}

/* The buffer, in pieces of which one is empty. */
static int
cut(struct iovec *iov, const struct step *step)
{
	size_t n = (size_t)step->n, at = 0;
	int nr = step->pieces ? step->pieces : 1;

	for (int i = 0; i < nr; i++) {
		size_t len = i == nr - 1 ? n - at : i == 1 ? 0 : (n - at) / 2;

		iov[i] = (struct iovec){ buffer + at, len };
		at += len;
	}
	return nr;
}

static long
by_recvfrom(struct reader *r)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof name;
	long value = recvfrom(reader_fd(r), buffer, (size_t)r->step.n, r->step.flags,
			      (struct sockaddr *)&name, &len);

	r->result.more[0] = value < 0 ? 0 : (int)len;
	return value;
}

static long
by_recvmsg(struct reader *r)
{
	char control[256];
	struct sockaddr_storage name;
	struct iovec iov[MAX_PIECES];
	struct msghdr msg = { .msg_iov = iov, .msg_flags = 0x5a5a };
	long value;

	msg.msg_iovlen = (size_t)cut(iov, &r->step);
	if (r->step.op == DO_RECVMSG_NAME) {
		msg.msg_name = &name;
		msg.msg_namelen = sizeof name;
	}
	if (r->step.op == DO_RECVMSG_CONTROL) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof control;
	}
	value = recvmsg(reader_fd(r), &msg, r->step.flags);
	if (value >= 0) {
		int err = errno;

		r->result.more[0] = msg.msg_flags;
		r->result.more[1] = (int)msg.msg_controllen;
		r->result.more[2] = (int)msg.msg_namelen;
		errno = err;
	}
	return value;
}

/* `pieces` messages share the buffer. The sum of their bytes is the result; more: how many there
 * were, and the flags of all. */
static long
by_recvmmsg(struct reader *r)
{
	struct mmsghdr msgs[MAX_PIECES];
	struct iovec iov[MAX_PIECES];
	int nr = cut(iov, &r->step), nr_received;
	long value = 0;

	memset(msgs, 0, sizeof msgs);
	for (int i = 0; i < nr; i++) {
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	nr_received = recvmmsg(reader_fd(r), msgs, (unsigned)nr, r->step.flags, NULL);
	r->result.more[0] = nr_received;
	if (nr_received < 0)
		return -1;
	for (int i = 0; i < nr_received; i++) {
		value += msgs[i].msg_len;
		r->result.more[1] |= msgs[i].msg_hdr.msg_flags;
	}
	return value;
}

static long
receive(struct reader *r)
{
	size_t n = (size_t)r->step.n;
	struct iovec iov[MAX_PIECES];
	int fd = reader_fd(r);

	switch (r->step.op) {
	case DO_READ:
		return read(fd, buffer, n);
	case DO_READV:
		return readv(fd, iov, cut(iov, &r->step));
	case DO_PREADV2:
		return preadv2(fd, iov, cut(iov, &r->step), -1, 0);
	case DO_RECV:
		return recv(fd, buffer, n, r->step.flags);
	case DO_RECVFROM:
		return recvfrom(fd, buffer, n, r->step.flags, NULL, NULL);
	case DO_RECVFROM_NAME:
		return by_recvfrom(r);
	case DO_RECVMMSG:
		return by_recvmmsg(r);
	case DO_SYSCALL_READ:
		return syscall(SYS_read, fd, buffer, n);
	default:
		return by_recvmsg(r);
	}
}

void
reader_receives(struct reader *r)
{
	size_t n = (size_t)r->step.n + GUARD;
	unsigned char *interrupted = buffer;
	int64_t start;
	long value;

	if (!will_end(r)) {
		r->result.value = SKIPPED;
		return;
	}
	buffer = buffers[r->nested];
	reader_buffer_fill(buffer, n);
	start = reader_now_ns();
	errno = 0;
	reader_call_begins();
	value = receive(r);
	reader_call_ends();
	reader_returned(r, value);
	r->result.slept = r->flow->rcvtimeo_ns && !r->flow->nonblock &&
			  !(r->step.flags & MSG_DONTWAIT) &&
			  model_read_short(r->flow, &r->step, value, errno) &&
			  reader_now_ns() - start >= r->flow->rcvtimeo_ns / 2;
	r->result.content = reader_buffer_sum(buffer, n);
	buffer = interrupted;
	if (value > 0 && !(r->step.flags & (MSG_PEEK | MSG_OOB)))
		__atomic_fetch_add(&r->flow->received, (uint64_t)value,
				   __ATOMIC_RELAXED);
}
