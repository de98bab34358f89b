/* interpose/socket: where streams begin, and what changes their options. */
#include "interpose/descriptor.h"
#include "interpose/entry.h"
#include "stream/evidence.h"
#include "stream/flush.h"
#include "stream/options.h"
#include "stream/pair.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

/* Newer than some headers. */
#ifndef TCP_ZEROCOPY_RECEIVE
#define TCP_ZEROCOPY_RECEIVE 35
#endif

int
socket(int domain, int type, int protocol)
{
	int fd;

	real_ready();
	fd = real.socket(domain, type, protocol);
	if (fd >= 0 && entry_live())
		stream_made_socket(fd, domain, type, protocol);
	return fd;
}

int
socketpair(int domain, int type, int protocol, int fds[2])
{
	int r;

	real_ready();
	r = real.socketpair(domain, type, protocol, fds);
	if (r < 0 || !entry_live())
		return r;
	stream_made_pair(fds[0], type);
	stream_made_pair(fds[1], type);
	pair_made(fds[0], fds[1]);
	return r;
}

int
bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	real_ready();
	return real.bind(fd, addr, len);
}

int
listen(int fd, int backlog)
{
	int r;

	real_ready();
	r = real.listen(fd, backlog);
	if (r == 0 && entry_live())
		stream_listening(fd);
	return r;
}

static int
accepted(int listener, int fd, int flags)
{
	if (fd >= 0 && entry_live())
		stream_accepted(fd, listener, flags);
	return fd;
}

int
accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct wait w;
	int r;

	real_ready();
	entry_before_sleep();
	wait_blocking(&w, fd);
	r = real.accept(fd, addr, len);
	wait_end(&w, r);
	return accepted(fd, r, 0);
}

int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct wait w;
	int r;

	real_ready();
	entry_before_sleep();
	wait_blocking(&w, fd);
	r = real.accept4(fd, addr, len, flags);
	wait_end(&w, r);
	return accepted(fd, r, flags);
}

static int
connected(int fd, const struct sockaddr *addr, int r)
{
	/* After EINTR the connect goes on as after EINPROGRESS. */
	bool pending = r < 0 && (errno == EINPROGRESS || errno == EINTR);

	if (r == 0 && addr->sa_family == AF_UNSPEC) {
		entry_made(fd); /* no stream any more */
		return r;
	}
	if ((r == 0 || pending) && entry_live())
		stream_connected(fd);
	return r;
}

int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct wait w;
	int r;

	real_ready();
	life_quiesce(fd, FLUSH_ORDER); /* AF_UNSPEC takes a connection apart */
	entry_before_sleep();
	wait_blocking(&w, fd);
	r = real.connect(fd, addr, len);
	wait_end(&w, r);
	return connected(fd, addr, r);
}

int
pidfd_getfd(int pidfd, int target, unsigned flags)
{
	int copy;

	real_ready();
	interest_end(); /* it may be ours */
	copy = entry_made(real.pidfd_getfd(pidfd, target, flags));
	/* The process may be this one. */
	if (copy >= 0 && entry_stream(target) && sys_cookie(copy) == sys_cookie(target)) {
		life_quiesce(target, FLUSH_SHARE);
		copy_end(target, copy);
	}
	return copy;
}

/* The options that rule what is held are remembered from the call itself. The value of any other may be
 * nowhere: for some of IPv6 the kernel takes NULL for 0. */
static void
remember_option(int fd, int level, int name, const int *value)
{
	if (level == SOL_SOCKET && name == SO_RCVLOWAT)
		stream_option(fd, OPTION_RCVLOWAT, *value > 1);
	if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE))
		stream_room_changed(fd);
	if (level != IPPROTO_TCP)
		return;
	if (name == TCP_NODELAY && !*value)
		evidence_delays(fd);
	if (name == TCP_NODELAY || name == TCP_CORK)
		stream_push_options_set();
	else if (name == TCP_NOTSENT_LOWAT)
		stream_option(fd, OPTION_NOTSENT, *value);
}

static __attribute__((noinline)) int
setsockopt_slow(int fd, int level, int name, const void *value, socklen_t len)
{
	const struct special_option *special = option_special(level, name);
	int r;

	real_ready();
	life_quiesce(fd, FLUSH_ORDER);
	r = real.setsockopt(fd, level, name, value, len);
	if (r < 0 || !entry_live())
		return r;
	if (special && special->reads)
		stream_bypass_reads(fd, special->why);
	else if (special)
		stream_bypass(fd, special->why);
	if (len >= sizeof(int))
		remember_option(fd, level, name, value);
	return r;
}

static inline __attribute__((always_inline)) int
push_option_here(int fd, int name, const void *value, socklen_t len)
{
	long r = enter6(SYS_setsockopt, fd, IPPROTO_TCP, name, (long)value, len, 0);

	stream_push_options_set();
	return (int)entry_result(r);
}

static __attribute__((noinline)) int
nodelay_here(int fd, const int *value, socklen_t len)
{
	int r = push_option_here(fd, TCP_NODELAY, value, len);

	if (r == 0 && !*value)
		evidence_delays(fd);
	return r;
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	/* What servers set for each reply. */
	bool often = level == IPPROTO_TCP && (name == TCP_NODELAY || name == TCP_CORK);

	/* None that sleeps, so it may be made here among threads, too. */
	if (!often || process->nr_owing || !quick(real_direct))
		return setsockopt_slow(fd, level, name, value, len);
	return name == TCP_NODELAY ? nodelay_here(fd, value, len)
				   : push_option_here(fd, TCP_CORK, value, len);
}

int
getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct stream *s;
	int r;

	real_ready();
	life_quiesce(fd, FLUSH_ORDER);
	s = entry_live() ? stream_known(fd) : NULL;
	if (s && level == IPPROTO_TCP && name == TCP_ZEROCOPY_RECEIVE)
		stream_bypass(fd, BYPASS_ZEROCOPY); /* it consumes */
	r = real.getsockopt(fd, level, name, value, len);
	/* The error that a flush took is the application's. */
	if (s && !r && level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int) &&
	    !*(int *)value)
		*(int *)value = stream_error(s);
	return r;
}

int
shutdown(int fd, int how)
{
	int r;

	real_ready();
	if (how != SHUT_RD)
		stream_shut(fd);
	if (how != SHUT_WR)
		pair_deafen(fd);
	life_quiesce(fd, FLUSH_SHUTDOWN);
	r = real.shutdown(fd, how);
	if (r == 0 && how != SHUT_RD && stall_any())
		stall_over(fd);
	return r;
}
