/* Options, questions, duplicates, writes. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
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
		r->flow->lowat = r->step.n < 0 ? INT32_MAX : r->step.n;
	return value;
}

static int
set_timeout(struct reader *r)
{
	struct timeval tv = { .tv_usec = r->step.n * 1000L };
	int value = setsockopt(reader_fd(r), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);

	if (!value)
		r->flow->rcvtimeo_ns = r->step.n * INT64_C(1000000);
	return value;
}

static int
set_peek_off(struct reader *r)
{
	int value = set_option(r, SOL_SOCKET, SO_PEEK_OFF);

	if (!value)
		r->flow->peek_off = 1;
	return value;
}

static int
set_nonblock(struct reader *r)
{
	int fd = reader_fd(r), flags, value;

	if (r->step.op == DO_NONBLOCK_IOCTL) {
		value = ioctl(fd, FIONBIO, &r->step.n);
	} else {
		flags = fcntl(fd, F_GETFL);
		flags = r->step.n ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
		value = fcntl(fd, F_SETFL, flags);
	}
	if (!value)
		r->flow->nonblock = r->step.n;
	return value;
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
	int value = shutdown(reader_fd(r), r->step.n);

	if (!value && r->step.n != SHUT_WR)
		r->flow->shut = 1;
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
	int spare = 100 + r->step.stream;
	int fd = r->hands->fd[r->step.stream], *copy = &r->hands->dup[r->step.stream];

	if (*copy >= 0)
		return 0;
	switch (r->step.n) {
	case 0:
		*copy = dup(fd);
		break;
	case 1:
		*copy = dup2(fd, spare);
		break;
	case 2:
		*copy = fcntl(fd, F_DUPFD_CLOEXEC, spare);
		break;
	case 3:
		*copy = dup3(fd, spare, O_CLOEXEC);
		break;
	default:
		return dup2(fd, fd);
	}
	return *copy;
}

static int
close_duplicate(struct reader *r)
{
	int *copy = &r->hands->dup[r->step.stream], fd = *copy;

	*copy = -1;
	return fd < 0 ? 0 : close(fd);
}

static int
put_over(int fd, bool whole)
{
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);
	int value = whole ? dup2(other, fd) : dup3(other, fd, O_CLOEXEC);

	close(other);
	return value < 0 ? value : close(fd);
}

static int
close_by(int fd, int how)
{
	FILE *file;

	switch (how) {
	case CLOSE_RANGE:
		return close_range((unsigned)fd, (unsigned)fd, 0);
	case CLOSE_SYSCALL:
		return (int)syscall(SYS_close, fd);
	case CLOSE_STDIO:
		file = fdopen(fd, "r+");
		return file ? fclose(file) : close(fd);
	case CLOSE_DUP2:
	case CLOSE_DUP3:
		return put_over(fd, how == CLOSE_DUP2);
	default:
		return close(fd);
	}
}

static int
set_linger(const struct reader *r)
{
	struct linger none = { r->step.n, 0 };

	return setsockopt(reader_fd(r), SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* The stream alone, or at the program's end all there is. */
static int
close_stream(struct reader *r)
{
	int *mine = r->hands->fd, value = 0;
	bool all = r->shared->at == r->shared->program.nr_steps - 1;

	for (int i = 0; i < MAX_STREAMS; i++) {
		int fd = mine[i];

		if (fd < 0 || (!all && i != r->step.stream))
			continue;
		mine[i] = -1;
		value |= close_by(fd, r->step.n);
	}
	for (r->step.stream = 0; all && r->step.stream < MAX_STREAMS; r->step.stream++)
		close_duplicate(r);
	return value;
}

static int
set_sndbuf(struct reader *r)
{
	r->flow->small = 1;
	return set_option(r, SOL_SOCKET, SO_SNDBUF);
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
		r->flow->inq = 1;
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
	case DO_NODELAY:
		r->flow->slow |= !r->step.n;
		return set_option(r, IPPROTO_TCP, TCP_NODELAY);
	case DO_CORK:
		r->flow->slow |= r->step.n;
		return set_option(r, IPPROTO_TCP, TCP_CORK);
	case DO_LINGER:
		return set_linger(r);
	case DO_SNDBUF:
		return set_sndbuf(r);
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
