#ifndef WEIR_STREAM_READER_H
#define WEIR_STREAM_READER_H
/* stream/reader: what a read means to the writer of the same stream, and its counts.
 *
 * A read that moved bytes begins a turn; one that may block is a sleep, before which what
 * this thread holds must leave.
 * Threads: any. Signals: safe. */
#include "stream/turn.h"

/* What reader_begin() found out, for reader_end(). */
struct reading {
	bool slept; /* everything left before the call, because it may sleep */
};

/* No more is to do before a native read than to make it: nothing was written since the last sleep,
 * or nothing is held and the call cannot sleep. Else reader_begin() is due. */
static inline bool
reader_owes_nothing(const struct stream *s)
{
	const uint8_t never_blocks = OPTION_BLOCK_KNOWN | OPTION_NONBLOCK;

	return !self.wrote || ((s->options & never_blocks) == never_blocks &&
			       !self.awaited && !turn_owes());
}

/* Before the native call. True: it was made, with MSG_DONTWAIT, and answered: *result (count,
 * 0 or -errno) is what the call returns; reader_end() is still due. `msg` describes the
 * caller's buffers; `flags` the caller's. */
bool reader_begin(struct stream *s, struct msghdr *msg, int flags,
		  struct reading *reading, ssize_t *result);

/* After a native read of `went` bytes, above 0, for which reader_begin() was not needed. */
void reader_moved(struct stream *s, size_t went);

/* After it. Returns what the application gets: `r`, or the kept error where `r` is an end of
 * file (count, 0 or -errno in and out). `len`: what was asked for. `peek`: MSG_PEEK. */
ssize_t reader_end(struct stream *s, const struct reading *reading, size_t len,
		   bool peek, ssize_t r);
#endif
