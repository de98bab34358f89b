/* A thread that waits inside a call on a stream, while others go on: until the peer sends, or ends.
 * What could make a difference to it is not done meanwhile. */
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../raw_call.h"
#include "model.h"
#include "reader.h"
#include "reader_worker.h"

enum { RETURN_MS = 2000 };

static bool
reads_at_least_one(const struct step *s)
{
	return s->op > PEER_LAST && s->op <= DO_SYSCALL_READ && s->n > 0 &&
	       !(s->flags & ~MSG_NOSIGNAL);
}

static bool
waits_for_input(const struct step *s)
{
	return s->op >= DO_POLL && s->op <= DO_PSELECT && s->flags == POLLIN;
}

/* The call would not return before the peer does something, and then would. */
static bool
is_to_wait(const struct reader *r)
{
	const struct flow *flow = r->flow;
	const struct worker *w = &r->shared->workers[r->me];

	return w->is_thread && w->home == 0 && !flow->waiter && reader_fd(r) >= 0 &&
	       !flow->nonblock && !flow->rcvtimeo_ns && flow->lowat <= 1 &&
	       !flow->peek_off && !flow->peer_urgent && !flow->peer_ended &&
	       !flow->shut && !model_unread(flow) &&
	       (reads_at_least_one(&r->step) || waits_for_input(&r->step));
}

bool
waiter_waits(struct reader *r)
{
	struct shared *shared = r->shared;
	int at = shared->at;

	if (!is_to_wait(r))
		return false;
	r->is_waiter = 1;
	r->nested = 2;
	if (waits_for_input(&r->step))
		r->step.n = -1;
	r->flow->waiter = r->me + 1;
	shared->workers[r->me].state = WAITING;
	shared->at++;
	shared->nr_blocked++;
	worker_passes(shared);
	reader_makes(r);
	shared->results[at] = r->result;
	shared->workers[r->me].state = WORKING;
	__atomic_store_n(&r->flow->waiter, 0, __ATOMIC_RELEASE);
	return true;
}

bool
waiter_forbids(const struct shared *shared, const struct step *step)
{
	if (!shared->flows[step->stream].waiter)
		return false;
	switch (step->op) {
	case PEER_SENDS:
	case PEER_READS:
	case PEER_HALF_CLOSES:
	case PEER_CLOSES:
	case PEER_RESETS:
	case DO_FIONREAD:
	case DO_COMPUTE:
	case DO_DUP:
	case DO_EPOLL_SET:
	case DO_EPOLL_DELETE:
	case DO_THREAD:
	case DO_FORK:
	case DO_END:
	case DO_SPAWN:
	case DO_WRITE:
		return false;
	case DO_SHUTDOWN:
		return step->n != SHUT_WR;
	default:
		return !(step->op >= DO_SEND && step->op <= DO_LINGER) &&
		       !(step->op >= DO_POLL && step->op <= DO_EPOLL_WAIT);
	}
}

void
waiter_returns(const struct reader *r)
{
	int64_t until = reader_now_ns() + RETURN_MS * INT64_C(1000000);

	while (__atomic_load_n(&r->flow->waiter, __ATOMIC_ACQUIRE)) {
		if (reader_now_ns() > until) {
			r->shared->late = 1;
			return;
		}
		raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
	}
}

void
waiters_end(struct shared *shared)
{
	for (int i = 0; i < MAX_STREAMS; i++) {
		struct reader r = { .shared = shared,
				    .flow = &shared->flows[i],
				    .hands = &shared->hands[0],
				    .step = { .stream = (uint8_t)i } };

		if (!r.flow->waiter)
			continue;
		r.flow->shut = 1;
		shutdown(r.hands->fd[i], SHUT_RD);
		waiter_returns(&r);
	}
}
