#ifndef WEIR_STREAM_INTEREST_H
#define WEIR_STREAM_INTEREST_H
/* stream/interest: what an epoll instance is to wait for, as the program says and as the kernel knows.
 *
 * Some servers say for each message they send that they wait until they may, and then that they do not:
 * four calls that change nothing. Here they are answered from memory, and so is the wait call that
 * follows, while small reads are served from a borrow.
 *
 *   I1  what the kernel waits for contains what the program wants: only a removal is put off;
 *   I2  before the program sleeps, waits, or hands the instance or the descriptor on, the two are the same;
 *   I3  a call that is answered here returns what the kernel would have said;
 *   I4  a stream that is told readable from memory is: it has bytes left that were peeked.
 *
 * One instance, the first that is made; of a program with one thread; until it may be in other hands: a copy,
 * a message, another instance, a fork, an exec, asynchronous I/O. Its number is known as KIND_EPOLL as long.
 *
 * A streak begins where epoll_wait has asked the kernel while the thread owed bytes (stream/turn), and ends at its next
 * sleep or wait, or where it owes nothing any more (self.streak). Only in a streak anything is put off, or
 * taken for known: the kernel's own answers of this streak. So whatever changes unseen is not covered up for longer.
 * What was put off is owed as bytes are (self.interests).
 *
 * Of a wait call: interest_wait(), and for epoll_wait interest_look(); the kernel is asked; interest_waited(), and
 * for epoll_wait interest_told().
 *
 * Threads: the program's only one. Signals: safe, siglongjmp included: a handler that comes in the middle of one of these
 * functions and calls another, or in the middle of a wait call and makes one, ends it all for good, as does whoever
 * comes after one that was left. errno is left alone. */
#include "stream/stream.h"
#include <sys/epoll.h>

/* There may be one; false: all is the kernel's, and none of this is touched. */
extern bool interest_any HIDDEN; /* A */

static inline bool
interest_is(int ep)
{
	return (unsigned)ep < __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&number_kind[ep], __ATOMIC_RELAXED) == KIND_EPOLL;
}

/* epoll_create() has made `ep`, which is known to be no stream. */
void interest_made(int ep);

/* The kernel is told all, and the instance is left to it from now on; the second if `ep` is the one. */
void interest_end(void);
void interest_end_of(int ep);

/* What is known of a descriptor. */
struct interest {
	uint32_t number; /* 1 + the descriptor; 0: nothing is known */
	uint32_t want;   /* events: as the program has said, */
	uint32_t kernel; /* as the kernel was told, */
	uint32_t base;   /* and as was wanted when epoll_wait last asked it */
	uint32_t streak; /* in which the kernel made the last change */
	uint32_t changes;
	uint64_t data; /* what its events bring */
};

/* Of a call of epoll_ctl that goes to the kernel. */
struct interest_call {
	struct interest before; /* what was known */
	bool about;             /* it is about the instance; */
	bool nested;            /* in a handler: then it only says what it has done */
};

/* epoll_ctl(ep, op, fd, event); event: NULL where nothing can be read. True: *r is the answer, 0 or -errno. False: the
 * kernel is to be asked; interest_done() is due, with what it said. */
bool interest_ctl(int ep, int op, int fd, const struct epoll_event *event,
		  struct interest_call *call, int *r);
void interest_done(int op, int fd, const struct epoll_event *event,
		   const struct interest_call *call, int r);

/* The kernel is told what was put off: of `fd`, which will be closed; of all, before a sleep; and of all before a wait
 * call, which interest_waited() ends. */
void interest_close(int fd);
void interest_apply(void);
void interest_wait(void);
void interest_waited(void);

/* The number is another socket's by now: what was known of it is forgotten. */
void interest_forget(int fd);

/* epoll_wait(ep, events, max, ...) is about to ask the kernel; and it has, with that result. */
void interest_look(int ep);
void interest_told(int ep, struct epoll_event *events, int max, int nr);

/* The program has made something ready that is no stream, maybe: for the rest of this streak the kernel is asked. */
static inline void
interest_unsure(void)
{
	self.streak = false;
}

/* True: epoll_wait(ep, events, max, ...) returns *nr, and `events` are there: the same that the kernel told of last in
 * this streak, for each of these streams has bytes left, and nothing else was asked for since. */
bool interest_known(int ep, struct epoll_event *events, int max, int *nr);
#endif
