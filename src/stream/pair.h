#ifndef WEIR_STREAM_PAIR_H
#define WEIR_STREAM_PAIR_H
/* stream/pair: connections of which this process has both ends: by socketpair(), or because it has accepted
 * what it connected.
 *
 * Natively what is written to one end is there at once for whoever looks at the other. A peer that is another
 * process cannot tell how long a byte took; code that has both ends can. So before a call that looks at
 * one end, what is held for it or was read ahead of it at the other end leaves.
 * An end knows the other's number (stream_cold.other), which counts where that one says the same:
 * numbers are closed and used again.
 * Threads: any. Signals: safe. */
#include "stream/section.h"
#include "stream/turn.h"

/* socketpair(): both are open streams. */
void pair_made(int fd, int other);

/* The stream was connected; it was accepted: is the other end one of those that were connected last? A
 * guess by their addresses: a wrong one costs a flush now and then. */
void pair_connected(int fd);
void pair_accepted(const struct stream *s);

/* In a forked child: `other` is what stream_cold.other was in its parent. */
void pair_inherited(const struct stream *s, int32_t other);

/* The other end of `s`; NULL: none that this process knows of. */
struct stream *pair_other(const struct stream *s);

/* A write of this kind the kernel keeps from the other end, as long as more is to come: TCP, MSG_MORE. Who
 * has that end, too, can tell, so the kernel has to have it. */
bool pair_withheld(const struct stream *s);

static inline bool
pair_withholds(const struct stream *s, int flags)
{
	return flags & MSG_MORE && __builtin_expect(process->pairs, 0) &&
	       pair_withheld(s);
}

/* A call that is no read is about to look at `s`. */
void pair_quiesce(const struct stream *s, enum flush_reason reason);

/* This thread is about to read `s`. What another thread holds for it is only late. */
void pair_turn_other(const struct stream *s);

static inline void
pair_turn(const struct stream *s)
{
	if (turn_owes() && __builtin_expect(process->pairs, 0))
		pair_turn_other(s);
}

/* A wait call is about to look at any: what this thread holds or has read ahead of one. */
void pair_release(void);

/* From here on nobody reads `fd`, which is closed or shut: a write to the other end is refused. */
void pair_deafen(int fd);
#endif
