#include "stream/interest.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/table.h"
#include "stream/turn.h"
#include <errno.h>
#include <string.h>

enum { NR_ENTRIES = 1024, WORD_BITS = 64 };
/* A streak of wait calls that were answered from memory: so many of them, and so long, at most. */
enum { STREAK_TURNS = 64, STREAK_NS = 100000 };
enum { STREAK_STREAMS = 16 }; /* that are told of in each, at most */

/* Events as four bits: IN, PRI and OUT as they are, RDHUP above. */
enum { RDHUP_SHIFT = 10 };
enum { PLAIN_EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP };

union entry {
	struct {
		uint64_t known : 1;
		uint64_t want : 4;   /* what the program has said, */
		uint64_t kernel : 4; /* what it was told, */
		uint64_t base : 4;   /* and what was wanted when it was last asked */
		uint64_t fd : 20;
		uint64_t changes : 7; /* so that none of them looks like the one before */
		uint64_t trusted : 24; /* the ledger's epoch when the kernel made the change */
	};
	uint64_t word;
};

/* In ordinary memory: a child's numbers are no instance of its own until it has made one. */
static struct ledger {
	int32_t ep;
	uint32_t generation; /* of the process whose instance it is */
	uint32_t epoch : 24; /* grows where trust ends */
	bool waits;          /* a wait call is under way */
	bool unknown; /* something was changed since the look that is not told by the rest of this */
	uint32_t fresh; /* entries that want what was not wanted at the last look */
	uint32_t turns; /* answered from memory since then */
	uint32_t told; /* events that it told of, all of them EPOLLIN; 0: others, or who knows */
	struct epoll_event *events;         /* where it did, */
	uint64_t told_data[STREAK_STREAMS]; /* and what they brought */
	int64_t look_ns;
	uint32_t nr_put_off, nr_applied; /* changes; the same: none is to be applied */
	uint64_t changed[NR_ENTRIES / WORD_BITS]; /* a bit an entry that may differ */
	union entry entry[NR_ENTRIES];
	uint64_t data[NR_ENTRIES]; /* what the events of the entry are to bring */
} ledger;

static uint32_t
to_bits(uint32_t events)
{
	return (events & (EPOLLIN | EPOLLPRI | EPOLLOUT)) |
	       (events & EPOLLRDHUP) >> RDHUP_SHIFT;
}

static uint32_t
to_events(uint32_t bits)
{
	return (bits & (EPOLLIN | EPOLLPRI | EPOLLOUT)) |
	       (bits << RDHUP_SHIFT & EPOLLRDHUP);
}

static unsigned
slot(int fd)
{
	return (unsigned)fd % NR_ENTRIES;
}

/* What is known of `fd`; else nothing. */
static union entry
entry_of(int fd)
{
	union entry e = { .word = relaxed(ledger.entry[slot(fd)].word) };

	return e.known && e.fd == (unsigned)fd ? e : (union entry){ .word = 0 };
}

static bool
fresh(union entry e)
{
	return e.trusted == ledger.epoch && (e.want & ~e.base);
}

static bool
ours(void)
{
	return self.ready && ledger.generation == process->generation;
}

void
interest_made(int ep)
{
	if (ep < 0 || config->test_direct || !self_ready() || !self_is_alone() ||
	    !number_known(ep) || (ours() && interest_is(ledger.ep)))
		return;
	memset(&ledger, 0, sizeof(ledger));
	ledger.ep = ep;
	ledger.generation = process->generation;
	number_set(ep, KIND_EPOLL);
}

/* Tells the kernel what entry `i` wants. Again where a handler has changed it meanwhile: whose change was the
 * later one, nobody knows. */
static void
apply(unsigned i)
{
	bool again = false;
	union entry e, next;

	do {
		e.word = relaxed(ledger.entry[i].word);
		if (!e.known || (e.want == e.kernel && !again))
			break;
		next = e;
		next.kernel = e.want;
		next.changes++;
		if (sys_epoll_ctl(ledger.ep, EPOLL_CTL_MOD, (int)e.fd,
				  &(struct epoll_event){ .events = to_events(e.want),
							 .data.u64 = ledger.data[i] }) <
		    0)
			next.word = 0; /* closed, unseen */
		again = !hot_commit(&ledger.entry[i].word, e.word, next.word);
	} while (again);
	__atomic_fetch_and(&ledger.changed[i / WORD_BITS],
			   ~(UINT64_C(1) << i % WORD_BITS), __ATOMIC_RELAXED);
	/* A handler has put something off between the two. */
	e.word = relaxed(ledger.entry[i].word);
	if (e.known && e.want != e.kernel)
		__atomic_fetch_or(&ledger.changed[i / WORD_BITS],
				  UINT64_C(1) << i % WORD_BITS, __ATOMIC_RELAXED);
}

