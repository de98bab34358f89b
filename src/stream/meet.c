#include "stream/meet.h"
#include "stream/options.h"
#include "stream/share.h"
#include "stream/table.h"
#include <errno.h>

/* False: not told. What is no socket, or none with such an option, has the value -1. */
static bool
ask(int fd, int name, int *value)
{
	socklen_t len = sizeof(*value);
	int ret = sys_getsockopt(fd, SOL_SOCKET, name, value, &len);

	if (ret < 0)
		*value = -1;
	return ret >= 0 || ret == -ENOTSOCK || ret == -ENOPROTOOPT;
}

enum protocol { UNIX, TCP, NO_STREAM, NOT_TOLD };

/* What a socket is that nobody told us about. */
static enum protocol
ask_protocol(int fd)
{
	int type, domain, protocol;

	if (!ask(fd, SO_TYPE, &type))
		return NOT_TOLD;
	if (type != SOCK_STREAM)
		return NO_STREAM;
	if (!ask(fd, SO_DOMAIN, &domain) || !ask(fd, SO_PROTOCOL, &protocol))
		return NOT_TOLD;
	if (domain == AF_UNIX)
		return UNIX;
	if ((domain == AF_INET || domain == AF_INET6) &&
	    (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		return TCP;
	return NO_STREAM;
}

/* An inherited stream's other end, as this one's bytes matter to whatever looks at that one, or closes it. */
static void
meet_other(const struct stream *s)
{
	int32_t number = relaxed(stream_cold(s)->other);

	if (number && number_known(number - 1) &&
	    relaxed(number_kind[number - 1]) == KIND_UNKNOWN)
		stream_meet(number - 1);
}

/* A number nobody told us about. From our parent: its other holders are known. Over an exec, in a
 * message, or from a call that is no symbol: another process may have it open, so it is watched, and
 * left alone. */
static struct stream *
adopt(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	enum protocol protocol = ask_protocol(fd);
	bool listens, connected;
	struct stream *s;
	uint8_t options;

	if (protocol == NOT_TOLD)
		return NULL; /* closed, or asked again at the next call */
	if (protocol == NO_STREAM)
		share_close(fd, 0);
	s = protocol == NO_STREAM ? NULL : table_record(fd);
	if (!s) {
		/* A stream without a record is used all the same. */
		share_pass(fd);
		number_set(fd, KIND_PLAIN);
		return NULL;
	}
	options = option_ask_all(fd, protocol == TCP, 0);
	listens = option_ask(fd, SOL_SOCKET, SO_ACCEPTCONN);
	connected = sys_getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
	/* A handler that came meanwhile, or another thread, has met it already. To begin anew would be to say that
	 * this process has closed it: its other holder would take it for its own. */
	if (relaxed(number_kind[fd]) != KIND_UNKNOWN)
		return relaxed(number_kind[fd]) == KIND_STREAM ? s : NULL;
	stream_reset(s, fd, STATE_BARE);
	share_for_good(s); /* unless it is found to be inherited */
	relaxed_set(s->options, options);
	if (listens)
		stream_begin_listening(s);
	else if (connected) {
		stream_begin(s, ROLE_ACCEPTED);
		if (share_ask(s) == SHARED_FOR_GOOD)
			stream_bypass(fd, BYPASS_SHARED);
		meet_other(s);
		return s;
	}
	number_set(fd, KIND_SOCKET);
	return s;
}

/* A data call on a socket that was not connected: it may be by now (fast open). */
static struct stream *
meet_socket(int fd)
{
	struct stream *s = table_record(fd);
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (!s || relaxed(s->state) != STATE_BARE ||
	    sys_getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return NULL;
	stream_connected(fd);
	return stream_known(fd);
}

struct stream *
stream_meet(int fd)
{
	if (!self_enter() || !number_known(fd))
		return NULL;
	switch (relaxed(number_kind[fd])) {
	case KIND_UNKNOWN: {
		struct stream *s = adopt(fd);

		return s && relaxed(s->state) == STATE_OPEN ? s : NULL;
	}
	case KIND_SOCKET:
		return meet_socket(fd);
	case KIND_STREAM:
		return table_record(fd);
	}
	return NULL;
}

struct stream *
meet_record(int fd)
{
	if (!number_known(fd) || !self_enter())
		return NULL;
	if (relaxed(number_kind[fd]) == KIND_UNKNOWN)
		adopt(fd);
	if (relaxed(number_kind[fd]) != KIND_SOCKET &&
	    relaxed(number_kind[fd]) != KIND_STREAM)
		return NULL;
	return table_record(fd);
}
