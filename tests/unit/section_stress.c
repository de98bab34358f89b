/* Is the way a signal handler settles an interrupted section sound?  (stream/section.h)
 *
 * Round after round, over a socket pair or a TCP connection: an owner thread writes records, a
 * second thread writes its own, a third flushes as the keeper does, and a storm of two
 * signals hits the owner. Each handler writes a record of its own to the same stream
 * through the same calls, and (but for the first rounds) leaves one time in four by
 * siglongjmp, as the hooked longjmp does. The peer checks that each record comes whole, at
 * most once and in its writer's order, that a handler's record has not overtaken what
 * earlier calls left held, and at the end that none is missing whose call returned. The
 * owner and its handlers also write single bytes to a stream aside, so that a handler
 * turns to another stream than the one it interrupted; there the bytes are counted.
 *
 * Usage: section_stress [seconds] [seed] (stress.h). Exit status 0 sound, 1 broken. */
#include "stream/flush.h"
#include "stream/turn.h"
#include "stream/writer.h"
#include "stress.h"
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { OWNER, SECOND, FIRST_HANDLER, SECOND_HANDLER, NR_WRITERS };
/* Held and own bytes of one flight fit into one buffer of an AF_UNIX socket: a send of more may be
 * mixed with another thread's by the kernel itself. */
enum { CHUNK = 8192, MOST = 12000, HEAD = 24, NR_SEQ = 1 << 18 };
enum { ROUND_MS = 60 };

struct head {
	uint32_t len, writer;
	uint32_t seq, seen; /* seen: the owner's last record whose call had returned */
	uint64_t sum;
};
_Static_assert(sizeof(struct head) == HEAD, "no padding");

static struct stream *stream;
static int fd, peer;
static struct stream *aside;
static int aside_fd, aside_peer;
static uint64_t aside_begun, aside_done, aside_came;
static int window;
static bool stop;

/* By writer and number: what became of a record. */
static uint8_t came[NR_WRITERS][NR_SEQ], unsure[NR_WRITERS][NR_SEQ];
static volatile uint32_t seq[NR_WRITERS];
static uint32_t returned;
static volatile bool busy[NR_WRITERS];

static sigjmp_buf back;
static volatile bool may_jump;
static unsigned long jumps, handled, records;

static uint64_t
sum_of(const struct head *h)
{
	return (h->len * UINT64_C(0x9e3779b97f4a7c15)) ^
	       ((uint64_t)h->seq << 32 | h->seen) * UINT64_C(0xff51afd7ed558ccd) ^
	       h->writer;
}

static uint8_t
filler(const struct head *h, uint32_t i)
{
	return (uint8_t)(h->seq * 31 + h->writer * 7 + i);
}

/* ---- writing ---- */

