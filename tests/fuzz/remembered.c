/* Each with what it found. fuzz prints them in this form. */
#include "remembered.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST_STEPS = 40 };

/* Reads up to the urgent mark, and one byte beyond. */
#define READ_TEN \
	{ \
		DO_READ, 0, 0, 10, 0, 0, 0, 0, 0 \
	}
#define PAST_THE_MARK \
	{ PEER_SENDS, 0, 0, 100, 0, 0, 0, 0, 0 }, READ_TEN, \
		{ PEER_SENDS_URGENT, 0, 0, 1, 0, 0, 0, 0, 0 }, \
		{ PEER_SENDS, 0, 0, 23, 0, 0, 0, 0, 0 }, READ_TEN, READ_TEN, READ_TEN, \
		READ_TEN, READ_TEN, READ_TEN, READ_TEN, READ_TEN, READ_TEN, \
	{ \
		DO_READ, 0, 0, 1, 0, 0, 0, 0, 0 \
	}

static const struct {
	int transport, reader_connects, nr_streams, floods, seen_turns;
	struct step steps[MOST_STEPS];
} programs[] = {
	/* A peek that found nothing was taken for the answer, and left the urgent byte in the
	 * queue that a read takes off: the close became a reset. On TCP, on AF_UNIX, and where
	 * the peek found the end of input. */
	{ TCP,
	  1,
	  1,
	  0,
	  0,
	  { { PEER_SENDS, 0, 0, 36, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 36, 0, 0, 0, 0, 0 },
	    { PEER_SENDS_URGENT, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	{ UNIX,
	  0,
	  1,
	  0,
	  0,
	  { { DO_NONBLOCK_FCNTL, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { PEER_SENDS, 0, 0, 53, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 52, 0, 0, 0, 0, 0 },
	    { DO_READ, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { PEER_SENDS_URGENT, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_READ, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { { PEER_SENDS, 0, 0, 36, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 36, 0, 0, 0, 0, 0 },
	    { PEER_SENDS_URGENT, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { PEER_HALF_CLOSES, 0, 0, 0, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	/* The keeper settled what was borrowed before what was held was due, and took that from its
	 * owner, who forgot it at a wait call that found events: it never left. A matter of
	 * some 100 us, between 450 and 550 after the borrow. */
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { { PEER_SENDS, 0, 0, 100, 0, 0, 0, 0, 0 },
	    { DO_READ, 0, 0, 4, 0, 0, 0, 0, 0 },
	    { DO_READ, 0, 0, 4, 0, 0, 0, 0, 0 },
	    { DO_COMPUTE, 0, 0, 240, 0, 0, 0, 0, 0 },
	    { DO_WRITE, 0, 0, 33, 0, 0, 0, 0, 0 },
	    { DO_COMPUTE, 0, 0, 100, 0, 0, 0, 0, 0 },
	    { DO_POLL, 0, 0, 0, 4, 0, 0, 0, 0 },
	    { PEER_READS, 0, 0, 0, FLAG_UNSEEN, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	/* What TCP_INQ adds has no room in a recvmsg without a buffer for it, and msg_flags say
	 * so; a read from memory did not. */
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { { PEER_SENDS, 0, 0, 122, 0, 0, 0, 0, 0 },
	    { DO_RECVMSG, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_INQ, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_RECVMSG, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	/* A thread was cancelled, and its next read or write was answered from memory, as its
	 * stream was hot by then. */
	{ UNIX,
	  0,
	  1,
	  0,
	  0,
	  { { DO_THREAD, 0, 0, 2, 0, 0, 0, 0, 0 },
	    { PEER_SENDS, 0, 0, 54, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 1, 0, 0, 0, 0, 0 },
	    { DO_RECV, 0, 0, 1, 0, 0, 2, 0, 0 },
	    { DO_RECV, 0, 0, 1, 0, 0, 2, CANCELLED, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	{ UNIX,
	  0,
	  1,
	  0,
	  0,
	  { { DO_THREAD, 0, 0, 2, 0, 0, 0, 0, 0 },
	    { DO_SENDTO, 0, 0, 1, MSG_NOSIGNAL, 0, 0, 0, 0 },
	    { DO_SENDTO, 0, 0, 1, 0, 0, 2, 0, 0 },
	    { DO_SENDTO, 0, 0, 1, 0, 0, 2, CANCELLED, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	/* The kernel still told of urgent data that a read went past, which was not settled. */
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { PAST_THE_MARK,
	    { DO_EPOLL_SET, 0, 0, 0, EPOLLPRI, 0, 0, 0, 0 },
	    { DO_EPOLL_WAIT, 0, 0, 0, 0, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { PAST_THE_MARK,
	    { DO_POLL, 0, 0, 0, POLLPRI, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
	{ TCP,
	  0,
	  1,
	  0,
	  0,
	  { PAST_THE_MARK,
	    { DO_SELECT, 0, 0, 0, POLLPRI, 0, 0, 0, 0 },
	    { DO_CLOSE, 0, 0, 0, 0, 0, 0, 0, 0 } } },
};

bool
remembered(struct program *p, int i)
{
	if (i >= (int)(sizeof programs / sizeof *programs))
		return false;
	memset(p, 0, sizeof *p);
	p->transport = programs[i].transport;
	p->nr_streams = programs[i].nr_streams;
	p->floods = programs[i].floods;
	p->writes = p->floods;
	p->seen_turns = programs[i].seen_turns;
	p->reader_connects = programs[i].reader_connects;
	memcpy(p->steps, programs[i].steps, sizeof programs[i].steps);
	while (p->nr_steps < MOST_STEPS &&
	       (p->steps[p->nr_steps].op || p->steps[p->nr_steps].n))
		p->nr_steps++;
	return true;
}
