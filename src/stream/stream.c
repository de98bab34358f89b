#include "stream/meet.h"
#include "base/config.h"
#include "stream/borrow.h"
#include "stream/evidence.h"
#include "stream/flush.h"
#include "stream/interest.h"
#include "stream/life.h"
#include "stream/section.h"
#include "stream/options.h"
#include "stream/pair.h"
#include "stream/share.h"
#include "stream/stall.h"
#include "stream/table.h"
#include "stream/turn.h"

/* 0, 1 and 2: stdin, stdout and stderr may be used by whoever calls printf or perror. */
enum { NR_STANDARD = 3 };
/* As in systemd/sd-daemon.h. */
enum { SD_LISTEN_FDS_START = 3 };

/* A read of less than this part of the chunk may be served from a borrow. */
enum { SMALL = 8 };

/* What an open stream's rec points to is never unmapped: a racing thread may still add to it
 * after a close. */
struct record stream_uncounted;

/* The number that had this cookie is closed. Where others have the stream still, the record that
 * counted it is theirs to close. */
static void
close_record(const struct stream *s, uint64_t cookie)
{
	struct record *rec = stream_record(s);
	bool others = share_close(stream_fd(s), cookie);

	if (rec != &stream_uncounted && (rec->again || !others) && !process->ended)
		region_close(rec, sys_now_ns(), self.tid);
}

/* Writes in which other threads wait are looked at first. */
void
stream_ended(void)
{
	stall_look_episodes();
	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; relaxed(stream_leaf[i]) && j < LEAF_LEN; j++) {
			struct stream *s = &stream_leaf[i][j];
			struct record *rec = stream_record(s);

			if (relaxed(s->state) != STATE_OPEN)
				continue;
			stall_close(s);
			if (rec != &stream_uncounted &&
			    (rec->again || !share_counted(s)))
				region_close(rec, sys_now_ns(), self.tid);
		}
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
	interest_forget(s->fd);
	was_open = relaxed(s->state) == STATE_OPEN;
	stall_close(s);
	relaxed_set(s->room, 0);
	relaxed_set(s->writing, 0);
	relaxed_set(s->options, 0);
	relaxed_set(s->nr_writes, 0);
	relaxed_set(s->chatty, 0);
	relaxed_set(s->second, SECOND_UNKNOWN);
	relaxed_set(s->left, 0);
	relaxed_set(s->err, 0);
	relaxed_set(s->awaited, 0);
	relaxed_set(s->proven, 0);
	relaxed_set(s->filled, 0);
	relaxed_set(s->unborrowable, 0);
	relaxed_set(s->skip, 0);
	relaxed_set(s->backoff, 0);
	relaxed_set(s->uncut[RECEIVED], 0);
	relaxed_set(s->uncut[SENT], 0);
	s->more = 0;
	s->small = 0;
	relaxed_set(s->mode, MODE_MANAGED);
	table_state(s, state);
	share_begin(s);
	relaxed_set(cold->first_ns, 0);
	relaxed_set(cold->borrow_ns, 0);
	relaxed_set(cold->cookie, 0);
	cold->listener_cookie = 0;
	cold->looked = cold->waits = false;
	relaxed_set(cold->parted, false);
	relaxed_set(cold->lister, 0);
	relaxed_set(cold->other, 0);
	cold->listener = -1;
	cold->option_sets = relaxed(process->nr_option_sets) - 1; /* not asked yet */
	cold->ended = relaxed(process->nr_ended);
	return was_open;
}