/* As the entry points do it. */
static void
write_whole(struct stream *s, const char *buf, size_t n)
{
	struct iovec iov = { (void *)buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (writer_append(s, &iov, 1, n))
		return;
	do {
		if (writer_take(s, &iov, 1, 0, &r))
			continue;
		r = sys_sendmsg(s->fd, &msg, MSG_NOSIGNAL);
		writer_sent(s, n, r);
	} while (r == -EINTR); /* it had to wait for the peer */
	if (r != (ssize_t)n)
		stress_broken("a write of %zu returned %zd", n, r);
}

static void
write_aside(void)
{
	/* Atomic because a handler may come in the middle of an addition. */
	__atomic_fetch_add(&aside_begun, 1, __ATOMIC_RELAXED);
	write_whole(aside, "x", 1);
	__atomic_fetch_add(&aside_done, 1, __ATOMIC_RELAXED);
}

static void
write_record(unsigned writer, uint32_t len, char *buf)
{
	struct head h = { .len = len, .writer = writer, .seen = relaxed(returned) };

	busy[writer] = true;
	h.seq = ++seq[writer];
	h.sum = sum_of(&h);
	memcpy(buf, &h, HEAD);
	for (uint32_t i = HEAD; i < len; i++)
		buf[i] = (char)filler(&h, i);
	write_whole(stream, buf, len);
	busy[writer] = false;
}

/* So that no native call has to wait for room: the kernel then lets another thread's bytes in. */
static void
wait_for_peer(void)
{
	int queued;

	while (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > window)
		sched_yield();
}

static uint32_t
length(unsigned *random)
{
	int kind = rand_r(random) % 400;

	if (kind == 0)
		return MOST;
	if (kind < 6)
		return 1000 + (uint32_t)rand_r(random) % 9000;
	return HEAD + (uint32_t)rand_r(random) % 100;
}

static void
handler(int sig)
{
	unsigned me = sig == SIGUSR1 ? FIRST_HANDLER : SECOND_HANDLER;
	char buf[200];

	if (seq[me] >= NR_SEQ - 1)
		return;
	if (seq[me] % 3 == 0)
		write_aside();
	write_record(me, HEAD + seq[me] % 150, buf);
	handled++;
	if (!may_jump || stress_round < QUIET_ROUNDS || handled % 4)
		return;
	for (unsigned w = 0; w < NR_WRITERS; w++)
		if (w != SECOND && busy[w]) {
			unsure[w][seq[w]] = 1;
			busy[w] = false;
		}
	jumps++;
	stress_jumps();
	siglongjmp(back, 1);
}

static void
own(unsigned seed, int64_t until)
{
	static char buf[MOST];
	static unsigned random;
	static volatile int64_t end;

	random = seed;
	end = until;
	(void)sigsetjmp(back, 1);
	may_jump = true;
	while (sys_now_ns() < end && seq[OWNER] < NR_SEQ - 1) {
		for (int i = 0; i < 16; i++) {
			write_record(OWNER, length(&random), buf);
			relaxed_set(returned, seq[OWNER]);
			if (i % 4 == 0)
				write_aside();
		}
		/* A sleep now and then, for turns end. */
		if (rand_r(&random) % 32 == 0) {
			turn_flush();
			turn_slept();
		}
		wait_for_peer();
	}
	may_jump = false;
}

static void *
second(void *unused)
{
	unsigned random = 1;
	char buf[MOST];

	(void)unused;
	self_enter();
	while (!relaxed(stop) && seq[SECOND] < NR_SEQ - 1) {
		write_record(SECOND, length(&random), buf);
		wait_for_peer();
		for (int i = rand_r(&random) % 64; i > 0; i--)
			sched_yield();
	}
	return NULL;
}

static void *
flusher(void *unused)
{
	unsigned random = 2;

	(void)unused;
	self_enter();
	while (!relaxed(stop)) {
		stream_flush(stream, FLUSH_DELAY);
		for (volatile int i = rand_r(&random) % 4000; i > 0; i--)
			;
	}
	return NULL;
}

/* ---- the peer ---- */

static bool
read_whole(char *buf, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t r = recv(peer, buf + have, n - have, 0);

		if (r == 0 && have == 0)
			return false;
		if (r <= 0)
			stress_broken("end in the middle of a record");
		have += (size_t)r;
	}
	return true;
}

static void *
reader(void *unused)
{
	uint32_t last[NR_WRITERS] = { 0 };
	char buf[MOST];
	struct head h;

	while (read_whole((char *)&h, HEAD)) {
		if (h.writer >= NR_WRITERS || h.len < HEAD || h.len > MOST ||
		    h.sum != sum_of(&h))
			stress_broken("torn: writer %u, number %u", h.writer, h.seq);
		if (h.len > HEAD && !read_whole(buf + HEAD, h.len - HEAD))
			stress_broken("cut: writer %u, number %u", h.writer, h.seq);
		for (uint32_t i = HEAD; i < h.len; i++)
			if ((uint8_t)buf[i] != filler(&h, i))
				stress_broken("torn: writer %u, number %u at %u",
					      h.writer, h.seq, i);
		if (h.seq <= last[h.writer])
			stress_broken("writer %u: %u after %u", h.writer, h.seq,
				      last[h.writer]);
		if (h.writer >= FIRST_HANDLER && h.seen > last[OWNER])
			stress_broken("a handler's record overtook %u, after %u",
				      h.seen, last[OWNER]);
		last[h.writer] = h.seq;
		came[h.writer][h.seq] = 1;
		records++;
	}
	return unused;
}

