#include "stream/pair.h"
#include "stream/borrow.h"
#include "stream/flush.h"
#include <netinet/in.h>
#include <string.h>

void
pair_made(int fd, int other)
{
	struct stream *a = stream_known(fd), *b = stream_known(other);

	if (!a || !b)
		return;
	relaxed_set(stream_cold(a)->other, other + 1);
	relaxed_set(stream_cold(b)->other, fd + 1);
	relaxed_set(process->pairs, true);
}

void
pair_inherited(const struct stream *s, int32_t other)
{
	if (!other)
		return;
	relaxed_set(stream_cold(s)->other, other);
	relaxed_set(process->pairs, true);
}

struct stream *
pair_other(const struct stream *s)
{
	int32_t number = relaxed(stream_cold(s)->other);
	struct stream *other = number ? stream_known(number - 1) : NULL;

	return other && relaxed(stream_cold(other)->other) == stream_fd(s) + 1 ? other
									       : NULL;
}

void
pair_connected(int fd)
{
	uint32_t nr = __atomic_fetch_add(&process->nr_connected, 1, __ATOMIC_RELAXED);

	relaxed_set(process->connected[nr % NR_CONNECTED], fd);
}

struct place {
	struct in6_addr ip;
	in_port_t port;
};

/* False: no address of IP. */
static bool
place_of(const struct region_addr *addr, struct place *place)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (addr->len >= sizeof(in6) && addr->sa.sa_family == AF_INET6) {
		memcpy(&in6, addr->bytes, sizeof(in6));
		*place = (struct place){ in6.sin6_addr, in6.sin6_port };
		return true;
	}
	if (addr->len >= sizeof(in) && addr->sa.sa_family == AF_INET) {
		memcpy(&in, addr->bytes, sizeof(in));
		*place = (struct place){ { { { [10] = 0xff, 0xff } } }, in.sin_port };
		memcpy(&place->ip.s6_addr[12], &in.sin_addr, sizeof(in.sin_addr));
		return true;
	}
	return false;
}

/* An AF_INET6 socket may be connected to an AF_INET one. */
static bool
same(const struct region_addr *a, const struct region_addr *b)
{
	struct place at, bt;

	if (place_of(a, &at) && place_of(b, &bt))
		return at.port == bt.port && !memcmp(&at.ip, &bt.ip, sizeof(at.ip));
	return a->len == b->len && a->len <= sizeof(a->bytes) &&
	       !memcmp(a->bytes, b->bytes, a->len);
}

/* On AF_UNIX who connects has no name: the one that connected first is accepted first. */
static bool
fits(const struct stream *connected, const struct stream *accepted)
{
	const struct record *c = stream_record(connected), *a = stream_record(accepted);

	return connected->role == ROLE_CONNECTED &&
	       !relaxed(stream_cold(connected)->other) && same(&c->local, &a->peer) &&
	       (relaxed(connected->options) & OPTION_TCP || same(&c->peer, &a->local));
}

void
pair_accepted(const struct stream *s)
{
	uint32_t nr = relaxed(process->nr_connected);
	uint32_t i = nr > NR_CONNECTED ? nr - NR_CONNECTED : 0;

	for (; i < nr; i++) {
		int fd = relaxed(process->connected[i % NR_CONNECTED]);
		const struct stream *c = stream_known(fd);

		if (c && fits(c, s)) {
			pair_made(fd, stream_fd(s));
			return;
		}
	}
}

bool
pair_withheld(const struct stream *s)
{
	return relaxed(s->options) & OPTION_TCP && pair_other(s);
}

void
pair_quiesce(const struct stream *s, enum flush_reason reason)
{
	struct stream *other = process->pairs ? pair_other(s) : NULL;

	if (other && (stream_held(other) || relaxed(other->borrow)) && self_enter())
		stream_drain(other, reason);
}

void
pair_turn_other(const struct stream *s)
{
	struct stream *other = pair_other(s);

	if (other && stream_held(other) && relaxed(other->owner) == self.tid)
		stream_flush(other, FLUSH_TURN);
}

void
pair_release(void)
{
	struct thread *thread = self.thread;

	for (uint32_t i = 0; thread && i < thread->nr_held; i++) {
		struct stream *s = stream_known(thread->fd[i]);

		if (!s || !relaxed(stream_cold(s)->other))
			continue;
		/* Not drained, which may wait: for us, who read the other end. */
		borrow_settle(s);
		stream_flush(s, FLUSH_TURN);
	}
}

void
pair_deafen(int fd)
{
	struct stream *s = process->pairs ? stream_known(fd) : NULL;
	struct stream *other = s && self_enter() ? pair_other(s) : NULL;

	if (!other)
		return;
	stream_drain(other, FLUSH_ORDER);
	/* The kernel answers its next write, to which TCP may answer with a reset. */
	relaxed_set(other->proven, 0);
	relaxed_set(stream_cold(other)->parted, true);
}
