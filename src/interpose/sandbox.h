#ifndef WEIR_INTERPOSE_SANDBOX_H
#define WEIR_INTERPOSE_SANDBOX_H
/* interpose/sandbox: what comes before a seccomp filter, and before calls that a process
 * with helper threads could not make; for those that reach the kernel by more than one name.
 * Threads: any. Signals: not from a handler (threads are ended and waited for). */
#include <sys/types.h>

/* From here on every call makes the system call that the application asked for, no other. */
void sandbox_begin(void);

/* The helper threads end; they come back when they are next needed. */
void sandbox_single_thread(void);

/* This thread is about to get a descriptor table of its own. Where it has company the same number means two
 * things from then on, and helpers know one of them: every call is native, for good. */
void sandbox_own_table(void);

/* The real identity, which a message on AF_UNIX tells a receiver that wants credentials. */
struct identity {
	uid_t user;
	gid_t group;
};

/* Before a call of the setuid family: what was written so far leaves under the old identity. After it: the
 * helper threads end if they now have another one than the server shows, or than it can have again.
 * Returns `result`, what the call returned. */
struct identity sandbox_identity_begin(void);
int sandbox_identity_end(struct identity was, int result);
#endif
