#include "interpose/rights.h"
#include "interpose/entry.h"

#include <string.h>

/* What is no memory is the kernel's to judge. */
static void
each(const struct msghdr *msg, void (*see)(int fd))
{
	const char *end;
	struct cmsghdr *c;
	int fd;

	if (!msg->msg_controllen || entry_nowhere(msg->msg_control) || !entry_live())
		return;
	end = (const char *)msg->msg_control + msg->msg_controllen;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (c->cmsg_len > (size_t)(end - (const char *)c))
			return; /* EINVAL */
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			see(fd);
		}
	}
}

void
rights_sent(const struct msghdr *msg)
{
	each(msg, life_pass);
}

void
rights_sent_unseen(const struct msghdr *msg)
{
	if (entry_live() && sys_readable(msg, sizeof(*msg)) == sizeof(*msg) &&
	    sys_readable(msg->msg_control, msg->msg_controllen) == msg->msg_controllen)
		rights_sent(msg);
}

/* The kernel takes no more messages at once than a vector has pieces. */
void
rights_sent_all(const struct mmsghdr *msgs, unsigned nr)
{
	size_t some = nr < IOV_MAX ? nr : IOV_MAX;

	if (!entry_live())
		return;
	some = sys_readable(msgs, some * sizeof(*msgs)) / sizeof(*msgs);
	for (size_t i = 0; i < some; i++)
		if (msgs[i].msg_hdr.msg_controllen)
			rights_sent_unseen(&msgs[i].msg_hdr);
}

ssize_t
rights_received(struct msghdr *msg, ssize_t r)
{
	if (r >= 0)
		each(msg, stream_forget);
	return r;
}
