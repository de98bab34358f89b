/* See model.h. */
#include "model.h"

#include <errno.h>
#include <sys/socket.h>

/* Of the smallest default send buffer, AF_UNIX's 212,992 bytes, that below which a stream is
 * writable, counted with what the kernel counts: a piece's head, and its bytes rounded up. */
enum { CERTAIN = 50000, HEAD = 1300 };

/* A new TCP connection sends ten segments before the first is acknowledged. */
enum { SENT_AT_ONCE = 8 * HEAD };

static uint64_t
load_of(const struct step *step)
{
	uint64_t pieces = step->op == DO_SENDMMSG && step->pieces ? step->pieces : 1;

	return (uint64_t)step->n * 2 + HEAD * pieces;
}

bool
model_writable(const struct flow *flow)
{
	return !flow->small && flow->load <= CERTAIN;
}

bool
model_sent(const struct flow *flow)
{
	return !flow->slow && flow->load <= SENT_AT_ONCE;
}

bool
model_may_fall_short(const struct step *step)
{
	return step->op != DO_DPRINTF;
}

/* These may stop early although they could wait. */
static bool
stops_early(const struct step *step)
{
	return step->op == DO_SENDFILE || step->op == DO_SPLICE ||
	       step->op == DO_SENDMMSG || step->op == DO_DPRINTF;
}

enum room
model_room(struct flow *flow, const struct step *step)
{
	__atomic_fetch_add(&flow->load, load_of(step), __ATOMIC_RELAXED);
	if (model_writable(flow))
		return TAKEN_WHOLE;
	if (flow->nonblock || step->flags & MSG_DONTWAIT || stops_early(step))
		return NO_PROMISE;
	return PEER_MUST_READ;
}

/* ---- reading ---- */

int64_t
model_unread(const struct flow *flow)
{
	return (int64_t)flow->peer_sent - flow->peer_urgent - (int64_t)flow->received;
}

/* The bytes that the call would wait for; to receive none waits for one. */
static int64_t
target(const struct flow *flow, const struct step *step)
{
	int64_t n = step->n > 1 ? step->n : 1, lowat = flow->lowat > 1 ? flow->lowat : 1;

	if (step->flags & MSG_WAITALL)
		return n;
	return lowat < n ? lowat : n;
}

bool
model_read_returns(const struct flow *flow, const struct step *step)
{
	return flow->nonblock || flow->peer_ended || flow->shut ||
	       step->flags & (MSG_DONTWAIT | MSG_OOB) ||
	       (model_unread(flow) >= target(flow, step) &&
		!(step->flags & MSG_PEEK && flow->peek_off));
}

bool
model_read_short(const struct flow *flow, const struct step *step, long value, int err)
{
	if (value < 0)
		return err == EAGAIN;
	return step->flags & MSG_WAITALL && value < step->n && !flow->peer_ended &&
	       !flow->peer_urgent && !flow->shut;
}
