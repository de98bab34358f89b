/* interpose/init: how the library begins and ends in a process. */
#include "base/config.h"
#include "base/self.h"
#include "interpose/entry.h"

bool entry_bound;

__attribute__((constructor)) static void
begin(void)
{
	self_init();
	config_init();
	real_ready();
	life_init(metrics_child);
	if (config->enabled)
		stream_init();
}

/* After main returned or exit() was called, when the atexit handlers have run. Other libraries'
 * destructors may still write: natively, the gate is closed for good. */
__attribute__((destructor)) static void
finish(void)
{
	entry_end();
}

void
entry_end(void)
{
	if (entry_live()) /* in a sandbox not one system call more */
		metrics_end(life_exit());
}

void
entry_family(void)
{
	/* self_enter() first: a forked child that nobody announced joins as what it is. */
	if (entry_bound || !self_enter() || !life_join())
		return;
	entry_bound = true;
	metrics_bind();
}

void
entry_member_sleeps(void)
{
	/* A stream that came from elsewhere (descriptor 0 of inetd's children) made the region,
	 * but no listen or accept was seen. */
	entry_family();
	if (metrics_undecided)
		metrics_member_sleeps();
}
