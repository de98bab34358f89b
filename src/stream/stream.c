#include "stream/stream.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/flush.h"
#include "stream/life.h"
#include "stream/section.h"
#include "stream/stall.h"
#include "stream/evidence.h"
#include "stream/turn.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

enum { LEAF_LEN = 1 << LEAF_BITS, SHARED_EPOCH = 0xffffffffu };

/* A read of less than this part of the chunk may be served from a borrow. */
enum { SMALL = 8 };

struct leaf {
	struct stream hot[LEAF_LEN];
	struct stream_cold cold[LEAF_LEN];
};

uint32_t nr_numbers;
uint8_t number_kind[NR_NUMBERS] __attribute__((aligned(4096)));
struct stream *stream_leaf[NR_LEAVES];

/* In ordinary memory: a stream that was made before the last fork is shared by it. */
static uint32_t nr_forks, nr_spawns;
static enum bypass_reason bypass_new;
static bool bypass_all;
static bool kinds_wiped;

/* What an open stream's rec points to is never unmapped: a racing thread may still add to it
 * after a close. */
struct record stream_uncounted;

void
stream_init(void)
{
	__atomic_store_n(&nr_numbers, NR_NUMBERS, __ATOMIC_RELEASE);
}

void
stream_off(void)
{
	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; stream_leaf[i] && j < LEAF_LEN; j++)
			stream_leaf[i][j].state = STATE_NONE;
	__atomic_store_n(&nr_numbers, 0, __ATOMIC_RELEASE);
}

static bool
known(int fd)
{
	return (unsigned)fd < __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED);
}

static void
set_kind(int fd, enum kind kind)
{
	__atomic_store_n(&number_kind[fd], (uint8_t)kind, __ATOMIC_RELEASE);
}

