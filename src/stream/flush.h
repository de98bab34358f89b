#ifndef WEIR_STREAM_FLUSH_H
#define WEIR_STREAM_FLUSH_H
/* stream/flush: held bytes leave, as one flight, never waiting.
 *
 * An error other than EPIPE that a flush took is kept in s->err and given once: to the next read
 * (after data), write (without SIGPIPE) or SO_ERROR. EPIPE the kernel repeats by itself.
 * A flush that finds the number to be no socket any more (closed unseen) forgets it.
 * Threads: any that passed self_enter(). Signals: safe. */
#include "stream/section.h"

/* What became of a section: the held bytes are gone (DONE), stay (REFUSED: memory pressure, as
 * nothing is held without room), were discarded with an error (FAILED), or a handler settled
 * the section meanwhile (SETTLED: begin again). */
enum outcome { DONE, REFUSED, FAILED, SETTLED };

/* With the section entered: sends what is held and the caller's own pieces behind it, in one
 * call. *own_went: how many of the caller's own bytes went, also where SETTLED. *err: a
 * positive errno where FAILED; it is the caller's to give, and not kept. */
enum outcome flush_with(struct stream *s, enum flush_reason reason,
			const struct iovec *own, int nr_own, int flags,
			size_t *own_went, int *err);

/* With the section entered. A failure is kept. */
enum outcome flush_locked(struct stream *s, enum flush_reason reason);

/* For stream/section: a send of `held` bytes failed with `err`. True: they will never arrive, which
 * is counted, and the error kept; false: the kernel only refused. */
bool flush_lost(struct stream *s, uint32_t held, int err);

/* For stream/section: TCP_NODELAY is as the application set it again. */
void flush_pushed(struct stream *s);

/* Gives the kernel what is held, without waiting. 0: nothing is held any more (also when the peer
 * was gone); -EAGAIN: the kernel refused. */
int stream_flush(struct stream *s, enum flush_reason reason);

/* The same, and what was borrowed is settled: for calls after which nobody could do it any more
 * (close, exec, exit, fork), and for those that could see the difference: where
 * the kernel refuses, SO_SNDBUF is raised; failing that a wait of at most a second, and
 * what is left then is discarded and counted. */
void stream_drain(struct stream *s, enum flush_reason reason);

/* The error a flush took, once: 0 or a positive errno. ENOTSOCK and EBADF are none: the number
 * is forgotten, and the native call finds out by itself. */
int stream_error(struct stream *s);
#endif
