#ifndef WEIR_TESTS_ON_FAKE_H
#define WEIR_TESTS_ON_FAKE_H
/* on_fake: streams over the scripted kernel of fake_sys.h, driven as the entry points drive them.
 * Descriptor LISTENER is a listening socket; the streams of a test are accepted from it, or
 * connected. Included by the one source file of a test program, after cmocka.h. */
#include "base/config.h"
#include "count/holder.h"
#include "fake_sys.h"
#include "pool/pool.h"
#include "stream/flush.h"
#include "stream/keeper.h"
#include "stream/life.h"
#include "stream/reader.h"
#include "stream/share.h"
#include "stream/stall.h"
#include "stream/turn.h"
#include "stream/writer.h"
#include "waits/wait.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum {
	LISTENER = 3,
	A = 5,
	B = 6,
	C = 7,
	CHUNK = 32768,
	DELAY_US = 5000,
	MS = 1000000
};

static struct config settings;
static char big[4 * CHUNK];

/* Each test: an empty process of one thread, as after the constructor. */
static inline int
fresh(void **state)
{
	static bool once;

	(void)state;
	fake_reset();
	settings = (struct config){ .request_chunk = CHUNK,
				    .response_chunk = CHUNK,
				    .pool_max = 64 << 20,
				    .delay_us = DELAY_US,
				    .log_level = 1,
				    .enabled = true,
				    .pool_enabled = true };
	config = &settings;
	self = (struct self){ 0 };
	memset(process, 0, sizeof(*process));
	self_init();
	if (!once)
		life_init(NULL, NULL);
	once = true;
	stream_init();
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i * 7 % 26);
	return 0;
}

/* The number of chunks taken from the pool and not put back. */
static inline uint64_t
in_use(void)
{
	uint64_t nr = 0;

	for (int i = 0; i < NR_TIERS; i++)
		nr += region_member()->pool[i].in_use;
	return nr;
}

/* Ends the thread as pthread_exit would; no test may leave a chunk behind. */
static inline int
nothing_is_left(void **state)
{
	(void)state;
	process->gate = 0;
	for (int fd = 0; fd < FAKE_FDS; fd++) {
		stream_forget(fd);
		stream_made_plain(fd);
		stream_forget(fd);
	}
	turn_thread_end();
	keeper_stop(false);
	return in_use() ? -1 : 0;
}

static inline struct stream *
accepted(int fd, int domain)
{
	if (!fake.fd[LISTENER].open) {
		fake_socket(LISTENER, domain);
		stream_made_socket(LISTENER, domain, SOCK_STREAM, 0);
		stream_listening(LISTENER);
	}
	fake_socket(fd, domain);
	stream_accepted(fd, LISTENER, 0);
	assert_non_null(stream_known(fd));
	return stream_known(fd);
}

static inline void
nonblocking(struct stream *s)
{
	s->options |= OPTION_BLOCK_KNOWN | OPTION_NONBLOCK;
}

static inline ssize_t
app_send(struct stream *s, const void *bytes, size_t n, int flags)
{
	struct iovec iov = { (void *)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (!flags && writer_append(s, &iov, 1, n))
		return (ssize_t)n;
	if (writer_take(s, &iov, 1, flags, &r))
		return r;
	r = sys_sendmsg(s->fd, &msg, flags);
	writer_sent(s, n, r);
	return r;
}

static inline ssize_t
app_write(struct stream *s, const char *text)
{
	return app_send(s, text, strlen(text), 0);
}

static inline ssize_t
app_read(struct stream *s, char *buf, size_t n)
{
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	enum reading reading;
	ssize_t r;

	if (self.hot_read == s && borrow_take_hot(s->fd, buf, n))
		return (ssize_t)n;
	reading = reader_begin(s, &msg, n, 0, true, &r);
	if (reading == READ_SERVED)
		return r;
	if (reading != READ_MADE)
		r = sys_recvmsg(s->fd, &msg, 0);
	return reader_end(s, reading, n, false, r);
}

/* A request arrives and is read: a turn begins. */
static inline void
request(struct stream *s)
{
	char buf[64];

	fake_arrive(&fake.fd[s->fd], "request", 7);
	assert_int_equal(app_read(s, buf, sizeof(buf)), 7);
}

static inline void
assert_sent(int fd, const char *all)
{
	const struct fake_fd *f = &fake.fd[fd];

	if (f->nr_sent != strlen(all) || memcmp(f->sent, all, f->nr_sent) != 0)
		fail_msg("sent \"%.*s\", not \"%s\"", (int)f->nr_sent,
			 f->sent ? f->sent : "", all);
}

static inline void
assert_held(const struct stream *s, uint32_t n)
{
	assert_int_equal(stream_held(s), n);
}

/* Something is held on the stream: the second piece of a turn. If it is a turn's first, "1" has
 * left before it. */
static inline void
hold(struct stream *s, const char *text)
{
	uint32_t before = stream_held(s);

	if (!before && !s->nr_writes)
		assert_int_equal(app_write(s, "1"), 1);
	assert_int_equal(app_write(s, text), (ssize_t)strlen(text));
	assert_held(s, before + (uint32_t)strlen(text));
}

static inline uint64_t
flushes(const struct stream *s, enum flush_reason reason)
{
	return s->rec->rare[SENT].flushes[reason] -
	       s->rec->rare_at_open[SENT].flushes[reason];
}
#endif