void
stream_reset(struct stream *s, int fd, enum state state)
{
	uint64_t cookie;
	bool was_open;

	relaxed_set(s->fd, fd);
	section_enter_dropping(s);
	cookie = relaxed(stream_cold(s)->cookie);
	was_open = wipe(s, state);
	section_leave(s);
	if (was_open)
		close_record(s, cookie);
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

void
stream_begin(struct stream *s, enum role role)
{
	bool tcp = relaxed(s->options) & OPTION_TCP;
	struct record *rec = NULL;
	bool received, again;
	uint32_t bypass;

	relaxed_set(stream_cold(s)->cookie, sys_cookie(s->fd));
	again = share_inherited(s, &role);
	received = role == ROLE_ACCEPTED;
	s->role = (uint8_t)role;
	if (life_join())
		rec = region_open(role, self.tid);
	if (rec) {
		rec->again = again;
		describe(rec, s, tcp);
		rec->chunk[RECEIVED] =
			received ? config->request_chunk : config->response_chunk;
		rec->chunk[SENT] =
			received ? config->response_chunk : config->request_chunk;
		relaxed_set(s->uncut[RECEIVED], rec->chunk[RECEIVED] + 1);
		relaxed_set(s->uncut[SENT], rec->chunk[SENT] + 1);
		if (!config->request_chunk && !config->response_chunk)
			relaxed_set(s->mode, MODE_OBSERVED);
		if (config->delay_us && config->pool_max)
			s->small = stream_chunk_received(s) / SMALL;
		rec->mode = relaxed(s->mode);
		region_publish(rec);
	}
	__atomic_store_n(&s->rec, rec ? rec : &stream_uncounted, __ATOMIC_RELEASE);
	table_state(s, STATE_OPEN);
	number_set(s->fd, KIND_STREAM);
	bypass = stream_bypass_of_new();
	if (!rec)
		stream_bypass(s->fd, BYPASS_NO_RECORD);
	else if (bypass)
		stream_bypass(s->fd, (enum bypass_reason)(bypass - 1));
	else if (s->fd < NR_STANDARD && stream_private(s))
		stream_leave(s->fd);
}

void
stream_begin_listening(struct stream *s)
{
	relaxed_set(s->chatty, 1);
	if (relaxed(s->options) & OPTION_TCP)
		stream_ask_push(s);
	table_state(s, STATE_LISTENING);
	relaxed_set(stream_cold(s)->cookie, sys_cookie(s->fd));
}

void
stream_forget(int fd)
{
	struct stream *s = stream_known(fd);

	if (!number_known(fd) || !self_enter())
		return;
	if (relaxed(number_kind[fd]) == KIND_UNKNOWN) {
		share_close(fd, 0);
		return;
	}
	number_set(fd, KIND_UNKNOWN);
	if (s)
		stream_reset(s, fd, STATE_NONE);
}

void
stream_forget_socket(int fd, uint64_t cookie)
{
	struct stream *s = stream_known(fd);
	bool was_open = false;

	if (!s || !cookie || !self_enter())
		return;
	section_enter(s);
	/* Whoever takes the number into use resets the cookie first, in a section. */
	if (relaxed(stream_cold(s)->cookie) == cookie && section_commit(s, 0, 0)) {
		was_open = wipe(s, STATE_NONE);
		number_set(fd, KIND_UNKNOWN);
	}
	section_leave(s);
	if (was_open)
		close_record(s, cookie);
}

void
stream_made_plain(int fd)
{
	if (!number_known(fd) || !self_ready())
		return;
	stream_forget(fd);
	number_set(fd, KIND_PLAIN);
}

void
stream_made_socket(int fd, int domain, int type, int protocol)
{
	bool tcp =
		(domain == AF_INET || domain == AF_INET6) &&
		(protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
	struct stream *s;

	if (!number_known(fd) || !self_enter())
		return;
	stream_forget(fd);
	if ((type & 0xf) != SOCK_STREAM || !(tcp || domain == AF_UNIX)) {
		number_set(fd, KIND_PLAIN);
		return;
	}
	s = table_record(fd);
	if (!s)
		return;
	stream_reset(s, fd, STATE_BARE);
	relaxed_set(s->options, (uint8_t)((tcp ? OPTION_TCP : 0) | OPTION_BLOCK_KNOWN |
					  (type & SOCK_NONBLOCK ? OPTION_NONBLOCK : 0) |
					  (type & SOCK_CLOEXEC ? OPTION_CLOEXEC : 0)));
	number_set(fd, KIND_SOCKET);
}

void
stream_made_pair(int fd, int type)
{
	struct stream *s;

	stream_made_socket(fd, AF_UNIX, type, 0);
	if (!number_known(fd) || relaxed(number_kind[fd]) != KIND_SOCKET ||
	    !self_ready())
		return;
	s = table_record(fd);
	relaxed_set(s->proven, 1);
	stream_begin(s, ROLE_ACCEPTED);
}

void
stream_listening(int fd)
{
	struct stream *s = meet_record(fd);

	if (!s || relaxed(s->state) != STATE_BARE)
		return;
	relaxed_set(s->options, option_ask_all(fd, relaxed(s->options) & OPTION_TCP,
					       relaxed(s->options)));
	stream_begin_listening(s);
	life_join();
}

/* Such a program need not call listen(), and its workers would begin a family each. */
void
stream_passed(void)
{
	for (uint32_t i = 0; i < config->nr_passed; i++) {
		struct stream *s = meet_record(SD_LISTEN_FDS_START + (int)i);

		if (s && relaxed(s->state) == STATE_LISTENING)
			life_join();
	}
}

void
stream_accepted(int fd, int listener, int flags)
{
	struct stream *l = meet_record(listener), *s;

	if (!number_known(fd) || !self_ready())
		return;
	stream_forget(fd);
	if (!l || relaxed(l->state) != STATE_LISTENING || !(s = table_record(fd))) {
		number_set(fd, l && relaxed(l->state) == STATE_LISTENING ? KIND_PLAIN
									 : KIND_UNKNOWN);
		return;
	}
	stream_reset(s, fd, STATE_BARE);
	s->options = (uint8_t)((relaxed(l->options) &
				(OPTION_TCP | OPTION_NODELAY | OPTION_CORK |
				 OPTION_NOTSENT | OPTION_RCVLOWAT)) |
			       OPTION_BLOCK_KNOWN |
			       (flags & SOCK_NONBLOCK ? OPTION_NONBLOCK : 0) |
			       (flags & SOCK_CLOEXEC ? OPTION_CLOEXEC : 0));
	relaxed_set(s->chatty, relaxed(l->chatty));
	relaxed_set(s->unborrowable, relaxed(l->unborrowable));
	relaxed_set(s->proven, 1);
	stream_cold(s)->option_sets = stream_cold(l)->option_sets;
	stream_cold(s)->listener = listener;
	stream_cold(s)->listener_cookie = relaxed(stream_cold(l)->cookie);
	stream_begin(s, ROLE_ACCEPTED);
	pair_accepted(s);
}

void
stream_connected(int fd)
{
	struct stream *s = meet_record(fd);

	if (!s || relaxed(s->state) != STATE_BARE)
		return;
	relaxed_set(s->options, option_ask_all(fd, relaxed(s->options) & OPTION_TCP,
					       relaxed(s->options)));
	relaxed_set(s->chatty, 1);
	stream_begin(s, ROLE_CONNECTED);
	pair_connected(fd);
	if (!stream_private(s))
		stream_bypass(fd, BYPASS_SHARED);
}

/* The listener's next stream begins with what this one has learned. */
static void
bequeath(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	struct stream *l;

	if (cold->listener < 0 || !number_known(cold->listener) ||
	    relaxed(number_kind[cold->listener]) != KIND_SOCKET)
		return;
	l = table_record(cold->listener);
	if (l && relaxed(l->state) == STATE_LISTENING &&
	    relaxed(stream_cold(l)->cookie) == cold->listener_cookie)
		/* A worker's two writes are left alone only where TCP_NODELAY is known to be set. */
		relaxed_set(l->chatty,
			    relaxed(s->second) == SECOND_GOES ? 3 : relaxed(s->chatty));
}

void
stream_close_begin(int fd)
{
	struct stream *s = stream_known(fd);
	bool was_open;

	if (!s) {
		if (!number_known(fd) || !self_enter())
			return;
		interest_end_of(fd);
		if (relaxed(number_kind[fd]) == KIND_UNKNOWN)
			share_close(fd, 0);
		else if (relaxed(number_kind[fd]) == KIND_SOCKET &&
			 (s = table_record(fd)))
			table_state(s, STATE_CLOSING);
		return;
	}
	if (!self_enter())
		return;
	pair_deafen(fd);
	interest_close(fd);
	stream_drain(s, FLUSH_CLOSE);
	stall_close(s);
	evidence_turn(s); /* the last turn counts too */
	if (relaxed(s->nr_writes))
		evidence_read(s);
	bequeath(s);
	section_enter(s);
	was_open = relaxed(s->state) == STATE_OPEN;
	table_state(s, STATE_CLOSING); /* nothing is held from here on */
	section_leave(s);
	stream_drain(s, FLUSH_CLOSE); /* what another thread held since */
	number_set(fd, KIND_SOCKET);
	if (was_open)
		close_record(s, relaxed(stream_cold(s)->cookie));
}

void
stream_close_end(int fd)
{
	struct stream *s;
	uint8_t kind;

	if (!number_known(fd) || !self_ready())
		return;
	kind = relaxed(number_kind[fd]);
	s = kind == KIND_SOCKET ? table_record(fd) : NULL;
	if (kind == KIND_STREAM || (s && relaxed(s->state) != STATE_CLOSING))
		return; /* it was made anew meanwhile */
	/* Or is made just now. */
	__atomic_compare_exchange_n(&number_kind[fd], &kind, (uint8_t)KIND_UNKNOWN,
				    false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

bool
stream_may_block(int fd)
{
	struct stream *s = meet_record(fd);

	return !s || stream_blocking(s);
}
