#include "stream/stall.h"
#include "count/member.h"
#include "stream/share.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

/* A scheduler tick, the step of the kernel's own clock, at HZ=250; and how many streams one look
 * asks about at a time. */
enum { JIFFY_NS = 4000000, LOOK_AT_ONCE = 256 };

/* TCP_LISTEN of netinet/tcp.h, which cannot be included beside linux/tcp.h. */
enum { INFO_LISTEN = 10 };

/* Of connections that wait to be accepted. */
struct queue {
	uint64_t length, limit;
};

/* s->stalled: RUNS: an episode. SHARES: somebody is at its figures. ENDED: it ended meanwhile,
 * and who is at the figures is to count it. CLOSED: so did the stream, and they are the number's next
 * one's afterwards. */
enum { QUIET, RUNS, SHARES, ENDED, CLOSED };

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* All that is queued is on its way, none of it is lost, the congestion window holds more, and the
 * way is not full: less than half of the round trip is spent in queues. This is the kernel's own test
 * for a sender that sends less than it could (tcp_rate_check_app_limited), in which the round trip
 * stands in for the queue of the device. */
static bool
starved(const struct tcp_info *info)
{
	return info->tcpi_ca_state == TCP_CA_Open &&
	       info->tcpi_notsent_bytes < info->tcpi_snd_mss &&
	       info->tcpi_unacked < info->tcpi_snd_cwnd &&
	       info->tcpi_rtt / 2 < info->tcpi_min_rtt;
}

