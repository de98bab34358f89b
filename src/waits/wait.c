#include "waits/wait.h"
#include "stream/turn.h"

/* A call that took longer slept. */
enum { SLEPT_NS = 5000 };

bool
wait_begin_wrote(struct wait *w, bool zero_timeout)
{
	if (self.awaited)
		turn_release();
	if (turn_owes() && !zero_timeout)
		return true;
	if (!zero_timeout)
		w->start_ns = sys_now_ns();
	return false;
}

bool
wait_looked(struct wait *w, int r)
{
	if (r != 0) {
		if (turn_owes())
			turn_overdue();
		return true;
	}
	turn_flush();
	w->start_ns = sys_now_ns();
	return false;
}

void
wait_end_wrote(struct wait *w, int r)
{
	if (r == 0) {
		turn_flush();
		turn_slept();
	} else if (w->start_ns && sys_now_ns() - w->start_ns > SLEPT_NS) {
		turn_slept();
	} else if (turn_owes()) {
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
	w->start_ns = 0;
	if (!self.wrote)
		return;
	if (self.awaited)
		turn_release();
	if (turn_owes() && stream_may_block(fd))
		turn_flush();
	w->start_ns = sys_now_ns();
}
