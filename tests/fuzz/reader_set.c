/* Options, questions, duplicates, writes. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../raw_call.h"
#include "reader.h"

#ifndef TCP_INQ
#define TCP_INQ 36
#endif

static int
set_option(const struct reader *r, int level, int name)
{
	return setsockopt(reader_fd(r), level, name, &r->step.n, sizeof r->step.n);
}

static int
set_lowat(struct reader *r)
{
	int value = set_option(r, SOL_SOCKET, SO_RCVLOWAT);

	if (!value)
		r->lowat = r->step.n < 0 ? INT32_MAX : r->step.n;
	return value;
}

static int
set_timeout(struct reader *r)
{
	struct timeval tv = { .tv_usec = r->step.n * 1000L };

	r->rcvtimeo_ns = r->step.n * INT64_C(1000000);
	return setsockopt(reader_fd(r), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

static int
set_peek_off(struct reader *r)
{
	int value = set_option(r, SOL_SOCKET, SO_PEEK_OFF);

	if (!value)
		r->peek_off = 1;
	return value;
}

static int
set_nonblock(struct reader *r)
{
	int fd = reader_fd(r), flags;

	r->nonblock = r->step.n;
	if (r->step.op == DO_NONBLOCK_IOCTL)
		return ioctl(fd, FIONBIO, &r->step.n);
	flags = fcntl(fd, F_GETFL);
	return fcntl(fd, F_SETFL, r->step.n ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static int
ask(struct reader *r, unsigned long request)
{
	return ioctl(reader_fd(r), request, &r->result.more[0]);
}

static int
ask_error(struct reader *r)
{
	socklen_t len = sizeof r->result.more[0];

	return getsockopt(reader_fd(r), SOL_SOCKET, SO_ERROR, &r->result.more[0], &len);
}

static int
shut(struct reader *r)
{
	if (r->step.n != SHUT_WR)
		r->shut = 1;
	return shutdown(reader_fd(r), r->step.n);
}

static long
put(struct reader *r)
{
	unsigned char bytes[4096];
	size_t n = (size_t)r->step.n;
	long value;

	for (size_t i = 0; i < n; i++)
		bytes[i] =
			program_byte(~r->shared->program.seed, r->shared->written + i);
	value = send(reader_fd(r), bytes, n, MSG_NOSIGNAL);
	if (value > 0)
		r->shared->written += (uint64_t)value;
	return value;
}

static int
compute(const struct reader *r)
{
	struct timespec t = { .tv_nsec = r->step.n * 1000L };

	raw_call(SYS_nanosleep, (long)&t, 0, 0, 0, 0);
	return 0;
}

static int
duplicate(struct reader *r)
{
	static const int spare = 100;

	if (r->dup >= 0)
		return 0;
	switch (r->step.n) {
	case 0:
		r->dup = dup(r->fd);
		break;
	case 1:
		r->dup = dup2(r->fd, spare);
		break;
	case 2:
		r->dup = fcntl(r->fd, F_DUPFD_CLOEXEC, spare);
		break;
	default:
		return dup2(r->fd, r->fd);
	}
	return r->dup;
}

static int
close_duplicate(struct reader *r)
{
	int fd = r->dup;

	r->dup = -1;
	return fd < 0 ? 0 : close(fd);
}

static int
close_stream(struct reader *r)
{
	int fd = r->fd;

	close_duplicate(r);
	r->fd = -1;
	return close(fd);
}

static long
set(struct reader *r)
{
	switch (r->step.op) {
	case DO_RCVLOWAT:
		return set_lowat(r);
	case DO_RCVTIMEO:
		return set_timeout(r);
	case DO_PEEK_OFF:
		return set_peek_off(r);
	case DO_OOBINLINE:
		return set_option(r, SOL_SOCKET, SO_OOBINLINE);
	case DO_INQ:
		return set_option(r, IPPROTO_TCP, TCP_INQ);
	case DO_NONBLOCK_FCNTL:
	case DO_NONBLOCK_IOCTL:
		return set_nonblock(r);
	case DO_FIONREAD:
		return ask(r, FIONREAD);
	case DO_ATMARK:
		return ask(r, SIOCATMARK);
	case DO_ERROR:
		return ask_error(r);
	case DO_SHUTDOWN:
		return shut(r);
	case DO_WRITE:
		return put(r);
	case DO_COMPUTE:
		return compute(r);
	case DO_DUP:
		return duplicate(r);
	case DO_CLOSE_DUP:
		return close_duplicate(r);
	default:
		return close_stream(r);
	}
}

void
reader_sets(struct reader *r)
{
	errno = 0;
	reader_returned(r, set(r));
}
