#ifndef WEIR_STREAM_ROOM_H
#define WEIR_STREAM_ROOM_H
/* stream/room: how many bytes the kernel is known to take at once (s->room), so that a flush is
 * never refused, and EAGAIN and EPOLLOUT stay the kernel's own.
 * Threads: any. Signals: safe. */
#include "stream/stream.h"

/* Asks the kernel: SO_MEMINFO, linux/sock_diag.h. Sets s->room, 0 if it cannot tell. */
void room_ask(struct stream *s);

/* What the kernel charges a TCP send beyond its bytes, per buffer it makes; a hold needs that
 * much more than its size to be free. Measured: with it no flush was refused or short. */
enum { ROOM_OVERHEAD = 2304, ROOM_BUFFER = 16384 };

/* `went` bytes were sent since. */
static inline void
room_use(struct stream *s, uint64_t went)
{
	uint64_t charge = went + ROOM_OVERHEAD * (1 + went / ROOM_BUFFER);
	uint32_t room = relaxed(s->room);

	quick_set(s->room, charge < room ? room - (uint32_t)charge : 0);
}

/* A native write of `went` bytes. Of a socket that does not block no account is kept: it is asked
 * again before anything is held. So there is nothing to do for one that never holds. */
static inline void
room_went(struct stream *s, uint64_t went)
{
	if (!quick(s->room))
		return;
	if (stream_never_blocks(s))
		quick_set(s->room, 0);
	else
		room_use(s, went);
}

/* How far the chunk of `tier` may be filled. */
uint32_t room_cap(const struct stream *s, unsigned tier);
#endif
