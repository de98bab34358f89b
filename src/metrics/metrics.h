#ifndef WEIR_METRICS_METRICS_H
#define WEIR_METRICS_METRICS_H
/* metrics: binds the family's Unix socket, and serves what the region shows from one helper
 * thread; in one more member such a thread stands by. Nothing below includes it; interpose calls
 * it at four moments.
 *
 * The thread ("weir-metrics") has a descriptor table of its own that holds the
 * listening socket alone, owns nothing of the data path, never waits for a client longer
 * than the limits below, and reads the region as untrusted input. The application sees of
 * all this one descriptor, about which metrics_owns() answers.
 *
 * Threads: any, one at a time for each function (callers may race: the first wins). Signals:
 * metrics_owns() only. Errors are counted (count_internal) and cost one log line; the data
 * path goes on. */
#include <stdbool.h>
#include <stdint.h>

/* At the first listen or stream, the region being mapped: chooses the place, binds, listens,
 * moves the descriptor just below min(soft RLIMIT_NOFILE, 1024). Does nothing twice. */
void metrics_bind(void);

/* From the constructor, when libc's own wait calls are known. */
void metrics_init(void);

/* Read before a sleep: true while this process has yet to find out whether it serves or stands
 * by; or somebody said that nobody stands by any more. */
extern bool metrics_undecided __attribute__((visibility("hidden")));
bool metrics_vacant(void);

/* Neither needs to be asked where a 0 stands here: nobody ever asked for metrics, this process is not
 * undecided, and metrics_init() was called. */
extern const uint64_t *metrics_asked __attribute__((visibility("hidden")));

/* Before this process's sleep, the above being so: if nobody serves or nobody stands by, starts
 * the thread that does. */
void metrics_member_sleeps(void);

extern int metrics_listener __attribute__((visibility("hidden"))); /* A */

static inline int
metrics_fd(void) /* -1: none */
{
	return __atomic_load_n(&metrics_listener, __ATOMIC_RELAXED);
}

/* The application's view of our one number: true: answer EBADF as if it were not there. */
static inline bool
metrics_owns(int fd)
{
	return fd >= 0 && fd == metrics_fd();
}

/* The application is about to dup2 onto `fd`: if that is our number, ours moves first. */
void metrics_make_way(int fd);

/* The thread ends (before unshare, setns, capset, seccomp). `for_good`: it does not
 * come back at the next sleep. */
void metrics_stop(bool for_good);

/* This process ends by itself or execs, having left the family; `last`: nobody is left: the
 * socket goes, and STREAM_METRICS_AT_EXIT is written. */
void metrics_end(bool last);

/* In a forked child: the listening socket is inherited, the thread is not. */
void metrics_child(void);
#endif
