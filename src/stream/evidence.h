#ifndef WEIR_STREAM_EVIDENCE_H
#define WEIR_STREAM_EVIDENCE_H
/* stream/evidence: what says that more writes follow, so that a small one may be held.
 *
 * A turn of a stream begins with the last read that moved bytes on it, or with its writer's
 * last sleep, whichever is later. Evidence is: bytes are held already; the stream was written to in
 * this turn; its last turns wrote more than once (a two-bit counter); a piece left since
 * bytes were last read; more input of it is borrowed and unread; the caller says MSG_MORE. All of it is guesses: a wrong one costs
 * time, never a byte, and races between threads are harmless.
 *
 * One case saves the server nothing: two writes a reply by a worker that is handed its work through a condition variable,
 * with TCP_NODELAY, so that neither waits for the peer. Of slapd's twenty-two calls a search one would be saved, 2,600
 * instructions would come on top, and its CPU a reply would stay native's; what a lone client that waits would gain, 1.12x
 * for it wakes once, is given up, so that such a server notices nothing. So once a reply of two writes was released at a
 * condition variable there, one write before it in its turn is no evidence, until a third one comes, or one without a read
 * between by another thread or after a sleep, as where an interpreter hands its lock on (s->second).
 * Threads: any that passed self_enter(). Signals: safe. */
#include "stream/section.h"
#include "stream/turn.h"

/* A turn of the stream is over: did it write more than once? */
static inline void
evidence_learn(struct stream *s)
{
	uint8_t writes = relaxed(s->nr_writes), chatty = relaxed(s->chatty);
	bool more = writes > 1 && quick(s->second) != SECOND_GOES;

	if (more && chatty < 3)
		quick_set(s->chatty, chatty + 1);
	else if (!more && writes && chatty > 0)
		quick_set(s->chatty, chatty - 1);
	quick_set(s->nr_writes, 0);
}

/* More came than the two writes of a worker: as if its turns had been counted all the while. */
static inline void
evidence_held(struct stream *s)
{
	quick_set(s->second, SECOND_HELD);
	quick_set(s->chatty, 3);
}

/* This thread is about to write: a new turn begins if it, as the stream's writer, slept. */
static inline void
evidence_turn(struct stream *s)
{
	if (quick(s->writing) != self.turning) {
		/* It slept in the middle of a reply, or another thread goes on with it: no such worker. */
		if (quick(s->left) && quick(s->second) == SECOND_GOES)
			evidence_held(s);
		if (quick(s->nr_writes))
			evidence_learn(s);
		quick_set(s->writing, self.turning);
	}
	if (self.cond_fd == s->fd + 1) {
		self.cond_fd = 0;
		/* Read meanwhile, by whatever thread: that sleep was the end of a reply. */
		if (quick(s->reads) != self.cond_reads) {
			self.cond_streak = 0;
			if (self.cond_kept && !stream_held(s))
				turn_kept_in_vain();
		} else if (self.cond_streak < TURN_PREDICTED)
			self.cond_streak++;
	}
}

static inline bool
evidence_of_more(const struct stream *s, int flags)
{
	bool written = quick(s->nr_writes) || quick(s->left) || quick(s->chatty) >= 2;

	if (quick(s->second) == SECOND_GOES)
		written = quick(s->nr_writes) > 1;
	return stream_held(s) || written || stream_borrowed(s) || flags & MSG_MORE;
}

static inline void
evidence_wrote(struct stream *s)
{
	if (quick(s->nr_writes) > 1 && quick(s->second) == SECOND_GOES)
		evidence_held(s);
	quick_set(s->nr_writes, quick(s->nr_writes) ? 2 : 1);
	self.wrote = true;
}

/* The first of a turn, made natively. Noted before the call: when it returns another thread may have
 * read the peer's answer. */
static inline void
evidence_alone(struct stream *s)
{
	quick_set(s->nr_writes, 1);
	quick_set(s->left, 1);
	self.wrote = true;
}

/* True: this is the second of a turn, made natively, and there it goes. */
static inline bool
evidence_second(struct stream *s)
{
	static const struct stream first = { .left = 1, .nr_writes = 1 };

	if (quick(s->second) != SECOND_GOES || quick(s->lively) != first.lively ||
	    quick(s->writing) != self.turning)
		return false;
	quick_set(s->nr_writes, 2);
	self.wrote = true;
	return true;
}

/* A reply is about to be released at a condition variable. True: from now on none like it is held. Asks once a
 * stream, and again after a fork. */
bool evidence_released(struct stream *s);

/* TCP_NODELAY was cleared: a second write would wait. */
void evidence_delays(int fd);

/* Bytes were read. Where the turn that this ends had one write at most, as those before it, there is
 * nothing to learn. */
static inline void
evidence_read(struct stream *s)
{
	const struct stream lesson = { .nr_writes = 0xfe, .chatty = 0xff };

	/* Not quick_set(): the byte beside it is set as well, and both at once would come from memory. */
	relaxed_set(s->awaited, 1);
	quick_count(&s->reads);
	if (__builtin_expect((quick(s->lively) & lesson.lively) != 0, 0))
		evidence_learn(s);
	quick_set(s->nr_writes, 0);
	quick_set(s->left, 0);
}
#endif
