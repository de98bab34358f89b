#ifndef WEIR_STREAM_MEET_H
#define WEIR_STREAM_MEET_H
/* stream/meet: what a number is that nobody told us about (inherited, passed in a message, made by a call that is
 * no symbol): the kernel is asked once. And how a number's record begins, for it and for stream/stream.
 *
 * Threads: any that passed self_enter(). Signals: safe. errno is left alone. */
#include "stream/stream.h"
#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* The record of a socket that `fd` is or turns out to be; NULL: none. */
struct stream *meet_record(int fd);

/* For a new user of the number. What the last one left held is lost with its descriptor, which was
 * closed unseen. */
void stream_reset(struct stream *s, int fd, enum state state);

/* `s` has been reset and its options set. The number becomes a stream, or a socket that listens. */
void stream_begin(struct stream *s, enum role role);
void stream_begin_listening(struct stream *s);
#endif
