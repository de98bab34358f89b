#ifndef WEIR_INTERPOSE_SANDBOX_H
#define WEIR_INTERPOSE_SANDBOX_H
/* interpose/sandbox: what comes before a seccomp filter, and before calls that a process
 * with helper threads could not make; for those that reach the kernel by more than one name.
 * Threads: any. Signals: not from a handler (threads are ended and waited for). */

/* From here on every call makes the system call that the application asked for, no other. */
void sandbox_begin(void);

/* The helper threads end; they come back when they are next needed. */
void sandbox_single_thread(void);

/* After a call of the setuid family, which answered `result`: the same, if the old identity is gone for
 * good. Returns `result`. */
int sandbox_identity(int result);
#endif
