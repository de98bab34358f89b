#ifndef WEIR_STREAM_INTEREST_H
#define WEIR_STREAM_INTEREST_H
/* stream/interest: what an epoll instance is to wait for, as the program says and as the kernel knows.
 *
 * Some servers say for each message they send that they wait until they may, and then that they do not:
 * four calls that change nothing. Here they are answered from memory, and so is the wait call that
 * follows, while small reads are served from a borrow.
 *
 *   I1  what the kernel waits for contains what the program wants: only a removal is put off;
 *   I2  before the program sleeps, or looks at the instance in any way, the two are the same;
 *   I3  a call that is answered here returns what the kernel would have said;
 *   I4  a stream that is told readable from memory is: it has bytes left that were peeked.
 *
 * One instance, the first that is made; of a program with one thread; until it may be in other hands: a copy,
 * a message, another instance, a fork or an exec. Its number is known as KIND_EPOLL as long. And only
 * while the thread owes bytes (stream/turn), for then it is looked at before each sleep; what is put off is
 * owed as bytes are (self.interests).
 *
 * What is known of a descriptor is trusted from a change that the kernel has made until the next sleep or wait:
 * whatever changed unseen meanwhile is not covered up for longer. An entry is one word, which one
 * instruction changes, so a handler's own changes make the one fail that it interrupted.
 *
 * Threads: the program's only one. Signals: safe, siglongjmp included; errno is left alone. */
#include "stream/stream.h"
#include <sys/epoll.h>

/* Of a call of epoll_ctl that goes to the kernel. */
struct interest_call {
	uint64_t before; /* what was known of the descriptor; 0 nothing */
	bool plain; /* it is a stream, and no more is asked for than events as long as they last */
};

static inline bool
interest_is(int ep)
{
	return (unsigned)ep < __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&number_kind[ep], __ATOMIC_RELAXED) == KIND_EPOLL;
}

/* epoll_create() has made `ep`, which is known to be no stream. */
void interest_made(int ep);

/* It is closed, or in other hands, from now on; interest_end() whichever it is. */
void interest_left(int ep);
void interest_end(void);

/* epoll_ctl(ep, op, fd, event), where interest_is(ep). True: *r is the answer, 0 or -errno. False: the kernel is
 * to be asked; interest_done() is due, with what it said. */
bool interest_ctl(int op, int fd, const struct epoll_event *event,
		  struct interest_call *call, int *r);
void interest_done(int op, int fd, const struct epoll_event *event,
		   const struct interest_call *call, int r);

/* The kernel is told what was put off: of `fd`, which will be closed; of all, before what may see it; and of
 * all before a wait call, in which handlers put nothing off any more until interest_waited(). */
void interest_close(int fd);
void interest_apply(void);
void interest_wait(void);
void interest_waited(void);

/* The number is another socket's by now: what was known of it is forgotten. */
void interest_drop(int fd);

/* A wait call on `ep` asks the kernel now, interest_wait() being done if it is due; and the kernel has told of the first `nr` of `events`, `max` at most. */
void interest_look(int ep);
void interest_told(int ep, struct epoll_event *events, int max, int nr);

/* A wait call on `ep`. True: *nr events are in `events`: as many streams have bytes left as the kernel told of when it
 * was last asked, which was just now. */
bool interest_known(int ep, struct epoll_event *events, int max, int *nr);
#endif