/* The leaf's memory outlives a fork, its contents do not: a child uses it again. */
static struct leaf *
leaf_make(unsigned i)
{
	struct stream *none = NULL;
	struct leaf *leaf;

	if (!kinds_wiped) {
		if (sys_wipe_on_fork(number_kind, sizeof(number_kind)) < 0)
			return NULL;
		kinds_wiped = true;
	}
	leaf = sys_map(sizeof(*leaf), 0);
	if (!leaf)
		return NULL;
	if (sys_wipe_on_fork(leaf, sizeof(*leaf)) < 0) {
		sys_unmap(leaf, sizeof(*leaf));
		return NULL;
	}
	if (!__atomic_compare_exchange_n(&stream_leaf[i], &none, leaf->hot, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		sys_unmap(leaf, sizeof(*leaf));
		leaf = (struct leaf *)none;
	}
	return leaf;
}

static __attribute__((noinline)) struct stream *
record_make(int fd)
{
	struct leaf *leaf = leaf_make((unsigned)fd >> LEAF_BITS);

	if (leaf)
		return &leaf->hot[fd & (LEAF_LEN - 1)];
	count_internal(INTERNAL_MEMORY);
	return NULL;
}

static inline struct stream *
record_at(int fd)
{
	struct stream *hot = __atomic_load_n(&stream_leaf[(unsigned)fd >> LEAF_BITS],
					     __ATOMIC_ACQUIRE);

	return __builtin_expect(hot != NULL, 1) ? &hot[fd & (LEAF_LEN - 1)]
						: record_make(fd);
}

static bool
lies_in(const struct stream *s, const struct stream *hot)
{
	return hot && s >= hot && s < hot + LEAF_LEN;
}

int
stream_fd(const struct stream *s)
{
	int fd = __atomic_load_n(&s->fd, __ATOMIC_RELAXED);
	unsigned i = (unsigned)fd >> LEAF_BITS;

	if (__builtin_expect(lies_in(s, stream_leaf[i]), 1))
		return (int)(i << LEAF_BITS) + (int)(s - stream_leaf[i]);
	for (i = 0; i < NR_LEAVES; i++)
		if (lies_in(s, stream_leaf[i]))
			return (int)(i << LEAF_BITS) + (int)(s - stream_leaf[i]);
	return -1;
}

struct stream_cold *
stream_cold(const struct stream *s)
{
	int fd = stream_fd(s);
	struct leaf *leaf = (struct leaf *)stream_leaf[(unsigned)fd >> LEAF_BITS];

	return &leaf->cold[fd & (LEAF_LEN - 1)];
}

struct stream *
stream_known(int fd)
{
	if (!known(fd) ||
	    __atomic_load_n(&number_kind[fd], __ATOMIC_ACQUIRE) != KIND_STREAM)
		return NULL;
	return record_at(fd);
}

bool
stream_private(const struct stream *s)
{
	return s->epoch == __atomic_load_n(&nr_forks, __ATOMIC_RELAXED) &&
	       (s->options & OPTION_CLOEXEC ||
		stream_cold(s)->spawn_epoch ==
			__atomic_load_n(&nr_spawns, __ATOMIC_RELAXED));
}

void
stream_share_all(void)
{
	__atomic_fetch_add(&nr_forks, 1, __ATOMIC_RELAXED);
}

void
stream_share_inheritable(void)
{
	__atomic_fetch_add(&nr_spawns, 1, __ATOMIC_RELAXED);
}

void
stream_share(struct stream *s)
{
	__atomic_store_n(&s->epoch, (uint32_t)SHARED_EPOCH, __ATOMIC_RELAXED);
}

uint32_t
stream_nr_open(void)
{
	return __atomic_load_n(&process->nr_streams, __ATOMIC_RELAXED);
}

static int
int_option(int fd, int level, int name)
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

void
stream_ask_push(struct stream *s)
{
	uint32_t sets = __atomic_load_n(&process->nr_option_sets, __ATOMIC_RELAXED);

	if (stream_cold(s)->option_sets == sets)
		return;
	stream_cold(s)->option_sets = sets;
	set_option(s, OPTION_NODELAY, int_option(s->fd, IPPROTO_TCP, TCP_NODELAY));
	set_option(s, OPTION_CORK, int_option(s->fd, IPPROTO_TCP, TCP_CORK));
}

static uint8_t
ask_options(int fd, bool tcp, uint8_t keep)
{
	uint8_t options = keep & (OPTION_NONBLOCK | OPTION_BLOCK_KNOWN | OPTION_CLOEXEC);

	if (int_option(fd, SOL_SOCKET, SO_RCVLOWAT) > 1)
		options |= OPTION_RCVLOWAT;
	if (!tcp)
		return options;
	options |= OPTION_TCP;
	if (int_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT))
		options |= OPTION_NOTSENT;
	return options;
}

static void
close_record(struct record *rec)
{
	__atomic_fetch_sub(&process->nr_streams, 1, __ATOMIC_RELAXED);
	if (rec != &stream_uncounted)
		region_close(rec, sys_now_ns(), self.tid);
}

/* With the section entered, and nothing held any more: empties the record. Returns whether it was open.
 * The count of native readers stays: one may yet return. */
static bool
wipe(struct stream *s, enum state state)
{
	struct stream_cold *cold = stream_cold(s);
	bool was_open;

	section_empty(s);
	borrow_drop(s);
	if (!section_settled(s))
		s->tier = s->borrow_tier = 0;
	was_open = s->state == STATE_OPEN;
	if (was_open)
		stall_end(s);
	s->room = s->writer = 0;
	s->options = s->nr_writes = s->chatty = s->awaited = s->left = 0;
	s->proven = s->err = 0;
	s->filled = s->more = s->unborrowable = 0;
	s->skip = s->backoff = 0;
	s->small = 0;
	s->mode = MODE_MANAGED;
	s->state = (uint8_t)state;
	s->epoch = __atomic_load_n(&nr_forks, __ATOMIC_RELAXED);
	cold->first_ns = cold->borrow_ns = cold->stall_start_ns = 0;
	cold->cookie = cold->listener_cookie = cold->stall_busy_us = 0;
	cold->spawn_epoch = __atomic_load_n(&nr_spawns, __ATOMIC_RELAXED);
	cold->looked = cold->waits = false;
	cold->lister = 0;
	cold->listener = -1;
	cold->option_sets = process->nr_option_sets - 1; /* not asked yet */
	return was_open;
}

