/* Are reads sound that are served from what was read ahead, whoever interrupts them?
 *
 * Round after round, over a TCP connection or a socket pair: the peer sends numbered records, and the
 * owner thread reads them one at a time through the calls that the entry points make. A second
 * thread reads now and then, a third settles as the keeper does, and a storm of two signals
 * hits the owner. Each handler reads a record of its own from the same socket, and (but for the
 * first rounds) leaves one time in four by siglongjmp, as the hooked longjmp does. The owner
 * and its handlers also write a byte to the same stream now and then.
 *
 * Each record must come whole and once, and each call's be later than those of all calls that had
 * returned, in whatever thread, when it began. None may be missing but those of calls that were
 * left by a jump, one each. The bytes written must all come, but for those of such calls.
 *
 * Usage: read_stress [seconds] [seed], as section_stress. Exit status 0 sound, 1 broken. */
#include "stream/flush.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "stress.h"
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 8192, NR_SEQ = 1 << 19, BATCH = 200, AHEAD = 1500 };
enum { ROUND_MS = 60 };

struct record_read {
	uint32_t nr, again; /* again: the same, mixed */
};

static struct stream *stream;
static int fd, peer;
static bool stop, second_reads;

static uint8_t came[NR_SEQ];
static uint32_t fed;  /* records the peer has sent */
static uint32_t last; /* the latest that a call has returned */

static sigjmp_buf back;
static volatile bool may_jump;
static __thread volatile bool native; /* a native read is under way */
static volatile int reading;      /* calls of the owner and its handlers under way */
static volatile uint32_t nr_left; /* calls of this round that were left by a jump */
static uint64_t written, wrote, answered;
static unsigned long jumps, handled, records, served;

static uint32_t
mixed(uint32_t nr)
{
	return nr * UINT32_C(2654435761) ^ UINT32_C(0x5bd1e995);
}

/* ---- reading ---- */

/* As the entry points do it. */
static ssize_t
read_native(void *buf, size_t n, int flags)
{
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r = sys_recvmsg(fd, &msg, flags);

	return r;
}

static ssize_t
read_slow(void *buf, size_t n, int flags)
{
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	enum reading how;
	ssize_t r;

	how = reader_begin(stream, &msg, n, flags, true, &r);
	native = how != READ_SERVED;
	if (!native) {
		__atomic_fetch_add(&served, 1, __ATOMIC_RELAXED);
		return r;
	}
	if (how != READ_MADE)
		r = read_native(buf, n, flags);
	r = reader_end(stream, how, n, false, r);
	native = false;
	return r;
}

static ssize_t
read_some(void *buf, size_t n, int flags)
{
	ssize_t r;

	if (!flags && borrow_take_hot(fd, buf, n))
		return (ssize_t)n;
	if (flags || !reader_plain(stream, n, flags))
		return read_slow(buf, n, flags);
	native = true;
	reader_enter(stream);
	r = read_native(buf, n, 0);
	if (r <= 0) {
		r = reader_end(stream, READ_NATIVE, n, false, r);
	} else {
		reader_leave(stream);
		reader_moved(stream, n, (size_t)r);
	}
	native = false;
	return r;
}

