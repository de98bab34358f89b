#ifndef WEIR_INTERPOSE_SPAWN_H
#define WEIR_INTERPOSE_SPAWN_H
/* interpose/spawn: the two halves around any native call that forks, for those that reach the
 * kernel by more than one name.
 * Threads: any. Signals: safe. */
#include <stdbool.h>
#include <sys/types.h>

/* Before a clone with these CLONE_ flags. True: it is a fork, spawn_forked() is due. */
bool spawn_clone_begin(unsigned long flags);

/* After a fork that life_fork_begin() announced, in parent and child. Returns `pid`. */
pid_t spawn_forked(pid_t pid);
#endif