/* For a new user of the number. What the last one left held is lost with its descriptor, which was
 * closed unseen. */
static void
reset(struct stream *s, int fd, enum state state)
{
	bool was_open;

	s->fd = fd;
	section_enter_dropping(s);
	was_open = wipe(s, state);
	section_leave(s);
	if (was_open)
		close_record(stream_record(s));
}

static void
describe(struct record *rec, struct stream *s, bool tcp)
{
	socklen_t len = sizeof(rec->local.bytes);
	struct stat st;

	rec->fd = s->fd;
	rec->cookie = stream_cold(s)->cookie;
	rec->inode = sys_fstat(s->fd, &st) < 0 ? 0 : st.st_ino;
	rec->local.len = sys_getsockname(s->fd, &rec->local.sa, &len) < 0 ? 0 : len;
	len = sizeof(rec->peer.bytes);
	rec->peer.len = sys_getpeername(s->fd, &rec->peer.sa, &len) < 0 ? 0 : len;
	rec->family = !tcp                                  ? FAMILY_UNIX
		      : rec->local.sa.sa_family == AF_INET6 ? FAMILY_INET6
							    : FAMILY_INET;
}

/* `s` has been reset and its options set. The number becomes a stream. */
static void
open_stream(struct stream *s, enum role role)
{
	bool tcp = s->options & OPTION_TCP;
	struct record *rec = NULL;
	bool received = role == ROLE_ACCEPTED;

	s->role = (uint8_t)role;
	stream_cold(s)->cookie = sys_cookie(s->fd);
	if (life_join())
		rec = region_open(role, self.tid);
	if (rec) {
		describe(rec, s, tcp);
		rec->chunk[RECEIVED] =
			received ? config->request_chunk : config->response_chunk;
		rec->chunk[SENT] =
			received ? config->response_chunk : config->request_chunk;
		if (!config->request_chunk && !config->response_chunk)
			s->mode = MODE_OBSERVED;
		if (config->delay_us && config->pool_max)
			s->small = stream_chunk_received(s) / SMALL;
		rec->mode = s->mode;
		region_publish(rec);
	}
	s->rec = rec ? rec : &stream_uncounted;
	s->state = STATE_OPEN;
	__atomic_fetch_add(&process->nr_streams, 1, __ATOMIC_RELAXED);
	set_kind(s->fd, KIND_STREAM);
	if (!rec)
		stream_bypass(s->fd, BYPASS_NO_RECORD);
	else if (bypass_all)
		stream_bypass(s->fd, bypass_new);
}

static void
begin_listening(struct stream *s)
{
	s->chatty = 1;
	if (s->options & OPTION_TCP)
		stream_ask_push(s);
	s->state = STATE_LISTENING;
	stream_cold(s)->cookie = sys_cookie(s->fd);
}

