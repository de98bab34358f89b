#include "waits/wait.h"
#include "stream/pair.h"
#include "stream/turn.h"

bool
wait_begin_owing(struct wait *w)
{
	if (self.awaited)
		turn_release();
	if (process->pairs)
		pair_release();
	return turn_owes() && !w->zero;
}

bool
wait_looked(int r)
{
	if (r != 0) {
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
