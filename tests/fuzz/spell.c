/* Steps and results as text, for whoever has to understand a difference. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "program.h"

static const char *const op_names[NR_OPS] = {
	[PEER_SENDS] = "peer sends",
	[PEER_SENDS_URGENT] = "peer sends urgent",
	[PEER_READS] = "peer reads",
	[PEER_HALF_CLOSES] = "peer half-closes",
	[PEER_CLOSES] = "peer closes",
	[PEER_RESETS] = "peer resets",
	[DO_READ] = "read",
	[DO_READV] = "readv",
	[DO_PREADV2] = "preadv2",
	[DO_RECV] = "recv",
	[DO_RECVFROM] = "recvfrom",
	[DO_RECVFROM_NAME] = "recvfrom name",
	[DO_RECVMSG] = "recvmsg",
	[DO_RECVMSG_NAME] = "recvmsg name",
	[DO_RECVMSG_CONTROL] = "recvmsg control",
	[DO_RECVMMSG] = "recvmmsg",
	[DO_SYSCALL_READ] = "syscall read",
	[DO_POLL] = "poll",
	[DO_PPOLL] = "ppoll",
	[DO_SELECT] = "select",
	[DO_PSELECT] = "pselect",
	[DO_EPOLL_WAIT] = "epoll_wait",
	[DO_EPOLL_SET] = "epoll_ctl add",
	[DO_EPOLL_DELETE] = "epoll_ctl delete",
	[DO_RCVLOWAT] = "SO_RCVLOWAT",
	[DO_RCVTIMEO] = "SO_RCVTIMEO ms",
	[DO_PEEK_OFF] = "SO_PEEK_OFF",
	[DO_OOBINLINE] = "SO_OOBINLINE",
	[DO_INQ] = "TCP_INQ",
	[DO_NONBLOCK_FCNTL] = "O_NONBLOCK by fcntl",
	[DO_NONBLOCK_IOCTL] = "O_NONBLOCK by ioctl",
	[DO_FIONREAD] = "FIONREAD",
	[DO_ATMARK] = "SIOCATMARK",
	[DO_ERROR] = "SO_ERROR",
	[DO_SHUTDOWN] = "shutdown",
	[DO_WRITE] = "write",
	[DO_COMPUTE] = "compute us",
	[DO_DUP] = "dup",
	[DO_CLOSE_DUP] = "close of dup",
	[DO_CLOSE] = "close",
	[DO_SEND] = "send",
	[DO_WRITE_PLAIN] = "plain write",
	[DO_WRITEV] = "writev",
	[DO_PWRITEV2] = "pwritev2",
	[DO_SENDTO] = "sendto",
	[DO_SENDMSG] = "sendmsg",
	[DO_SENDMMSG] = "sendmmsg",
	[DO_SENDFILE] = "sendfile",
	[DO_SPLICE] = "splice",
	[DO_DPRINTF] = "dprintf",
	[DO_SYSCALL_WRITE] = "syscall write",
	[DO_NODELAY] = "TCP_NODELAY",
	[DO_CORK] = "TCP_CORK",
	[DO_SNDBUF] = "SO_SNDBUF",
	[DO_LINGER] = "SO_LINGER 0,",
	[DO_THREAD] = "thread",
	[DO_FORK] = "fork",
	[DO_END] = "end of",
	[DO_EXEC] = "exec",
	[DO_SPAWN] = "spawn",
	[DO_PASS] = "pass",
	[DO_DIE] = "die",
};

static const struct {
	int flag;
	const char *name;
} flag_names[] = {
	{ MSG_OOB, " OOB" },
	{ MSG_PEEK, " PEEK" },
	{ MSG_TRUNC, " TRUNC" },
	{ MSG_DONTWAIT, " DONTWAIT" },
	{ MSG_WAITALL, " WAITALL" },
	{ MSG_ERRQUEUE, " ERRQUEUE" },
	{ MSG_MORE, " MORE" },
	{ MSG_NOSIGNAL, " NOSIGNAL" },
	{ MSG_CMSG_CLOEXEC, " CMSG_CLOEXEC" },
};

static void
spell_flags(char *out, size_t cap, const struct step *step)
{
	out[0] = '\0';
	if (step->op >= DO_THREAD) {
		if (step->flags)
			snprintf(out, cap, " how %d", step->flags);
		return;
	}
	if (step->op < DO_RECV || (step->op > DO_RECVMMSG && step->op < DO_SEND)) {
		if (step->flags && step->op > PEER_LAST)
			snprintf(out, cap, " events %#x", (unsigned)step->flags);
		else if (step->flags)
			snprintf(out, cap, " (unseen)");
		return;
	}
	for (size_t i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
		if (step->flags & flag_names[i].flag)
			strncat(out, flag_names[i].name, cap - strlen(out) - 1);
}

void
program_spell(char *out, size_t cap, const struct step *step)
{
	static const char *const hows[NR_HOWS] = { "",
						   "in handler: ",
						   "in handler, jumps: ",
						   "cancelled: ",
						   "interrupted by the next: ",
						   "others go on: " };
	char flags[128], pieces[32] = "", who[32] = "";

	spell_flags(flags, sizeof flags, step);
	if (step->pieces > 1)
		snprintf(pieces, sizeof pieces, " in %d", step->pieces);
	if (step->who || step->stream)
		snprintf(who, sizeof who, "[%d,%d] ", step->who, step->stream);
	if (step->how == INTERRUPTED && step->after >= AT_CALLS)
		snprintf(flags + strlen(flags), sizeof flags - strlen(flags),
			 " %s system call %d", step->after % 2 ? "behind" : "before",
			 1 + (step->after - AT_CALLS) / 2);
	else if (step->how == INTERRUPTED)
		snprintf(flags + strlen(flags), sizeof flags - strlen(flags),
			 " after %d instructions", step->after);
	snprintf(out, cap, "%s%s%s%s %d%s%s", who, hows[step->how],
		 step->via ? "(dup) " : "", op_names[step->op], step->n, pieces, flags);
}

void
program_spell_result(char *out, size_t cap, const struct step *step,
		     const struct result *r)
{
	char value[64];

	if (r->value == SKIPPED)
		snprintf(value, sizeof value, "skipped");
	else if (r->value == FREE)
		snprintf(value, sizeof value, "some");
	else if (r->value == CANCELED)
		snprintf(value, sizeof value, "cancelled");
	else if (r->value < 0)
		snprintf(value, sizeof value, "%s",
			 strerrorname_np(-r->value) ? strerrorname_np(-r->value) : "?");
	else
		snprintf(value, sizeof value, "%d", r->value);
	snprintf(out, cap, "%s%s", value, r->slept ? " after its time" : "");
	if (step->op <= PEER_LAST || step->op > DO_SYSCALL_READ || r->more[0] ||
	    r->more[1] || r->more[2])
		snprintf(out + strlen(out), cap - strlen(out), " (%#x %#x %#x)",
			 (unsigned)r->more[0], (unsigned)r->more[1],
			 (unsigned)r->more[2]);
	if (r->content)
		snprintf(out + strlen(out), cap - strlen(out), " sum %08x", r->content);
}
