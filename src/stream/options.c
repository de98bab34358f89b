#include "stream/options.h"
#include "stream/share.h"
#include "stream/table.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* As in asm-generic/socket.h; not every libc has them. */
#ifndef SO_TIMESTAMP_NEW
#define SO_TIMESTAMP_NEW 63
#define SO_TIMESTAMPNS_NEW 64
#define SO_TIMESTAMPING_NEW 65
#endif

static const struct special_option specials[] = {
	{ SOL_SOCKET, SO_ZEROCOPY, 0, BYPASS_ZEROCOPY, false },
	{ IPPROTO_TCP, TCP_ULP, 0, BYPASS_OTHER, false },
	{ IPPROTO_TCP, TCP_REPAIR, 0, BYPASS_OTHER, false },
	/* Of each write by itself as well. */
	{ SOL_SOCKET, SO_TIMESTAMPING, 0, BYPASS_OTHER, false },
	{ SOL_SOCKET, SO_TIMESTAMPING_NEW, 0, BYPASS_OTHER, false },
	{ SOL_SOCKET, SO_PEEK_OFF, -1, BYPASS_OTHER, true },
	{ SOL_SOCKET, SO_OOBINLINE, 0, BYPASS_URGENT, true },
	/* These add control data to what is received. */
	{ SOL_SOCKET, SO_TIMESTAMP, 0, BYPASS_OTHER, true },
	{ SOL_SOCKET, SO_TIMESTAMPNS, 0, BYPASS_OTHER, true },
	{ SOL_SOCKET, SO_TIMESTAMP_NEW, 0, BYPASS_OTHER, true },
	{ SOL_SOCKET, SO_TIMESTAMPNS_NEW, 0, BYPASS_OTHER, true },
	{ IPPROTO_TCP, TCP_INQ, 0, BYPASS_OTHER, true },
};

enum { NR_SPECIALS = sizeof(specials) / sizeof(*specials) };

const struct special_option *
option_special(int level, int name)
{
	for (int i = 0; i < NR_SPECIALS; i++)
		if (specials[i].level == level && specials[i].name == name)
			return &specials[i];
	return NULL;
}

int
option_ask(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return sys_getsockopt(fd, level, name, &value, &len) < 0 ? 0 : value;
}

static void
set_option(struct stream *s, enum option option, bool on)
{
	if (on)
		__atomic_fetch_or(&s->options, (uint8_t)option, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&s->options, (uint8_t)~option, __ATOMIC_RELAXED);
}

/* Whether the option has another value than the usual one. What may be set and cannot be asked is taken to be: then
 * the stream is left alone. */
static bool
unusual(int fd, int level, int name, int usual)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int ret = sys_getsockopt(fd, level, name, &value, &len);

	if (ret < 0)
		return ret != -ENOPROTOOPT && ret != -EOPNOTSUPP;
	return value != usual;
}

void
stream_ask_push(struct stream *s)
{
	uint32_t sets = __atomic_load_n(&process->nr_option_sets, __ATOMIC_RELAXED);

	if (stream_cold(s)->option_sets == sets)
		return;
	stream_cold(s)->option_sets = sets;
	set_option(s, OPTION_NODELAY, unusual(s->fd, IPPROTO_TCP, TCP_NODELAY, 0));
	set_option(s, OPTION_CORK, unusual(s->fd, IPPROTO_TCP, TCP_CORK, 0));
}

/* The sysctl tcp_notsent_lowat, by which sockets go whose own TCP_NOTSENT_LOWAT is 0 (tcp(7)), is not UINT_MAX, its
 * default. Asked once: nobody is told when it changes. */
static bool
host_has_notsent(void)
{
	enum { UNKNOWN, NO, YES };
	static uint8_t known; /* A */
	uint8_t answer = relaxed(known);
	char text[16];
	ssize_t nr;
	int fd;

	if (answer != UNKNOWN)
		return answer == YES;
	answer = NO;
	fd = sys_open("/proc/sys/net/ipv4/tcp_notsent_lowat", O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		nr = sys_read(fd, text, sizeof(text));
		if (nr > 0 && !(nr >= 10 && memcmp(text, "4294967295", 10) == 0))
			answer = YES;
		sys_close(fd);
	}
	relaxed_set(known, answer);
	return answer == YES;
}

uint8_t
option_ask_all(int fd, bool tcp, uint8_t keep)
{
	uint8_t options = keep & (OPTION_NONBLOCK | OPTION_BLOCK_KNOWN | OPTION_CLOEXEC);

	if (unusual(fd, SOL_SOCKET, SO_RCVLOWAT, 1))
		options |= OPTION_RCVLOWAT;
	if (!tcp)
		return options;
	options |= OPTION_TCP;
	if (unusual(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0) || host_has_notsent())
		options |= OPTION_NOTSENT;
	return options;
}

/* What this kernel or kind of socket does not know is not set. */
bool
option_any_special(int fd)
{
	for (const struct special_option *o = specials; o < &specials[NR_SPECIALS];
	     o++) {
		int value = o->unset;
		socklen_t len = sizeof(value);

		if (sys_getsockopt(fd, o->level, o->name, &value, &len) >= 0 &&
		    value != o->unset)
			return true;
	}
	return false;
}

void
stream_option(int fd, enum option option, bool on)
{
	struct stream *s = table_socket(fd);

	if (option == OPTION_CLOEXEC)
		share_cloexec(fd, on);
	if (s)
		set_option(s, option, on);
}

void
stream_nonblock(int fd, bool on)
{
	if (number_known(fd) && relaxed(number_kind[fd]) == KIND_FILE)
		number_set(fd,
			   KIND_PLAIN); /* asked again before a read that may sleep */
	stream_option(fd, OPTION_NONBLOCK, on);
	stream_option(fd, OPTION_BLOCK_KNOWN, true);
}

void
stream_nonblock_ends(int fd)
{
	stream_option(fd, OPTION_BLOCK_KNOWN, false);
	stream_option(fd, OPTION_NONBLOCK, false);
}

void
stream_room_changed(int fd)
{
	struct stream *s = stream_known(fd);

	if (s)
		relaxed_set(s->room, 0);
}

bool
stream_ask_blocking(struct stream *s)
{
	uint8_t was = relaxed(s->options), now = was | OPTION_BLOCK_KNOWN;
	int flags = sys_fcntl(stream_fd(s), F_GETFL, 0);
	bool blocks = flags <= 0 || !(flags & O_NONBLOCK);

	now = (uint8_t)(blocks ? now & ~OPTION_NONBLOCK : now | OPTION_NONBLOCK);
	/* Not remembered where another thread has set an option meanwhile: maybe this one. */
	__atomic_compare_exchange_n(&s->options, &was, now, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	return blocks;
}

bool
stream_plain_sleeps(int fd)
{
	struct stat st;
	bool sleeps;

	if (!number_known(fd) || relaxed(number_kind[fd]) != KIND_PLAIN)
		return false;
	sleeps = sys_fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
		 !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode) &&
		 !(sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK);
	if (!sleeps)
		number_set(fd, KIND_FILE);
	return sleeps;
}
