#ifndef WEIR_STREAM_LIFE_H
#define WEIR_STREAM_LIFE_H
/* stream/life: what must happen before anything sees, copies or ends a descriptor or the
 * process.
 *
 * Quiesce: the kernel gets all that is held, and gives up what was read ahead and taken. In a threaded program the gate is closed first:
 * while it is, nothing new is held, by any thread.
 * Threads: any. Signals: safe. */
#include "base/self.h"
#include "count/member.h"
#include <stdbool.h>

/* Once, from the constructor. For the floors above, each may be NULL: `family` is called when
 * this process has begun one, `child` in a forked child when it first finds itself one. */
void life_init(void (*family)(void), void (*child)(void));

/* At the first listen or stream: maps the region and joins the family. False: no memory. */
bool life_join(void);

/* A handler of this thread may leave by longjmp: sections that it interrupted are settled, locks
 * that it would leave behind are given back. */
void life_jump(void);

/* One stream, if `fd` is one: settled, and flushed, also where the kernel first refuses. */
void life_quiesce_owing(int fd, enum flush_reason reason);

static inline void
life_quiesce(int fd, enum flush_reason reason)
{
	if (__builtin_expect(__atomic_load_n(&process->nr_owing, __ATOMIC_RELAXED) != 0,
			     0))
		life_quiesce_owing(fd, reason);
}

/* Every stream of every thread. Safe from a signal handler. */
void life_quiesce_all(enum flush_reason reason);

/* Gate closed and all quiesced / open again. Pairs nest. */
void life_shut(enum flush_reason reason);
void life_open(void);

/* fork: before (shut, streams become shared), and in the parent after it. `pid`: fork's result.
 * The child does nothing here: it finds wiped tables, and life notices at its first entry. */
void life_fork_begin(void);
void life_fork_parent(int pid);

/* posix_spawn, system, popen: the same, but streams with close-on-exec stay private. */
void life_spawn_begin(void);
void life_spawn_end(void);

/* vfork, before it: everything is quiesced, streams without close-on-exec are shared, and this
 * thread is marked: its hooks are native until it finds itself the parent again. */
void life_vfork(void);

/* In a vfork child, a number is duplicated or loses close-on-exec: the parent's stream is then
 * open in another process. One atomic store, nothing else. */
void life_vfork_passes(int fd);

/* exec: all quiesced, the family left; life_exec_failed() takes it back. */
void life_exec_begin(void);
void life_exec_failed(void);

/* The process ends by itself: gate closed for good, all quiesced, the family left. True: the
 * family's last process. Idempotent. */
bool life_exit(void);

/* seccomp: quiesce, end the keeper, from now on every call is native. */
void life_seccomp(void);

/* What the library knows of numbers will not stay true: from now on every call is native. */
void life_off(void);

/* unshare, setns, capset: quiesce and end the keeper; it comes back at the next hold. */
void life_single_thread(void);

/* A descriptor is handed to another process (SCM_RIGHTS): quiesced, shared for good. */
void life_pass(int fd);
#endif