/* To be done anew where a handler has left it by siglongjmp: so it says last that it is done. */
void
interest_apply(void)
{
	uint32_t nr;

	if (!self.interests)
		return;
	while (ours() && interest_is(ledger.ep) &&
	       (nr = relaxed(ledger.nr_put_off)) != ledger.nr_applied) {
		for (unsigned i = 0; i < NR_ENTRIES / WORD_BITS; i++)
			for (uint64_t word = relaxed(ledger.changed[i]); word;
			     word &= word - 1)
				apply(i * WORD_BITS + (unsigned)__builtin_ctzll(word));
		ledger.nr_applied = nr;
	}
	relaxed_set(self.interests, 0);
	/* Trust ends; also what a handler has given before the next line. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ledger.epoch++;
	ledger.fresh = 0;
	ledger.unknown = true;
	if (relaxed(ledger.nr_put_off) != ledger.nr_applied)
		self.interests = 1;
}

void
interest_wait(void)
{
	ledger.waits = true;
	interest_apply();
}

void
interest_waited(void)
{
	ledger.waits = false;
}

void
interest_end(void)
{
	if (!ours() || !interest_is(ledger.ep))
		return;
	interest_apply();
	number_set(ledger.ep, KIND_PLAIN);
}

void
interest_left(int ep)
{
	if (interest_is(ep))
		interest_end();
}

void
interest_close(int fd)
{
	if (entry_of(fd).known && ours() && interest_is(ledger.ep)) {
		apply(slot(fd));
		interest_drop(fd);
	}
}

void
interest_drop(int fd)
{
	if (entry_of(fd).known)
		relaxed_set(ledger.entry[slot(fd)].word, 0);
}

/* With all that is said before the commit: where a handler leaves in between, too much is done, not too little. */
static bool
put_off(union entry e, uint32_t want)
{
	unsigned i = slot((int)e.fd);
	union entry next = e;

	next.want = want & 15;
	next.changes++;
	self.interests = 1;
	self.wrote = true;
	__atomic_fetch_or(&ledger.changed[i / WORD_BITS], UINT64_C(1) << i % WORD_BITS,
			  __ATOMIC_RELAXED);
	quick_count(&ledger.nr_put_off);
	ledger.fresh += fresh(next);
	if (!hot_commit(&ledger.entry[i].word, e.word, next.word)) {
		ledger.fresh -= fresh(next);
		return false;
	}
	ledger.fresh -= fresh(e);
	return true;
}

bool
interest_ctl(int op, int fd, const struct epoll_event *event,
	     struct interest_call *call, int *r)
{
	union entry e = { .word = 0 };

	*call = (struct interest_call){ .before = 0 };
	if (!self_is_alone())
		interest_end();
	if (interest_is(fd) || !interest_is(ledger.ep) || !ours())
		return false;
	call->plain = (op == EPOLL_CTL_ADD || op == EPOLL_CTL_MOD) &&
		      stream_known(fd) && (uintptr_t)event >= 4096 &&
		      !(event->events & ~PLAIN_EVENTS);
	e = entry_of(fd);
	if (call->plain && e.known && e.trusted == ledger.epoch && !ledger.waits &&
	    self.nr_owed) {
		uint32_t want = to_bits(event->events);

		*r = op == EPOLL_CTL_ADD ? -EEXIST : 0;
		if (op == EPOLL_CTL_ADD)
			return true;
		if (!(want & ~e.kernel) && event->data.u64 == ledger.data[slot(fd)] &&
		    put_off(e, want))
			return true;
		e = entry_of(fd);
	}
	/* The call may be left by siglongjmp: nothing is known of the entry until it returns. */
	if (e.known) {
		if (e.want != e.kernel)
			apply(slot(fd));
		if (fresh(e))
			ledger.fresh--;
		interest_drop(fd);
	}
	call->before = e.word;
	return false;
}

/* What the entry held when the call began was dropped: whatever it holds now is another number's, or a handler has
 * come in between. Which of the two changes was the later one nobody knows, so both orders are right: but
 * nothing is known of the descriptor then. True: the slot is free. */
static bool
make_way(int fd)
{
	unsigned i = slot(fd);
	union entry e = { .word = relaxed(ledger.entry[i].word) };

	if (!e.known)
		return true;
	apply(i);
	relaxed_set(ledger.entry[i].word, 0);
	return e.fd != (unsigned)fd;
}

void
interest_done(int op, int fd, const struct epoll_event *event,
	      const struct interest_call *call, int r)
{
	union entry before = { .word = call->before }, next = { .word = 0 };
	/* What a handler changes in the middle of a wait call, the kernel may have answered by. */
	bool trusts = self.nr_owed && !ledger.waits;
	unsigned i = slot(fd);

	if (!interest_is(ledger.ep) || !ours())
		return;
	if (op == EPOLL_CTL_ADD && r == -EEXIST && call->plain) {
		/* Not that it is taken for knowledge: the number may be another file's. */
		before.trusted = ledger.epoch - 1;
		if (before.known)
			hot_commit(&ledger.entry[i].word, 0, before.word);
		return;
	}
	if (!call->plain || r < 0 || op == EPOLL_CTL_ADD || !before.known)
		ledger.unknown = true;
	if (!call->plain || r < 0)
		return;
	if (!make_way(fd)) {
		ledger.unknown = true;
		return;
	}
	next.known = 1;
	next.fd = (unsigned)fd & (NR_NUMBERS - 1);
	next.want = to_bits(event->events) & 15;
	next.kernel = to_bits(event->events) & 15;
	next.base = before.trusted == ledger.epoch ? before.base : before.want;
	next.changes = before.changes + 1;
	next.trusted = ledger.epoch - !trusts;
	if (trusts) {
		self.interests = 1;
		self.wrote = true;
	}
	if (fresh(next))
		ledger.fresh++;
	else if (next.want & ~next.base)
		ledger.unknown = true;
	ledger.data[i] = event->data.u64;
	hot_commit(&ledger.entry[i].word, 0, next.word);
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
	if (nr <= 0 || nr >= max || nr > STREAK_STREAMS || !interest_is(ep))
		return;
	for (int i = 0; i < nr; i++) {
		if (events[i].events != EPOLLIN)
			return;
		ledger.told_data[i] = events[i].data.u64;
	}
	ledger.events = events;
	ledger.look_ns = sys_now_ns();
	ledger.told = (uint32_t)nr;
}

/* A stream that the program waits to read from, and no more, and that it can read from. */
static bool
readable(int fd)
{
	const struct stream *s = stream_known(fd);
	union entry e = entry_of(fd);

	return s && e.known && e.want == EPOLLIN && relaxed(s->reader) == self.tid &&
	       stream_borrowed(s) && borrow_rest(s) && !relaxed(s->err) &&
	       !(relaxed(s->options) & (OPTION_RCVLOWAT | OPTION_NOTSENT));
}

/* Collects in `fds` the streams of this thread's list that are readable; some may be listed twice. Returns how
 * many; more than `most`: there are more. */
static uint32_t
collect(int fds[STREAK_STREAMS], uint32_t most)
{
	const struct thread *thread = self.thread;
	uint32_t n = 0, j;

	for (uint32_t i = 0; thread && i < thread->nr_held; i++) {
		int fd = relaxed(thread->fd[i]);

		if (!readable(fd))
			continue;
		for (j = 0; j < n && fds[j] != fd;)
			j++;
		if (j == most)
			return most + 1;
		fds[j] = fd;
		if (j == n)
			n++;
	}
	return n;
}

/* The events that were told last would be told again: each is that of one of these streams. */
static bool
same_again(const int fds[STREAK_STREAMS])
{
	for (uint32_t i = 0, j; i < ledger.told; i++) {
		for (j = 0; j < ledger.told &&
			    ledger.data[slot(fds[j])] != ledger.told_data[i];)
			j++;
		if (j == ledger.told)
			return false;
	}
	return true;
}

bool
interest_known(int ep, struct epoll_event *events, int max, int *nr)
{
	int fds[STREAK_STREAMS];

	if (!interest_is(ep) || !ours() || !ledger.told || ledger.unknown ||
	    ledger.fresh || ledger.turns >= STREAK_TURNS || events != ledger.events ||
	    max <= (int)ledger.told || !self.nr_owed || !self_is_alone() ||
	    sys_now_ns() - ledger.look_ns >= STREAK_NS ||
	    collect(fds, ledger.told) != ledger.told || !same_again(fds))
		return false;
	ledger.turns++;
	for (uint32_t i = 0; i < ledger.told; i++)
		events[i] = (struct epoll_event){ .events = EPOLLIN,
						  .data.u64 = ledger.told_data[i] };
	*nr = (int)ledger.told;
	return true;
}
