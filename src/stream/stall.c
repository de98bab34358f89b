#include "stream/stall.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* A scheduler tick, the step of the kernel's own clock, at HZ=250; and how many streams one look
 * asks about at a time. */
enum { JIFFY_NS = 4000000, LOOK_AT_ONCE = 256 };

/* How long the kernel has been busy sending, in microseconds; 0 where it cannot tell. */
static uint64_t
busy_us(const struct stream *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (!(s->options & OPTION_TCP) ||
	    sys_getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return 0;
	return info.tcpi_busy_time;
}

static void
count_episode(struct stream *s, uint64_t ns)
{
	struct flow_rare *rare = &stream_record(s)->rare[SENT];
	struct totals *totals = &region_get()->totals;

	count_add(&rare->stall_ns, ns);
	count_add(&totals->episode[bucket_ns(episode_bounds_ns, NR_EPISODE_BOUNDS, ns)],
		  1);
	count_add(&totals->episode_ns, ns);
}

void
stall_begin(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);

	if (!region_get() || s->state != STATE_OPEN ||
	    __atomic_exchange_n(&s->stalled, 1, __ATOMIC_ACQ_REL))
		return;
	__atomic_fetch_add(&process->nr_stalled, 1, __ATOMIC_RELAXED);
	cold->stall_start_ns = sys_now_ns();
	cold->stall_busy_us = busy_us(s);
	count_add(&stream_record(s)->rare[SENT].stall_events, 1);
	__atomic_store_n(&stream_record(s)->rare[SENT].stall_since_ns,
			 (uint64_t)cold->stall_start_ns, __ATOMIC_RELEASE);
}

void
stall_end(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	uint64_t ns, most;

	if (!__atomic_exchange_n(&s->stalled, 0, __ATOMIC_ACQ_REL))
		return;
	__atomic_fetch_sub(&process->nr_stalled, 1, __ATOMIC_RELAXED);
	ns = (uint64_t)(sys_now_ns() - cold->stall_start_ns);
	if (s->options & OPTION_TCP) {
		most = (busy_us(s) - cold->stall_busy_us) * 1000 + JIFFY_NS;
		if (ns > most)
			ns = most;
	}
	__atomic_store_n(&stream_record(s)->rare[SENT].stall_since_ns, 0,
			 __ATOMIC_RELEASE);
	count_episode(s, ns);
}

void
stall_waited(struct stream *s, int64_t start_ns, int64_t end_ns)
{
	if (!region_get())
		return;
	if (s->stalled) {
		stall_end(s);
		return;
	}
	count_add(&stream_record(s)->rare[SENT].stall_events, 1);
	count_episode(s, (uint64_t)(end_ns - start_ns));
}

void
stall_writable(int fd)
{
	struct stream *s = stream_known(fd);

	if (s && s->stalled)
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

static void
look_at(struct pollfd *pfd, unsigned nr, int64_t since_ns)
{
	struct stream *s;

	if (!nr || sys_poll(pfd, nr, 0) < 0)
		return;
	for (unsigned i = 0; i < nr; i++) {
		s = stream_known(pfd[i].fd);
		if (!s)
			continue;
		if (pfd[i].revents & (POLLOUT | POLLERR | POLLHUP))
			stall_writable(pfd[i].fd);
		look_unread(s, unread(&pfd[i]), since_ns);
	}
}

/* Of a stream that another process has open as well, we speak only if we are the one that reads. */
static bool
to_be_looked_at(const struct stream *s)
{
	return s && s->state == STATE_OPEN &&
	       (s->stalled || s->reads || stream_private(s));
}

void
stall_look(int64_t since_ns)
{
	struct pollfd pfd[LOOK_AT_ONCE];
	struct stream *s;
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; stream_leaf[i] && j < 1 << LEAF_BITS; j++) {
			s = stream_known((int)(i << LEAF_BITS) + j);
			if (!to_be_looked_at(s))
				continue;
			pfd[nr++] = (struct pollfd){
				.fd = s->fd,
				.events = (short)(POLLIN | POLLRDHUP |
						  (s->stalled ? POLLOUT : 0)),
			};
			if (nr == LOOK_AT_ONCE) {
				look_at(pfd, nr, since_ns);
				nr = 0;
			}
		}
	look_at(pfd, nr, since_ns);
}