/* What a socket is that nobody told us about. -1: no stream socket; else whether it is TCP. */
static int
ask_protocol(int fd)
{
	int domain, protocol;

	if (int_option(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM)
		return -1;
	domain = int_option(fd, SOL_SOCKET, SO_DOMAIN);
	protocol = int_option(fd, SOL_SOCKET, SO_PROTOCOL);
	if (domain == AF_UNIX)
		return 0;
	if ((domain == AF_INET || domain == AF_INET6) &&
	    (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		return 1;
	return -1;
}

/* A number nobody told us about: came over an exec, a fork, in a message, or from a call that
 * is no symbol. Another process may have it open, so it is watched, and left alone. */
static struct stream *
adopt(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	struct stream *s;
	int tcp, type;

	len = sizeof(type);
	if (sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == -EBADF)
		return NULL;
	tcp = ask_protocol(fd);
	s = tcp < 0 ? NULL : record_at(fd);
	if (!s) {
		set_kind(fd, KIND_PLAIN);
		return NULL;
	}
	reset(s, fd, STATE_BARE);
	stream_share(s);
	s->options = ask_options(fd, tcp, 0);
	len = sizeof(peer);
	if (int_option(fd, SOL_SOCKET, SO_ACCEPTCONN))
		begin_listening(s);
	else if (sys_getpeername(fd, (struct sockaddr *)&peer, &len) == 0) {
		open_stream(s, ROLE_ACCEPTED);
		stream_bypass(fd, BYPASS_SHARED);
		return s;
	}
	set_kind(fd, KIND_SOCKET);
	return s;
}

/* A data call on a socket that was not connected: it may be by now (fast open). */
static struct stream *
meet_socket(int fd)
{
	struct stream *s = record_at(fd);
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (!s || s->state != STATE_BARE ||
	    sys_getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return NULL;
	stream_connected(fd);
	return stream_known(fd);
}

struct stream *
stream_meet(int fd)
{
	if (!self_enter() || !known(fd))
		return NULL;
	switch (number_kind[fd]) {
	case KIND_UNKNOWN: {
		struct stream *s = adopt(fd);

		return s && s->state == STATE_OPEN ? s : NULL;
	}
	case KIND_SOCKET:
		return meet_socket(fd);
	case KIND_STREAM:
		return record_at(fd);
	}
	return NULL;
}

void
stream_forget(int fd)
{
	struct stream *s = stream_known(fd);

	if (!known(fd) || number_kind[fd] == KIND_UNKNOWN || !self_enter())
		return;
	set_kind(fd, KIND_UNKNOWN);
	if (s)
		reset(s, fd, STATE_NONE);
}

void
stream_forget_socket(int fd, uint64_t cookie)
{
	struct stream *s = stream_known(fd);
	struct record *rec = NULL;

	if (!s || !cookie || !self_enter())
		return;
	section_enter(s);
	/* Whoever takes the number into use resets the cookie first, in a section. */
	if (stream_cold(s)->cookie == cookie && section_commit(s, 0, 0)) {
		rec = stream_record(s);
		if (!wipe(s, STATE_NONE))
			rec = NULL;
		set_kind(fd, KIND_UNKNOWN);
	}
	section_leave(s);
	if (rec)
		close_record(rec);
}

void
stream_made_plain(int fd)
{
	if (!known(fd) || !self_ready())
		return;
	stream_forget(fd);
	set_kind(fd, KIND_PLAIN);
}

void
stream_made_socket(int fd, int domain, int type, int protocol)
{
	bool tcp =
		(domain == AF_INET || domain == AF_INET6) &&
		(protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
	struct stream *s;

	if (!known(fd) || !self_enter())
		return;
	stream_forget(fd);
	if ((type & 0xf) != SOCK_STREAM || !(tcp || domain == AF_UNIX)) {
		set_kind(fd, KIND_PLAIN);
		return;
	}
	s = record_at(fd);
	if (!s)
		return;
	reset(s, fd, STATE_BARE);
	s->options = (uint8_t)((tcp ? OPTION_TCP : 0) | OPTION_BLOCK_KNOWN |
			       (type & SOCK_NONBLOCK ? OPTION_NONBLOCK : 0) |
			       (type & SOCK_CLOEXEC ? OPTION_CLOEXEC : 0));
	set_kind(fd, KIND_SOCKET);
}

void
stream_made_pair(int fd, int type)
{
	struct stream *s;

	stream_made_socket(fd, AF_UNIX, type, 0);
	if (!known(fd) || number_kind[fd] != KIND_SOCKET || !self_ready())
		return;
	s = record_at(fd);
	s->proven = 1;
	open_stream(s, ROLE_ACCEPTED);
}

/* The record of a socket that `fd` is or turns out to be; NULL: none. */
static struct stream *
socket_record(int fd)
{
	if (!known(fd) || !self_enter())
		return NULL;
	if (number_kind[fd] == KIND_UNKNOWN)
		adopt(fd);
	if (number_kind[fd] != KIND_SOCKET && number_kind[fd] != KIND_STREAM)
		return NULL;
	return record_at(fd);
}

void
stream_listening(int fd)
{
	struct stream *s = socket_record(fd);

	if (!s || s->state != STATE_BARE)
		return;
	s->options = ask_options(fd, s->options & OPTION_TCP, s->options);
	begin_listening(s);
	life_join();
}

void
stream_accepted(int fd, int listener, int flags)
{
	struct stream *l = socket_record(listener), *s;

	if (!known(fd) || !self_ready())
		return;
	stream_forget(fd);
	if (!l || l->state != STATE_LISTENING || !(s = record_at(fd))) {
		set_kind(fd,
			 l && l->state == STATE_LISTENING ? KIND_PLAIN : KIND_UNKNOWN);
		return;
	}
	reset(s, fd, STATE_BARE);
	s->options = (uint8_t)((l->options & (OPTION_TCP | OPTION_NODELAY | OPTION_CORK |
					      OPTION_NOTSENT | OPTION_RCVLOWAT)) |
			       OPTION_BLOCK_KNOWN |
			       (flags & SOCK_NONBLOCK ? OPTION_NONBLOCK : 0) |
			       (flags & SOCK_CLOEXEC ? OPTION_CLOEXEC : 0));
	s->chatty = l->chatty;
	s->unborrowable = l->unborrowable;
	s->proven = 1;
	stream_cold(s)->option_sets = stream_cold(l)->option_sets;
	stream_cold(s)->listener = listener;
	stream_cold(s)->listener_cookie = stream_cold(l)->cookie;
	open_stream(s, ROLE_ACCEPTED);
}

void
stream_connected(int fd)
{
	struct stream *s = socket_record(fd);

	if (!s || s->state != STATE_BARE)
		return;
	s->options = ask_options(fd, s->options & OPTION_TCP, s->options);
	s->chatty = 1;
	open_stream(s, ROLE_CONNECTED);
	if (!stream_private(s))
		stream_bypass(fd, BYPASS_SHARED);
}

/* The listener's next stream begins with what this one has learned. */
static void
bequeath(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	struct stream *l;

	if (cold->listener < 0 || !known(cold->listener) ||
	    number_kind[cold->listener] != KIND_SOCKET)
		return;
	l = record_at(cold->listener);
	if (l && l->state == STATE_LISTENING &&
	    stream_cold(l)->cookie == cold->listener_cookie)
		l->chatty = s->chatty;
}

void
stream_close_begin(int fd)
{
	struct stream *s = stream_known(fd);
	bool was_open;

	if (!s) {
		if (known(fd) && number_kind[fd] == KIND_SOCKET && self_enter() &&
		    (s = record_at(fd)))
			s->state = STATE_CLOSING;
		return;
	}
	if (!self_enter())
		return;
	stream_drain(s, FLUSH_CLOSE);
	stall_end(s);
	evidence_turn(s); /* the last turn counts too */
	if (s->nr_writes)
		evidence_read(s);
	bequeath(s);
	section_enter(s);
	was_open = s->state == STATE_OPEN;
	s->state = STATE_CLOSING; /* nothing is held from here on */
	section_leave(s);
	stream_drain(s, FLUSH_CLOSE); /* what another thread held since */
	set_kind(fd, KIND_SOCKET);
	if (was_open)
		close_record(stream_record(s));
}

void
stream_close_end(int fd)
{
	struct stream *s;

	if (!known(fd) || !self_ready())
		return;
	if (number_kind[fd] != KIND_SOCKET) {
		if (number_kind[fd] != KIND_STREAM)
			set_kind(fd, KIND_UNKNOWN);
		return;
	}
	s = record_at(fd);
	if (s && s->state == STATE_CLOSING) /* else it was made anew meanwhile */
		set_kind(fd, KIND_UNKNOWN);
}

void
stream_bypass(int fd, enum bypass_reason why)
{
	struct stream *s = stream_known(fd);

	if (!s || s->mode == MODE_BYPASSED || !self_ready())
		return;
	section_enter(s);
	s->mode = MODE_BYPASSED; /* nothing is held from here on */
	section_leave(s);
	stream_drain(s, FLUSH_ORDER);
	if (region_get())
		count_add(&region_get()->totals.bypassed[why], 1);
	stream_record(s)->bypass = (uint8_t)why;
	__atomic_store_n(&stream_record(s)->mode, (uint8_t)MODE_BYPASSED,
			 __ATOMIC_RELEASE);
}

void
stream_bypass_all(enum bypass_reason why)
{
	if (!self_ready())
		return;
	bypass_new = why;
	bypass_all = true;
	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; stream_leaf[i] && j < LEAF_LEN; j++)
			stream_bypass((int)(i << LEAF_BITS) + j, why);
}

/* The record of a number that is known as a socket of stream type; nobody is asked. */
static struct stream *
known_socket(int fd)
{
	enum kind kind;

	if (!known(fd) || !self_ready())
		return NULL;
	kind = __atomic_load_n(&number_kind[fd], __ATOMIC_ACQUIRE);
	return kind == KIND_SOCKET || kind == KIND_STREAM ? record_at(fd) : NULL;
}

void
stream_bypass_reads(int fd, enum bypass_reason why)
{
	struct stream *s = known_socket(fd);

	if (!s || __atomic_exchange_n(&s->unborrowable, 1, __ATOMIC_SEQ_CST) ||
	    s->state != STATE_OPEN || s->mode != MODE_MANAGED)
		return;
	borrow_settle(s);
	count_add(&region_get()->totals.bypassed[why], 1);
}

void
stream_option(int fd, enum option option, bool on)
{
	struct stream *s = known_socket(fd);

	if (s)
		set_option(s, option, on);
}

void
stream_nonblock(int fd, bool on)
{
	if (known(fd) && number_kind[fd] == KIND_FILE)
		set_kind(fd, KIND_PLAIN); /* asked again before a read that may sleep */
	stream_option(fd, OPTION_NONBLOCK, on);
	stream_option(fd, OPTION_BLOCK_KNOWN, true);
}

void
stream_leave(int fd)
{
	struct stream *s = known_socket(fd);

	if (!s)
		return;
	stream_bypass(fd, BYPASS_DUP);
	stream_share(s); /* a socket not yet connected will not be held when it is */
}

void
stream_room_changed(int fd)
{
	struct stream *s = stream_known(fd);

	if (s)
		s->room = 0;
}

bool
stream_ask_blocking(struct stream *s)
{
	int flags = sys_fcntl(stream_fd(s), F_GETFL, 0);
	uint8_t options = s->options & (uint8_t)~OPTION_NONBLOCK;

	if (flags > 0 && flags & O_NONBLOCK)
		options |= OPTION_NONBLOCK;
	s->options = options | OPTION_BLOCK_KNOWN;
	return !(options & OPTION_NONBLOCK);
}

bool
stream_may_block(int fd)
{
	struct stream *s = socket_record(fd);

	return !s || stream_blocking(s);
}

bool
stream_plain_sleeps(int fd)
{
	struct stat st;
	bool sleeps;

	if (!known(fd) || number_kind[fd] != KIND_PLAIN)
		return false;
	sleeps = sys_fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
		 !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode) &&
		 !(sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK);
	if (!sleeps)
		set_kind(fd, KIND_FILE);
	return sleeps;
}