static void *
aside_reader(void *unused)
{
	char buf[4096];
	ssize_t r;

	while ((r = recv(aside_peer, buf, sizeof(buf), 0)) > 0)
		aside_came += (uint64_t)r;
	return unused;
}

/* ---- a round ---- */

static void
begin(void)
{
	int size = 1 << 20;
	socklen_t len = sizeof(size);

	stress_connect(stress_round % 2, &fd, &peer);
	stress_connect(false, &aside_fd, &aside_peer);
	stream = stream_known(fd);
	aside = stream_known(aside_fd);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len);
	window = size / 32;
	memset(came, 0, sizeof(came));
	memset(unsure, 0, sizeof(unsure));
	memset((void *)seq, 0, sizeof(seq));
	returned = 0;
	aside_begun = aside_done = aside_came = 0;
	relaxed_set(stop, false);
}

/* Of all streams, since the first round. */
static unsigned long
discarded(void)
{
	uint64_t nr = 0;

	for (int i = 0; i < NR_DISCARDS; i++)
		nr += region_get()->totals.discarded[i];
	return nr;
}

static void
nothing_missing(void)
{
	for (unsigned w = 0; w < NR_WRITERS; w++)
		for (uint32_t q = 1; q <= seq[w]; q++)
			if (!came[w][q] && !unsure[w][q])
				stress_broken("lost: writer %u, number %u of %u", w, q,
					      seq[w]);
	if (aside_came < aside_done || aside_came > aside_begun)
		stress_broken("aside: %lu to %lu were written, %lu came, %lu discarded",
			      (unsigned long)aside_done, (unsigned long)aside_begun,
			      (unsigned long)aside_came, discarded());
}

/* Bytes that the counts say are still held, of a stream that was closed. */
static int64_t
pending(const struct record *rec)
{
	const struct flow *now = &rec->flow[SENT], *then = &rec->flow_at_open[SENT];

	return (int64_t)(now->app_bytes + now->held_bytes - now->kernel_bytes -
			 now->discarded) -
	       (int64_t)(then->app_bytes + then->held_bytes - then->kernel_bytes -
			 then->discarded);
}

static bool
one_round(unsigned seed)
{
	struct storm storm = { &stop, 40000 };
	void *(*const body[])(void *) = { reader, aside_reader, second, flusher,
					  stress_storm };
	pthread_t thread[5];
	struct record *rec;

	begin();
	rec = stream->rec;
	stress_block(SIG_BLOCK);
	for (int i = 0; i < 5; i++)
		if (pthread_create(&thread[i], NULL, body[i], i == 4 ? &storm : NULL))
			stress_fail("pthread_create");
	stress_block(SIG_UNBLOCK);
	own(seed, sys_now_ns() + ROUND_MS * STRESS_MS);
	stress_block(SIG_BLOCK);
	relaxed_set(stop, true);
	for (int i = 2; i < 5; i++)
		pthread_join(thread[i], NULL);
	stress_block(SIG_UNBLOCK); /* what is pending now comes here */
	stress_close(fd);
	stress_close(aside_fd);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	close(peer);
	close(aside_peer);
	nothing_missing();
	return pending(rec) != 0;
}

/* A jump may lose the chunk that a section it leaves has in hand (stream/section.h), which is so for a
 * few instructions of it: measured, one in some thousand jumps. */
enum { JUMPS_A_CHUNK = 500 };

int
main(int argc, char **argv)
{
	unsigned seed;
	double seconds = stress_seconds(argc, argv, &seed);
	unsigned long wrong;

	stress_set_up(CHUNK, handler);
	wrong = stress_rounds(seconds, seed, one_round);
	printf("# %lu rounds, %lu records, %lu handled, %lu jumps; "
	       "%lu chunks lost, counts off in %lu rounds\n",
	       stress_round, records, handled, jumps, (unsigned long)stress_chunks(),
	       wrong);
	stress_bound_chunks(jumps, JUMPS_A_CHUNK);
	return 0;
}
