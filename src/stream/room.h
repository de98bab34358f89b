#ifndef WEIR_STREAM_ROOM_H
#define WEIR_STREAM_ROOM_H
/* stream/room: how many bytes the kernel is known to take at once (s->room), so that a flush is
 * never refused, and EAGAIN and EPOLLOUT stay the kernel's own.
 * Threads: any. Signals: safe. */
#include "stream/stream.h"

/* Asks the kernel: SO_MEMINFO, linux/sock_diag.h. Sets s->room, 0 if it cannot tell. */
void room_ask(struct stream *s);

/* `went` bytes were sent since. */
void room_use(struct stream *s, uint64_t went);

/* How far the chunk of `tier` may be filled. */
uint32_t room_cap(const struct stream *s, unsigned tier);
#endif
