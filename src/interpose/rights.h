#ifndef WEIR_INTERPOSE_RIGHTS_H
#define WEIR_INTERPOSE_RIGHTS_H
/* interpose/rights: descriptors that a message carries (SCM_RIGHTS, the unix(7) manual).
 * Threads: any. Signals: safe. */
#include <sys/socket.h>
#include <sys/types.h>

/* Before a message is sent: the streams it passes to another process are shared for good. */
void rights_sent(const struct msghdr *msg);
/* The same of what may be no memory, which the kernel has to judge. */
void rights_sent_unseen(const struct msghdr *msg);
void rights_sent_all(const struct mmsghdr *msgs, unsigned nr);

/* After one was received: the numbers are new. `r`: what the call returned, which is returned. */
ssize_t rights_received(struct msghdr *msg, ssize_t r);
#endif