/* False: the end. */
static bool
read_record(int flags)
{
	struct record_read rec;
	uint32_t before = __atomic_load_n(&last, __ATOMIC_SEQ_CST), now;
	ssize_t r;

	do
		r = read_some(&rec, sizeof(rec), flags);
	while (r == -EINTR && !relaxed(stop));
	if (r == 0)
		return false;
	if (r == -EAGAIN || r == -EINTR)
		return true;
	if (r != sizeof(rec))
		stress_broken("a read returned %zd", r);
	if (rec.again != mixed(rec.nr) || rec.nr == 0 || rec.nr >= NR_SEQ)
		stress_broken("torn: number %u, after %u", rec.nr, before);
	if (__atomic_exchange_n(&came[rec.nr], 1, __ATOMIC_SEQ_CST))
		stress_broken("%u came twice, after %u", rec.nr, before);
	if (rec.nr <= before)
		stress_broken("%u after %u", rec.nr, before);
	now = __atomic_load_n(&last, __ATOMIC_SEQ_CST);
	while (now < rec.nr &&
	       !__atomic_compare_exchange_n(&last, &now, rec.nr, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return true;
}

static bool
read_counted(int flags)
{
	bool more;

	reading++;
	more = read_record(flags);
	reading--;
	return more;
}

/* ---- writing ---- */

static void
write_byte(void)
{
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	__atomic_fetch_add(&written, 1, __ATOMIC_RELAXED);
	if (!writer_append(stream, &iov, 1, 1)) {
		do {
			if (writer_take(stream, &iov, 1, 0, &r))
				continue;
			r = sys_sendmsg(fd, &msg, MSG_NOSIGNAL);
			writer_sent(stream, 1, r);
		} while (r == -EINTR);
		if (r != 1)
			stress_broken("a write returned %zd", r);
	}
	__atomic_fetch_add(&wrote, 1, __ATOMIC_RELAXED);
}

/* ---- the threads ---- */

static void
handler(int sig)
{
	bool was_native = native;

	if (sig == SIGUSR1 || handled % 3)
		read_counted(MSG_DONTWAIT);
	else
		write_byte();
	native = was_native;
	handled++;
	/* A native read that is left counts as under way for ever, and would end the reading ahead. */
	if (!may_jump || was_native || stress_round < QUIET_ROUNDS || handled % 4)
		return;
	nr_left += (uint32_t)reading;
	reading = 0;
	jumps++;
	stress_jumps();
	siglongjmp(back, 1);
}

static void
own(unsigned seed, int64_t until)
{
	static unsigned random;
	static volatile int64_t end;

	random = seed;
	end = until;
	(void)sigsetjmp(back, 1);
	may_jump = true;
	while (sys_now_ns() < end && relaxed(last) < NR_SEQ - 2 * AHEAD) {
		for (int i = 0; i < 16; i++) {
			read_counted(0);
			if (rand_r(&random) % 32 == 0)
				write_byte();
		}
		if (rand_r(&random) % 64 == 0) {
			turn_flush();
			turn_slept();
		}
	}
	may_jump = false;
}

/* The owner is to have a processor. */
static void
pause_some(unsigned *random)
{
	struct timespec some = { .tv_nsec = rand_r(random) % 20000 };

	nanosleep(&some, NULL);
}

static void *
second(void *unused)
{
	unsigned random = 1;

	self_enter();
	while (!relaxed(stop)) {
		if (second_reads)
			for (int i = rand_r(&random) % 20; i > 0; i--)
				read_record(MSG_DONTWAIT);
		pause_some(&random);
	}
	return unused;
}

static void *
settler(void *unused)
{
	unsigned random = 2;

	self_enter();
	while (!relaxed(stop)) {
		borrow_settle(stream);
		if (rand_r(&random) % 8 == 0)
			stream_flush(stream, FLUSH_DELAY);
		pause_some(&random);
	}
	return unused;
}

/* Never so many records that a full buffer cuts one. Also takes what is written. */
static void *
feeder(void *unused)
{
	struct record_read batch[BATCH];
	unsigned random = 4;
	char buf[4096];
	ssize_t r;

	while (!relaxed(stop) && fed < NR_SEQ - BATCH - 1) {
		uint32_t nr = 1 + (uint32_t)rand_r(&random) % BATCH;

		r = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);
		answered += r > 0 ? (uint64_t)r : 0;
		if (fed - __atomic_load_n(&last, __ATOMIC_RELAXED) > AHEAD) {
			sched_yield();
			continue;
		}
		for (uint32_t i = 0; i < nr; i++)
			batch[i] =
				(struct record_read){ fed + i + 1, mixed(fed + i + 1) };
		r = send(peer, batch, nr * sizeof(*batch), 0);
		if (r != (ssize_t)(nr * sizeof(*batch)))
			stress_fail("feeding");
		fed += nr;
	}
	return unused;
}

/* ---- a round ---- */

static void
begin(void)
{
	stress_connect(stress_round % 2, &fd, &peer);
	stream = stream_known(fd);
	memset(came, 0, sizeof(came));
	fed = last = nr_left = 0;
	written = wrote = answered = 0;
	reading = 0;
	second_reads = stress_round % 4 > 1;
	relaxed_set(stop, false);
}

static void
nothing_missing(void)
{
	uint32_t missing = 0, nr = 1;

	for (; nr <= fed; nr++)
		missing += !came[nr];
	if (missing > nr_left)
		stress_broken("%u records lost, %u calls were left", missing, nr_left);
	if (answered < wrote || answered > written)
		stress_broken("%lu to %lu were written, %lu came", (unsigned long)wrote,
			      (unsigned long)written, (unsigned long)answered);
	records += fed;
}

/* What is borrowed at the end of a stream, by the counts: nothing. */
static int64_t
unsettled(const struct record *rec)
{
	const struct flow *now = &rec->flow[RECEIVED];
	const struct flow *then = &rec->flow_at_open[RECEIVED];

	return (int64_t)(now->app_bytes + now->held_bytes - now->kernel_bytes) -
	       (int64_t)(then->app_bytes + then->held_bytes - then->kernel_bytes);
}

static void
take_rest(void)
{
	char buf[4096];
	ssize_t r;

	while (read_record(0))
		;
	stress_close(fd);
	while ((r = recv(peer, buf, sizeof(buf), 0)) > 0)
		answered += (uint64_t)r;
	close(peer);
}

static bool
one_round(unsigned seed)
{
	struct storm storm = { &stop, 40000 };
	void *(*const body[])(void *) = { feeder, second, settler, stress_storm };
	pthread_t thread[4];
	struct record *rec;

	begin();
	rec = stream->rec;
	stress_block(SIG_BLOCK);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&thread[i], NULL, body[i], i == 3 ? &storm : NULL))
			stress_fail("pthread_create");
	stress_block(SIG_UNBLOCK);
	own(seed, sys_now_ns() + ROUND_MS * STRESS_MS);
	stress_block(SIG_BLOCK);
	relaxed_set(stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	shutdown(peer, SHUT_WR);
	stress_block(SIG_UNBLOCK); /* what is pending comes here */
	take_rest();
	nothing_missing();
	if (stream->nr_readers) /* left by a jump all the same: this number borrows no more */
		dup2(0, fd);
	return unsettled(rec) != 0;
}

/* As in section_stress; here the owner does little else than to take chunks and give them back. */
enum { JUMPS_A_CHUNK = 50 };

int
main(int argc, char **argv)
{
	unsigned seed;
	double seconds = stress_seconds(argc, argv, &seed);
	unsigned long wrong;

	stress_set_up(CHUNK, handler);
	wrong = stress_rounds(seconds, seed, one_round);
	printf("# %lu rounds, %lu records, %lu served by the slow way, %lu handled, "
	       "%lu jumps; %lu chunks lost, counts off in %lu rounds\n",
	       stress_round, records, served, handled, jumps,
	       (unsigned long)stress_chunks(), wrong);
	stress_bound_chunks(jumps, JUMPS_A_CHUNK);
	return 0;
}