/* The kernel's clocks so far; all 0 where it has none. */
static struct stall_clocks
clocks(const struct stream *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (!(relaxed(s->options) & OPTION_TCP) ||
	    sys_getsockopt(stream_fd(s), IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return (struct stall_clocks){ 0 };
	return (struct stall_clocks){ info.tcpi_busy_time, info.tcpi_rwnd_limited,
				      info.tcpi_sndbuf_limited, starved(&info) };
}

static bool
claim(struct stream *s, uint8_t from)
{
	return __atomic_compare_exchange_n(&s->stalled, &from, SHARES, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Adds what the clocks grew since they were last read, in an episode's `ns`, and returns which grew
 * most. In a call that waited they may have been read long before it: no more than `ns`.
 * `is_starved`, while the buffer is full: then what no clock claims is the buffer's doing too. The
 * kernel's clock for it starts only if something is sent after the write was refused, and never in
 * slow start. */
static enum cause
grow(struct stream_cold *cold, struct stall_clocks now, bool is_starved, uint64_t ns)
{
	const struct stall_clocks *seen = &cold->stall_seen;
	uint64_t most = ns + JIFFY_NS, rest, grown[CAUSE_UNKNOWN] = { 0 };
	enum cause cause = CAUSE_UNKNOWN;

	grown[CAUSE_PEER] = least(count_less(now.rwnd_us, seen->rwnd_us) * 1000, most);
	most -= grown[CAUSE_PEER];
	grown[CAUSE_LOCAL] =
		least(count_less(now.sndbuf_us, seen->sndbuf_us) * 1000, most);
	most -= grown[CAUSE_LOCAL];
	rest = count_less(count_less(now.busy_us, seen->busy_us) * 1000,
			  grown[CAUSE_PEER] + grown[CAUSE_LOCAL]);
	grown[is_starved ? CAUSE_LOCAL : CAUSE_NETWORK] += least(rest, most);
	for (unsigned i = 0; i < CAUSE_UNKNOWN; i++) {
		cold->stall_grown_ns[i] += grown[i];
		if (grown[i] > (cause == CAUSE_UNKNOWN ? 0 : grown[cause]))
			cause = (enum cause)i;
	}
	cold->stall_seen = now;
	return cause;
}

static void
give(struct stream *s, enum cause cause, uint64_t ns)
{
	struct stream_cold *cold = stream_cold(s);

	cold->stall_given_ns[cause] += ns;
	count_add(&cold->stall_rec->rare[SENT].cause_ns[cause], ns);
}

/* Of `total` the time that no cause has yet. */
static uint64_t
open_ns(const struct stream_cold *cold, uint64_t total)
{
	for (int i = 0; i < NR_CAUSES; i++)
		total = count_less(total, cold->stall_given_ns[i]);
	return total;
}

/* Shares out what of `total`, the time of all episodes of the stream, has no cause yet: to those that
 * have less than the growth of their clocks makes theirs. Nothing is taken back. */
static void
share(struct stream *s, uint64_t total)
{
	struct stream_cold *cold = stream_cold(s);
	uint64_t lack[CAUSE_UNKNOWN], lacks = 0, grown = 0;
	uint64_t rest = open_ns(cold, total);

	if (!(relaxed(s->options) & OPTION_TCP)) {
		give(s, CAUSE_PEER, rest);
		return;
	}
	for (int i = 0; i < CAUSE_UNKNOWN; i++)
		grown += cold->stall_grown_ns[i];
	if (rest < JIFFY_NS || !grown)
		return;
	for (int i = 0; i < CAUSE_UNKNOWN; i++) {
		unsigned __int128 part = cold->stall_grown_ns[i];

		lack[i] = count_less((uint64_t)(part * total / grown),
				     cold->stall_given_ns[i]);
		lacks += lack[i];
	}
	for (int i = 0; lacks && i < CAUSE_UNKNOWN; i++)
		give(s, (enum cause)i,
		     (uint64_t)((unsigned __int128)rest * lack[i] / lacks));
}

/* With the figures claimed. The episode's time until `now_ns`, no more than the kernel was busy. */
static uint64_t
bring_up(struct stream *s, int64_t now_ns)
{
	struct stream_cold *cold = stream_cold(s);
	uint64_t ns = count_less((uint64_t)now_ns, (uint64_t)cold->stall_start_ns);
	enum cause cause = CAUSE_PEER;

	if (relaxed(s->options) & OPTION_TCP) {
		cause = grow(
			cold, clocks(s), cold->stall_seen.starved,
			count_less((uint64_t)now_ns, (uint64_t)cold->stall_seen_ns));
		ns = least(ns,
			   count_less(cold->stall_seen.busy_us, cold->stall_busy_us) *
					   1000 +
				   JIFFY_NS);
	}
	cold->stall_seen_ns = now_ns;
	ns = count_running(cold->stall_rec, ns);
	/* Looks may come closer together than the clocks grow: it is who it was. */
	if (cause != CAUSE_UNKNOWN)
		__atomic_store_n(&cold->stall_rec->blocked, (uint8_t)cause,
				 __ATOMIC_RELAXED);
	share(s, cold->stall_ns + ns);
	return ns;
}

/* If a write is still under way, only what it waits from now on is yet to be counted. */
static void
counted_until(struct record *rec, int64_t now_ns)
{
	int64_t since = __atomic_load_n(&rec->waiting_ns, __ATOMIC_RELAXED);

	if (since)
		__atomic_compare_exchange_n(&rec->waiting_ns, &since, now_ns, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* The stream is closed: what has no cause yet gets none. */
static void
wipe(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	uint64_t ns = open_ns(cold, cold->stall_ns);

	if (ns)
		give(s, CAUSE_UNKNOWN, ns);
	cold->stall_ns = 0;
	cold->stall_seen = (struct stall_clocks){ 0 };
	memset(cold->stall_grown_ns, 0, sizeof(cold->stall_grown_ns));
	memset(cold->stall_given_ns, 0, sizeof(cold->stall_given_ns));
}

/* Lets go of the figures, no episode running. */
static void
rest(struct stream *s)
{
	uint8_t seen = relaxed(s->stalled);

	do {
		if (seen == CLOSED)
			wipe(s);
	} while (!__atomic_compare_exchange_n(&s->stalled, &seen, QUIET, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

/* With the figures claimed. */
static void
finish(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	uint64_t ns = bring_up(s, sys_now_ns());

	__atomic_fetch_sub(&process->nr_stalled, 1, __ATOMIC_RELAXED);
	cold->stall_ns += ns;
	record_no_stall(cold->stall_rec);
	count_episode(ns);
	counted_until(cold->stall_rec, sys_now_ns());
	rest(s);
}

/* Lets go of a running episode's figures. */
static void
leave(struct stream *s)
{
	uint8_t shares = SHARES;

	if (!__atomic_compare_exchange_n(&s->stalled, &shares, RUNS, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		finish(s);
}

/* With the figures claimed: an episode runs since `start_ns`, in all of which the kernel was busy. */
static void
begin(struct stream *s, int64_t start_ns, int64_t now_ns)
{
	struct stream_cold *cold = stream_cold(s);
	struct record *rec = stream_record(s);

	__atomic_fetch_add(&process->nr_stalled, 1, __ATOMIC_RELAXED);
	cold->stall_rec = rec;
	cold->stall_start_ns = start_ns;
	cold->stall_seen_ns = now_ns;
	cold->stall_seen = clocks(s);
	cold->stall_busy_us = count_less(cold->stall_seen.busy_us,
					 (uint64_t)(now_ns - start_ns) / 1000);
	count_add(&rec->rare[SENT].stall_events, 1);
	__atomic_store_n(&rec->blocked,
			 relaxed(s->options) & OPTION_TCP ? CAUSE_UNKNOWN : CAUSE_PEER,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&rec->rare[SENT].stall_since_ns,
			 (uint64_t)cold->stall_start_ns, __ATOMIC_RELEASE);
	leave(s);
}

void
stall_begin(struct stream *s)
{
	int64_t now;

	if (!region_get() || relaxed(s->state) != STATE_OPEN || !claim(s, QUIET))
		return;
	now = sys_now_ns();
	begin(s, now, now);
}

void
stall_may_wait(struct stream *s, int64_t start_ns)
{
	__atomic_store_n(&stream_record(s)->waiting_ns, start_ns, __ATOMIC_RELAXED);
}

/* A write may be waiting. If it returns while we look, either it finds our claim, and we count it,
 * or we find it gone, and it counts itself. */
static void
look_waiting(struct stream *s)
{
	const int64_t *waiting = &stream_record(s)->waiting_ns;
	int64_t since = __atomic_load_n(waiting, __ATOMIC_RELAXED);
	uint8_t shares = SHARES;

	if (!since || !claim(s, QUIET))
		return;
	if (__atomic_load_n(waiting, __ATOMIC_SEQ_CST) == since ||
	    !__atomic_compare_exchange_n(&s->stalled, &shares, QUIET, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		begin(s, since, sys_now_ns());
}

void
stall_end(struct stream *s)
{
	uint8_t shares = SHARES;

	if (claim(s, RUNS))
		finish(s);
	else
		__atomic_compare_exchange_n(&s->stalled, &shares, ENDED, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void
stall_returned(struct stream *s, int64_t start_ns, int64_t end_ns, bool waited)
{
	struct stream_cold *cold = stream_cold(s);
	struct record *rec = stream_record(s);
	struct stall_clocks now;
	int64_t since = __atomic_exchange_n(&rec->waiting_ns, 0, __ATOMIC_SEQ_CST);
	uint64_t ns = count_less((uint64_t)end_ns, (uint64_t)since);

	if (relaxed(s->stalled)) {
		stall_end(s);
		return;
	}
	/* Looks may have counted most of it; and all of it another thread that waited here too. */
	if (!waited || !region_get() || !since || (since != start_ns && ns < JIFFY_NS))
		return;
	count_add(&rec->rare[SENT].stall_events, 1);
	count_add(&rec->rare[SENT].stall_ns, ns);
	count_episode(ns);
	if (!claim(s, QUIET))
		return;
	cold->stall_rec = rec;
	now = clocks(s); /* it has just filled the buffer again */
	grow(cold, now, now.starved, ns);
	cold->stall_ns += ns;
	share(s, cold->stall_ns);
	rest(s);
}

void
stall_close(struct stream *s)
{
	uint8_t was = __atomic_exchange_n(&s->stalled, CLOSED, __ATOMIC_ACQ_REL);

	if (was == RUNS)
		finish(s);
	else if (was == QUIET)
		rest(s);
}

static void
look_stalled(struct stream *s)
{
	if (!claim(s, RUNS))
		return;
	bring_up(s, sys_now_ns());
	leave(s);
}

void
stall_over(int fd)
{
	struct stream *s = stream_known(fd);

	if (s && relaxed(s->stalled))
		stall_end(s);
}

/* Bytes, and not only an end: a half-closed stream is readable for ever. */
static bool
unread(const struct pollfd *pfd)
{
	int n = 0;

	if (!(pfd->revents & POLLIN))
		return false;
	return !(pfd->revents & (POLLRDHUP | POLLHUP)) ||
	       sys_ioctl(pfd->fd, FIONREAD, &n) < 0 || n > 0;
}

/* Bytes that nobody has read since the look before have waited all the while between. A run of such
 * looks is one event. */
static void
look_unread(struct stream *s, bool unread, int64_t since_ns)
{
	struct stream_cold *cold = stream_cold(s);
	struct flow_rare *rare = &stream_record(s)->rare[RECEIVED];
	uint32_t reads = __atomic_load_n(&s->reads, __ATOMIC_RELAXED);
	bool waits = unread && since_ns && cold->looked && cold->look_reads == reads;

	if (waits && !cold->waits)
		count_add(&rare->stall_events, 1);
	if (waits)
		count_add(&rare->stall_ns, (uint64_t)since_ns);
	cold->waits = waits;
	cold->looked = 1;
	cold->look_reads = reads;
}

/* One look at the streams of this process. */
struct look {
	bool episodes; /* of running episodes only */
	int64_t since_ns;
	struct queue fullest;
};

static void
look_at(struct pollfd *pfd, unsigned nr, const struct look *look)
{
	struct stream *s;

	if (!nr || sys_poll(pfd, nr, 0) < 0)
		return;
	for (unsigned i = 0; i < nr; i++) {
		s = stream_known(pfd[i].fd);
		if (!s)
			continue;
		if (pfd[i].revents & (POLLOUT | POLLERR | POLLHUP))
			stall_over(pfd[i].fd);
		else if (relaxed(s->stalled))
			look_stalled(s);
		else
			look_waiting(s);
		if (!look->episodes)
			look_unread(s, unread(&pfd[i]), look->since_ns);
	}
}

/* Keeps the fullest of the listeners; of one, TCP_INFO says the queue and its limit. */
static void
look_listener(const struct stream *s, struct queue *fullest)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (relaxed(s->state) != STATE_LISTENING ||
	    !(relaxed(s->options) & OPTION_TCP) ||
	    sys_getsockopt(stream_fd(s), IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    info.tcpi_state != INFO_LISTEN)
		return;
	if (!fullest->limit || info.tcpi_unacked > fullest->length)
		*fullest = (struct queue){ info.tcpi_unacked, info.tcpi_sacked };
}

static bool
may_be_stalled(const struct stream *s)
{
	return relaxed(s->stalled) ||
	       __atomic_load_n(&stream_record(s)->waiting_ns, __ATOMIC_RELAXED);
}

/* Of a stream that another process has open as well, we speak only if we are the one that reads. */
static bool
to_be_looked_at(const struct stream *s, const struct look *look)
{
	return s && s->state == STATE_OPEN &&
	       (may_be_stalled(s) ||
		(!look->episodes && (relaxed(s->reads) || stream_private(s))));
}

static void
look_at_all(struct look *look)
{
	struct pollfd pfd[LOOK_AT_ONCE];
	struct stream *s;
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; relaxed(stream_leaf[i]) && j < 1 << LEAF_BITS; j++) {
			int fd = (int)(i << LEAF_BITS) + j;

			if (relaxed(number_kind[fd]) == KIND_SOCKET && !look->episodes)
				look_listener(&stream_leaf[i][j], &look->fullest);
			s = stream_known(fd);
			if (!to_be_looked_at(s, look))
				continue;
			pfd[nr++] = (struct pollfd){
				.fd = fd,
				.events = (short)(POLLIN | POLLRDHUP |
						  (may_be_stalled(s) ? POLLOUT : 0)),
			};
			if (nr == LOOK_AT_ONCE) {
				look_at(pfd, nr, look);
				nr = 0;
			}
		}
	look_at(pfd, nr, look);
}

void
stall_look(int64_t since_ns)
{
	struct look look = { .since_ns = since_ns };
	struct member *member = region_member();

	look_at_all(&look);
	__atomic_store_n(&member->accept_queue, look.fullest.length, __ATOMIC_RELAXED);
	__atomic_store_n(&member->accept_limit, look.fullest.limit, __ATOMIC_RELAXED);
}

void
stall_look_episodes(void)
{
	look_at_all(&(struct look){ .episodes = true });
}
