#include "stream/interest.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/table.h"
#include "stream/turn.h"
#include <errno.h>
#include <string.h>

enum { NR_ENTRIES = 1024, WORD_BITS = 64 };
/* Of wait calls that are answered from memory in a row: so many, for so long, of so many streams at most. */
enum { MOST_TURNS = 64, MOST_NS = 100000, MOST_STREAMS = 16 };

enum { PLAIN_EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP };

/* In ordinary memory: a child's numbers are no instance of its own until it has made one. */
static struct ledger {
	int32_t ep;
	uint32_t generation; /* of the process whose instance it is */
	bool busy;           /* one of the functions below is under way, or was left; */
	bool waits;          /* a wait call is, or was */
	uint32_t streak;     /* counts them; never 0 */

	/* Since epoll_wait last asked the kernel: */
	bool unknown;   /* more has changed than the interests of what is in entry[] */
	uint32_t fresh; /* entries of this streak that want what was not wanted then */
	uint32_t turns; /* answers from memory */
	uint32_t told; /* events it told of, each EPOLLIN alone; 0: others, none, or who knows */
	int max;                          /* of so many that could be told, */
	struct epoll_event *events;       /* there, */
	uint64_t told_data[MOST_STREAMS]; /* with these data, */
	int64_t told_ns;                  /* and when */

	uint64_t put_off[NR_ENTRIES / WORD_BITS]; /* a bit for each entry that may differ */
	struct interest entry[NR_ENTRIES];
} ledger;

bool interest_any;

static struct interest *
slot(int fd)
{
	return &ledger.entry[(unsigned)fd % NR_ENTRIES];
}

static bool
is_of(const struct interest *e, int fd)
{
	return e->number == (uint32_t)fd + 1;
}

static bool
fresh(const struct interest *e)
{
	return e->streak == ledger.streak && (e->want & ~e->base);
}

/* The instance is there, and ours. */
static bool
live(void)
{
	return interest_is(ledger.ep) && self.ready &&
	       ledger.generation == process->generation;
}

void
interest_made(int ep)
{
	bool ours = ledger.generation == process->generation;

	if (ep < 0 || config->test_direct || !self_ready() || !self_is_alone() ||
	    !number_known(ep) || (ours && (ledger.busy || interest_is(ledger.ep))))
		return;
	if (ledger.generation) /* else nothing of it is in memory yet */
		memset(&ledger, 0, sizeof(ledger));
	ledger.ep = ep;
	ledger.generation = process->generation;
	ledger.streak = 1;
	number_set(ep, KIND_EPOLL);
	relaxed_set(interest_any, true);
}

/* Tells the kernel what is wanted. Again where a handler has changed it in the middle: whose change was the later
 * one, the kernel alone knows. */
static void
tell(struct interest *e)
{
	bool again = false;

	while (relaxed(e->number) && (again || relaxed(e->want) != e->kernel)) {
		uint32_t changes = relaxed(e->changes), want = e->want;
		struct epoll_event event = { .events = want, .data.u64 = e->data };
		int r;

		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		r = sys_epoll_ctl(ledger.ep, EPOLL_CTL_MOD, (int)e->number - 1, &event);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		again = relaxed(e->changes) != changes;
		if (!again)
			e->kernel = want;
		if (!again && r < 0)
			e->number = 0; /* closed, unseen */
	}
}

static void
forget(struct interest *e)
{
	if (fresh(e))
		ledger.unknown = true;
	e->changes++;
	relaxed_set(e->number, 0);
}

/* All of them: whoever put something off may have been left before it had said so. */
void
interest_end(void)
{
	if (!live())
		return;
	number_set(ledger.ep, KIND_PLAIN);
	for (unsigned i = 0; i < NR_ENTRIES; i++)
		tell(&ledger.entry[i]);
	if (!ledger.busy) /* else the interrupted one is yet to hear of what we do: leave() */
		relaxed_set(interest_any, false);
}

void
interest_end_of(int ep)
{
	if (interest_is(ep))
		interest_end();
}

