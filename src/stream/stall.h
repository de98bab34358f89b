#ifndef WEIR_STREAM_STALL_H
#define WEIR_STREAM_STALL_H
/* stream/stall: backpressure. Of what is received: at each look of the keeper's, a stream with unread
 * bytes and no read since the look before adds the time between the two.
 *
 * Of what is sent, episode by episode. An episode starts when the kernel refuses or shortens a write, or a blocking write has to
 * wait. It ends when the kernel takes bytes again, when the stream is seen writable or shut down, or
 * when a write says that it is broken. It lasts
 * no longer than tcpi_busy_time (tcp_info, linux/tcp.h) grew meanwhile plus a jiffy: an
 * application that comes back late is not a slow peer.
 *
 * Its cause, on TCP: the time of all episodes of the stream is shared out as the kernel's clocks grew
 * in them: tcpi_rwnd_limited peer, tcpi_sndbuf_limited local; the rest of tcpi_busy_time is local as
 * well where the full buffer was all on its way and the network would have taken more, else network.
 * Less than a jiffy waits for the next episode; what waits at the close is unknown. On AF_UNIX
 * always the peer. Each look does this for the running ones too. What a cause was given it keeps.
 *
 * A stream's figures are at any time with one who has claimed them (s->stalled); nobody waits for
 * that: who comes meanwhile leaves word.
 * Threads: any. Signals: safe. */
#include "stream/stream.h"

void stall_begin(struct stream *s);
void stall_end(struct stream *s);

/* Ends the last episode: the stream is closed. The figures are wiped for the number's next one: by
 * whoever is at them just now, where somebody is. */
void stall_close(struct stream *s);

/* A native write that may have to wait begins: a look that finds it still there begins an episode. */
void stall_may_wait(struct stream *s, int64_t start_ns);

/* It has returned. `waited`: so late that it met backpressure: an episode, unless a look has begun
 * one, which ends here. */
void stall_returned(struct stream *s, int64_t start_ns, int64_t end_ns, bool waited);

/* True while an episode runs on any stream of this process. */
static inline bool
stall_any(void)
{
	return __atomic_load_n(&process->nr_stalled, __ATOMIC_RELAXED) != 0;
}

/* poll or select says `fd` is writable, or nothing more is to be written to it. */
void stall_over(int fd);

/* The keeper's look at all streams of this process: ends the episodes of those that are writable now,
 * finds the causes of the others,
 * and adds `since_ns`, the time since the look before (0: there was none), to those that have
 * waited to be read. Notes in the member's slot how full its fullest listener is. */
void stall_look(int64_t since_ns);

/* The same for running episodes and writes that wait alone, at any time between. */
void stall_look_episodes(void);
#endif
