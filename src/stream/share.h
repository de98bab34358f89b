#ifndef WEIR_STREAM_SHARE_H
#define WEIR_STREAM_SHARE_H
/* stream/share: whether another process has a stream open as well. Then it is watched, and neither
 * held nor borrowed: how processes agree about who writes when is no call of ours.
 *
 * Each stream keeps the number of forks at which it was last known to be this process's alone (its
 * epoch). After a fork all streams ask again: a count in the region tells how many processes have
 * each (count/holder). It is an ordinary fork's two ends that it is for: of a server that forks for
 * each connection the parent closes the stream, and the child has it for itself. What another
 * process may have changed is asked then: it is a stream as if just met.
 *
 * What is passed in a message, duplicated, or open over an exec, and what a fork that was not seen
 * has copied, is shared for good.
 *
 * Which streams a process got from its parent lies in ordinary memory, which a fork copies.
 * Threads: any that passed self_enter(). Signals: safe. */
#include "stream/stream.h"

enum sharing { PRIVATE, SHARED, SHARED_FOR_GOOD };

/* How often this process was copied. */
extern union share_copies {
	struct {
		uint32_t forks; /* A: and one more: the epoch of who has been asked since */
		uint32_t spawns; /* A: of those that inherit what is not close-on-exec */
	};
	uint64_t both;
} share_copies HIDDEN;

/* A number begins: nobody else has it. */
void share_begin(struct stream *s);

/* As far as is known without asking. */
bool stream_private(const struct stream *s);

/* It does not block, and no other process or duplicate could change that unseen, nor is a copy being made just now.
 * Where somebody was spawned that is not known without asking: false, for good. Not heard of is who clears O_NONBLOCK
 * between this and the call of the asking thread, or while another thread sets it; and a copy that no call of ours made, as
 * by a system call in line or by another process's pidfd_getfd(). */
static inline bool
stream_surely_never_blocks(const struct stream *s)
{
	return stream_never_blocks(s) && quick(s->epoch) == quick(share_copies.both) &&
	       !quick(process->gate);
}

/* Asks, if a fork has been since the last time. No lock held: may do system calls. */
enum sharing share_ask(struct stream *s);

/* The stream, whose cookie is set, was open when this process was forked: who made the record that
 * has counted it, and how it was set, is remembered. False: it is new here. */
bool share_inherited(struct stream *s, enum role *role);

/* The record that has counted it is closed by its last holder. */
bool share_counted(const struct stream *s);

/* The number is about to be closed, or has been, unseen; `cookie` 0: whatever it is. True: some other
 * process may have it open, and the record that counted it is closed by the last of them. */
bool share_close(int fd, uint64_t cookie);
void share_close_range(unsigned first, unsigned last);

/* A process that is not of the family, or that nobody counts, has it from now on. Also from a vfork
 * child: stores only. */
void share_pass(int fd);
void share_for_good(struct stream *s); /* of this process's number alone */

void share_cloexec(int fd, bool on);

/* Around a fork, in the parent. `born`: of region_bear(). share_fork() answers what share_forked()
 * wants to know. */
uint32_t share_fork(uint32_t born);
void share_forked(uint32_t born, uint32_t walk);

/* In a child that was forked unseen. */
void share_unseen(void);

/* posix_spawn, system, popen, vfork; and before an exec: all without close-on-exec. */
void share_spawned(void);
void share_exec(void);
#endif
