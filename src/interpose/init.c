/* interpose/init: how the library begins and ends in a process. */
#include "base/config.h"
#include "base/libc.h"
#include "base/self.h"
#include "interpose/entry.h"
#include "stream/writer.h"

/* libc's own, for the one call below this floor that may block for long. */
static ssize_t
send_blocking(int fd, const struct msghdr *msg, int flags)
{
	int saved = errno;
	ssize_t r = entry_raw(real.sendmsg(fd, msg, flags));

	errno = saved;
	return r;
}

__attribute__((constructor)) static void
begin(void)
{
	bool safe = self_init();

	libc_init();
	config_init();
	real_ready();
	metrics_init();
	life_init(metrics_bind, metrics_child);
	writer_sendmsg = send_blocking;
	if (config->enabled && safe) {
		real_find_direct();
		stream_init();
	}
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
