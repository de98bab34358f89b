#include "waits/wait.h"
#include "stream/interest.h"
#include "stream/pair.h"
#include "stream/turn.h"

/* What a peer waits for, and what this process itself may wait for. */
static void
release(void)
{
	if (self.awaited)
		turn_release();
	if (process->pairs)
		pair_release();
}

bool
wait_begin_owing(struct wait *w)
{
	release();
	interest_wait();
	return turn_owes() && !w->zero;
}

bool
wait_known(int ep, struct epoll_event *events, int max, int *r)
{
	if (!interest_known(ep, events, max, r))
		return false;
	release();
	if (turn_owes())
		turn_overdue();
	return true;
}

bool
wait_looked(int r)
{
	if (r != 0) {
		interest_waited();
		if (turn_owes())
			turn_overdue();
		return true;
	}
	turn_flush();
	return false;
}

void
wait_end_owing(int r)
{
	if (r == 0) {
		turn_flush();
		turn_slept();
	} else {
		turn_overdue();
	}
}

void
wait_sleep(void)
{
	if (!self.wrote)
		return;
	turn_flush();
	turn_slept();
}

void
wait_cond(void)
{
	if (self.wrote)
		turn_cond();
}

void
wait_blocking(struct wait *w, int fd)
{
	w->zero = false;
	if (self.awaited)
		turn_release();
	if (turn_owes() && stream_may_block(fd))
		turn_flush();
}