/* False: another one of these functions is under way, or was left: it has ended. */
static bool
enter(void)
{
	if (ledger.busy) {
		interest_end();
		return false;
	}
	ledger.busy = true;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

static void
leave(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ledger.busy = false;
	if (!interest_is(ledger.ep))
		relaxed_set(interest_any, false);
}

/* What is owed is done with last: it may be left in the middle. */
void
interest_apply(void)
{
	bool entered;

	if (!self.interests)
		return;
	entered = live() && enter();
	if (entered) {
		for (unsigned i = 0; i < NR_ENTRIES / WORD_BITS; i++) {
			for (uint64_t word = ledger.put_off[i]; word; word &= word - 1)
				tell(&ledger.entry[i * WORD_BITS +
						   (unsigned)__builtin_ctzll(word)]);
			ledger.put_off[i] = 0;
		}
		ledger.streak += ledger.streak == UINT32_MAX ? 2 : 1;
		ledger.unknown = true;
		ledger.fresh = 0;
	}
	self.streak = false;
	self.interests = 0;
	if (entered)
		leave();
}

void
interest_wait(void)
{
	if (relaxed(interest_any)) {
		if (ledger.waits)
			interest_end();
		ledger.waits = true;
		self.streak = false;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	}
	interest_apply();
}

void
interest_waited(void)
{
	if (relaxed(interest_any))
		ledger.waits = false;
}

void
interest_close(int fd)
{
	if (!relaxed(interest_any) || !is_of(slot(fd), fd) || !live() || !enter())
		return;
	tell(slot(fd));
	forget(slot(fd));
	leave();
}

void
interest_forget(int fd)
{
	if (relaxed(interest_any) && is_of(slot(fd), fd))
		forget(slot(fd));
}

/* Whether this thread may go by what the kernel said in this streak. */
static bool
in_streak(void)
{
	return self.streak && self.nr_owed;
}

/* It is of a stream, and of no more is asked than events as long as they last. */
static bool
plain(int op, int fd, const struct epoll_event *event)
{
	return (op == EPOLL_CTL_ADD || op == EPOLL_CTL_MOD) && stream_known(fd) &&
	       !(event->events & ~PLAIN_EVENTS);
}

/* ADD of what is there, or MOD that asks for no more than the kernel waits for. What was learned in this streak is owed
 * already. */
static bool
answered(int op, int fd, const struct epoll_event *event, int *r)
{
	struct interest *e = slot(fd);
	size_t i = (size_t)(e - ledger.entry);
	bool was = fresh(e);

	if (e->streak != ledger.streak || !in_streak() || !event ||
	    !plain(op, fd, event))
		return false;
	*r = -EEXIST;
	if (op == EPOLL_CTL_ADD)
		return true;
	if (event->events & ~e->kernel || event->data.u64 != e->data)
		return false;
	*r = 0;
	ledger.put_off[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	relaxed_set(e->want, event->events);
	ledger.fresh += fresh(e) - was;
	return true;
}

bool
interest_ctl(int ep, int op, int fd, const struct epoll_event *event,
	     struct interest_call *call, int *r)
{
	struct interest *e = slot(fd);

	*call = (struct interest_call){ .about = false };
	interest_end_of(fd); /* which is to be a part of another */
	if (!interest_is(ep) && !(ledger.busy && ep == ledger.ep))
		return false;
	if (!self_is_alone())
		interest_end();
	call->nested = !enter();
	if (call->nested)
		return false;
	if (live() && is_of(e, fd) && answered(op, fd, event, r)) {
		leave();
		return live(); /* else a handler has ended it, and has not seen this change */
	}
	call->about = true;
	if (is_of(e, fd)) {
		tell(e);
		call->before = *e;
		forget(e); /* until the call returns */
	}
	return false;
}

/* In a handler, which came when it was told of this entry, maybe: it will be told again. */
static void
record(int op, int fd, const struct epoll_event *event, int r)
{
	struct interest *e = slot(fd);

	if (r < 0 || (e->number && !is_of(e, fd)))
		return;
	e->changes++;
	relaxed_set(e->number, 0);
	if (op == EPOLL_CTL_DEL)
		return;
	e->want = e->kernel = event->events;
	e->data = event->data.u64;
	relaxed_set(e->number, (uint32_t)fd + 1);
}

static void
learn(int op, int fd, const struct epoll_event *event, const struct interest_call *call,
      int r)
{
	const struct interest *before = &call->before;
	struct interest *e = slot(fd);

	/* Else nobody knows whether there is an event to be read. */
	bool is_plain = (r == 0 || r == -EEXIST) && plain(op, fd, event);

	if (is_plain && r == -EEXIST) {
		/* That is no knowledge of what it waits for. */
		if (before->number) {
			*e = *before;
			e->streak = 0;
		}
		return;
	}
	if (!is_plain || op == EPOLL_CTL_ADD || !before->number)
		ledger.unknown = true;
	if (!is_plain)
		return;
	tell(e); /* another descriptor's */
	forget(e);
	e->want = e->kernel = event->events;
	e->base = before->streak == ledger.streak ? before->base : before->want;
	e->data = event->data.u64;
	e->streak = in_streak() ? ledger.streak : 0;
	if (in_streak()) {
		self.interests = 1;
		self.wrote = true;
	}
	if (fresh(e))
		ledger.fresh++;
	else if (e->want & ~e->base)
		ledger.unknown = true;
	relaxed_set(e->number, (uint32_t)fd + 1);
}

void
interest_done(int op, int fd, const struct epoll_event *event,
	      const struct interest_call *call, int r)
{
	if (call->nested)
		record(op, fd, event, r);
	if (!call->about)
		return;
	if (live())
		learn(op, fd, event, call, r);
	leave();
}

void
interest_look(int ep)
{
	if (!interest_is(ep))
		return;
	ledger.told = ledger.turns = 0;
	ledger.unknown = false;
}

void
interest_told(int ep, struct epoll_event *events, int max, int nr)
{
	if (!interest_is(ep) || ledger.waits)
		return;
	self.streak = self.nr_owed != 0;
	if (nr <= 0 || nr >= max || nr > MOST_STREAMS)
		return;
	for (int i = 0; i < nr; i++) {
		if (events[i].events != EPOLLIN)
			return;
		ledger.told_data[i] = events[i].data.u64;
	}
	ledger.events = events;
	ledger.max = max;
	ledger.told_ns = sys_now_ns();
	ledger.told = (uint32_t)nr;
}

/* The program waits to read from the stream, and for no more, and can. */
static bool
readable(int fd)
{
	const struct stream *s = stream_known(fd);
	const struct interest *e = slot(fd);

	return s && is_of(e, fd) && e->want == EPOLLIN &&
	       relaxed(s->reader) == self.tid && stream_borrowed(s) && borrow_rest(s) &&
	       !relaxed(s->err) &&
	       !(relaxed(s->options) & (OPTION_RCVLOWAT | OPTION_NOTSENT));
}

/* Of this thread's streams those that are readable are the ones that the kernel told of last, no more and no less. */
static bool
same_again(void)
{
	const struct thread *thread = self.thread;
	int fds[MOST_STREAMS];
	uint32_t nr = 0, seen = 0, i, j;

	for (i = 0; thread && i < thread->nr_held; i++) {
		int fd = relaxed(thread->fd[i]);

		if (!readable(fd))
			continue;
		for (j = 0; j < nr && fds[j] != fd;) /* some are listed twice */
			j++;
		if (j < nr)
			continue;
		for (j = 0; j < ledger.told &&
			    (seen >> j & 1 || ledger.told_data[j] != slot(fd)->data);)
			j++;
		if (j == ledger.told)
			return false;
		seen |= 1U << j;
		fds[nr++] = fd;
	}
	return nr == ledger.told;
}

bool
interest_known(int ep, struct epoll_event *events, int max, int *nr)
{
	if (!interest_is(ep) || !live() || !ledger.told || ledger.busy ||
	    ledger.unknown || ledger.fresh || ledger.turns >= MOST_TURNS ||
	    events != ledger.events || max != ledger.max || !in_streak() ||
	    !self_is_alone() || sys_now_ns() - ledger.told_ns >= MOST_NS ||
	    !same_again())
		return false;
	ledger.turns++;
	for (uint32_t i = 0; i < ledger.told; i++)
		events[i] = (struct epoll_event){ .events = EPOLLIN,
						  .data.u64 = ledger.told_data[i] };
	*nr = (int)ledger.told;
	return true;
}
