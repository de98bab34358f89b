#include "stream/reader.h"
#include "stream/counts.h"
#include "stream/flush.h"
#include "stream/evidence.h"
#include "stream/turn.h"
#include <errno.h>

/* What MSG_DONTWAIT would answer differently, had it to wait natively. */
enum { WAITING_FLAGS = MSG_WAITALL | MSG_OOB | MSG_ERRQUEUE };

bool
reader_begin(struct stream *s, struct msghdr *msg, int flags, struct reading *reading,
	     ssize_t *result)
{
	reading->slept = false;
	turn_to(s->fd);
	if (!self.wrote || flags & MSG_DONTWAIT || !stream_blocking(s))
		return false;
	if (turn_owes()) {
		if (!(flags & WAITING_FLAGS) && !(s->options & OPTION_RCVLOWAT)) {
			*result = sys_recvmsg(s->fd, msg, flags | MSG_DONTWAIT);
			if (*result != -EAGAIN)
				return true;
			count_kernel(s, RECEIVED, 0);
		}
		turn_flush();
	}
	reading->slept = true;
	return false;
}

static __attribute__((noinline)) void
moved_first(struct stream *s, size_t went)
{
	count_native(s, RECEIVED, went, false);
	evidence_read(s);
}

void
reader_moved(struct stream *s, size_t went)
{
	if (__builtin_expect(!self.tally, 0)) {
		moved_first(s, went);
		return;
	}
	count_native(s, RECEIVED, went, true);
	evidence_read(s);
}

ssize_t
reader_end(struct stream *s, const struct reading *reading, size_t len, bool peek,
	   ssize_t r)
{
	int err;

	if (reading->slept)
		turn_slept();
	if (r > 0 && !peek) {
		reader_moved(s, (size_t)r);
		return r;
	}
	count_native(s, RECEIVED, 0, false);
	if (r < 0 && r != -EAGAIN && r != -EINTR)
		count_error(OP_READ, (int)-r);
	if (r == 0 && len > 0 && s->err) {
		err = stream_error(s);
		if (err)
			return -err;
	}
	return r;
}
