/* stream/borrow and stream/reader: which reads are served from a borrow, and what ends one. The
 * kernel's queue of a fake socket is `arrived`: what is borrowed stays in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

static void
arrive(struct stream *s, const char *text)
{
	fake_arrive(&fake.fd[s->fd], text, strlen(text));
}

static size_t
in_kernel(const struct stream *s)
{
	return fake.fd[s->fd].nr_arrived;
}

/* Reads `n` bytes, which are those of `text`. */
static void
assert_read(struct stream *s, const char *text, size_t n)
{
	char buf[256] = "";

	assert_int_equal(app_read(s, buf, n), (ssize_t)n);
	assert_memory_equal(buf, text, n);
}

static unsigned
calls(void)
{
	return fake.calls[FAKE_RECVMSG];
}

/* The alphabet has arrived, four bytes of it were read natively and four are served. */
static struct stream *
borrowing(int fd, int domain)
{
	struct stream *s = accepted(fd, domain);

	nonblocking(s);
	arrive(s, alphabet);
	assert_read(s, "abcd", 4);
	assert_false(stream_borrowed(s));
	assert_read(s, "efgh", 4);
	assert_true(stream_borrowed(s));
	return s;
}

static void
small_reads_after_a_filled_one_are_served(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	unsigned before = calls();

	(void)state;
	assert_read(s, "ijkl", 4);
	assert_read(s, "m", 1);
	assert_read(s, "nopqrst", 7);
	assert_int_equal(calls(), before);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 4);
}

/* The stream is still listed with the thread then, but nothing would have to leave before a sleep. */
static void
after_a_borrow_that_was_used_up_no_call_is_made_in_vain(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	unsigned before;
	char buf[4];

	(void)state;
	arrive(s, "abcdefghijkl");
	assert_read(s, "abcd", 4);
	assert_read(s, "efgh", 4);
	assert_read(s, "ijkl", 4);
	assert_false(stream_borrowed(s));
	assert_true(turn_owes());
	before = calls();
	assert_int_equal(app_read(s, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(calls(), before + 1); /* the native one */
	assert_false(turn_owes());
}

static void
a_read_that_did_not_fill_its_buffer_borrows_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[64];

	(void)state;
	arrive(s, "abc");
	assert_int_equal(app_read(s, buf, sizeof(buf)), 3);
	arrive(s, alphabet);
	assert_read(s, "abcd", 4);
	assert_false(stream_borrowed(s));
}

static void
a_large_read_borrows_nothing(void **state)
{
	static char buf[CHUNK / 8];
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	fake_arrive(&fake.fd[A], big, sizeof(big));
	assert_int_equal(app_read(s, buf, sizeof(buf)), CHUNK / 8);
	assert_int_equal(app_read(s, buf, 4), 4);
	assert_int_equal(app_read(s, buf, sizeof(buf)), CHUNK / 8);
	assert_null(s->borrow);
}

static void
a_borrow_that_is_used_up_is_settled_at_once(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	assert_read(s, alphabet + 8, sizeof(alphabet) - 1 - 8);
	assert_int_equal(in_kernel(s), 0);
	assert_null(s->borrow);
}

static void
settle_takes_what_was_given(struct stream *s)
{
	assert_read(s, "ijkl", 4);
	borrow_settle(s);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 12);
	assert_memory_equal(fake.fd[A].arrived, "mnop", 4);
	assert_null(s->borrow);
	assert_read(s, "mnop", 4);
}

static void
settling_takes_what_was_given(void **state)
{
	(void)state;
	settle_takes_what_was_given(borrowing(A, AF_INET));
}

static void
settling_takes_what_was_given_on_unix(void **state)
{
	(void)state;
	settle_takes_what_was_given(borrowing(A, AF_UNIX));
}

static void
results_are_never_joined(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	char buf[64];

	(void)state;
	arrive(s, "more");
	/* 28 bytes are borrowed, 32 are there: one native call with the whole buffer. */
	assert_int_equal(app_read(s, buf, sizeof(buf)), sizeof(alphabet) - 1 - 8 + 4);
	assert_memory_equal(buf, "ijkl", 4);
	assert_int_equal(in_kernel(s), 0);
}

static void
a_sleep_settles(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	assert_true(turn_owes());
	turn_flush();
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
	assert_null(s->borrow);
	assert_false(turn_owes());
}

static void
a_look_settles_what_is_older_than_half_the_delay(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	fake.now_ns += DELAY_US * 400;
	turn_overdue();
	assert_true(stream_borrowed(s));
	fake.now_ns += DELAY_US * 200;
	turn_overdue();
	assert_false(stream_borrowed(s));
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
}

static void
quiescing_settles(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	life_quiesce(A, FLUSH_ORDER);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
	life_quiesce_all(FLUSH_SHARE);
	assert_null(s->borrow);
}

static void
nothing_is_borrowed_while_the_gate_is_shut(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	arrive(s, alphabet);
	assert_read(s, "abcd", 4);
	life_shut(FLUSH_SHARE);
	assert_read(s, "efgh", 4);
	assert_false(stream_borrowed(s));
	life_open();
	assert_read(s, "ijkl", 4);
	assert_true(stream_borrowed(s));
}

static void
nothing_is_borrowed_of_what_others_may_read(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	arrive(s, alphabet);
	assert_read(s, "abcd", 4);
	s->nr_readers++; /* another thread is inside a native read */
	assert_read(s, "efgh", 4);
	assert_false(stream_borrowed(s));
	s->nr_readers--;
	s->options |= OPTION_RCVLOWAT;
	assert_read(s, "ijkl", 4);
	assert_false(stream_borrowed(s));
	s->options &= (uint8_t)~OPTION_RCVLOWAT;
	life_fork_begin();
	life_fork_parent(77);
	assert_read(s, "mnop", 4);
	assert_false(stream_borrowed(s));
}

static void
a_native_read_begins_with_nothing_borrowed(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	reader_enter(s);
	assert_false(stream_borrowed(s));
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
	reader_leave(s);
}

static void
urgent_data_ends_reading_ahead(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	uint64_t before = region_get()->totals.bypassed[BYPASS_URGENT];

	(void)state;
	stream_bypass_reads(A, BYPASS_URGENT);
	stream_bypass_reads(A, BYPASS_URGENT);
	assert_int_equal(region_get()->totals.bypassed[BYPASS_URGENT], before + 1);
	assert_int_equal(s->mode, MODE_MANAGED);
	assert_read(s, "ijkl", 4);
	assert_read(s, "mnop", 4);
	assert_false(stream_borrowed(s));
}

/* One borrow that serves two reads: the peek's own, and what is left. */
static void
poor_borrow(struct stream *s)
{
	arrive(s, "abcd");
	assert_read(s, "ab", 2);
	assert_true(stream_borrowed(s));
	assert_read(s, "cd", 2);
	assert_false(stream_borrowed(s));
}

static void
what_does_not_pay_is_tried_more_and_more_seldom(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	arrive(s, "abcd");
	assert_read(s, "abcd", 4);
	poor_borrow(s);
	for (unsigned native = 4; native <= 4096; native *= 2) {
		for (unsigned i = 0; i < native; i++) {
			arrive(s, "xyz");
			assert_read(s, "x", 1);
			assert_false(stream_borrowed(s));
			fake.fd[A].nr_arrived = 0;
		}
		poor_borrow(s);
	}
	assert_int_equal(s->skip, 4096);
}

static void
what_pays_is_tried_again_at_once(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	arrive(s, "abcd");
	assert_read(s, "abcd", 4);
	poor_borrow(s);
	s->skip = 0;
	arrive(s, "abcdefgh");
	for (int i = 0; i < 4; i++)
		assert_read(s, &alphabet[2 * i], 2);
	assert_false(stream_borrowed(s));
	arrive(s, "abcd");
	assert_read(s, "ab", 2);
	assert_true(stream_borrowed(s));
}

static void
a_peek_is_answered_and_takes_nothing(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	char buf[16];
	struct iovec iov = { buf, 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned before = calls();
	ssize_t r;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(reader_begin(s, &msg, 4, MSG_PEEK, true, &r),
				 READ_SERVED);
		assert_int_equal(r, 4);
		assert_memory_equal(buf, "ijkl", 4);
	}
	assert_int_equal(calls(), before);
	assert_read(s, "ijkl", 4);
}

static void
a_peek_for_more_gets_all_that_is_there(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	char buf[64];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	(void)state;
	arrive(s, "more");
	assert_int_equal(reader_begin(s, &msg, sizeof(buf), MSG_PEEK, true, &r),
			 READ_SERVED);
	assert_int_equal(r, sizeof(alphabet) - 1 - 8 + 4);
	assert_memory_equal(buf + r - 8, "6789more", 8);
	assert_read(s, "ijklmnop", 8);
	borrow_settle(s);
	assert_memory_equal(fake.fd[A].arrived, "qrst", 4);
}

static struct stream *
read_dry(void)
{
	struct stream *s = accepted(A, AF_INET);

	nonblocking(s);
	arrive(s, "abcd");
	assert_read(s, "abcd", 4);
	fake.calls[FAKE_RECVMSG] = 0;
	return s;
}

static void
an_error_that_the_peek_took_is_the_answer(void **state)
{
	struct stream *s = read_dry();
	char buf[4];

	(void)state;
	fake_fail(FAKE_RECVMSG, 1, ECONNRESET);
	assert_int_equal(app_read(s, buf, 4), -ECONNRESET);
	assert_int_equal(calls(), 1);
	assert_null(s->borrow);
}

/* An urgent byte at the head of the queue is taken off by the read that skips it, by a peek it is not:
 * the peer of a server that closes then got a reset where it should have got an end. */
static void
a_peek_that_finds_nothing_is_no_answer(void **state)
{
	struct stream *s = read_dry();
	char buf[4];

	(void)state;
	assert_int_equal(app_read(s, buf, 4), -EAGAIN);
	assert_int_equal(calls(), 2);
	fake.fd[A].eof = true;
	assert_int_equal(app_read(s, buf, 4), 0);
	assert_int_equal(calls(), 4);
	assert_null(s->borrow);
}

/* What it leaves in the queue would be read twice. */
static void
a_settle_that_is_refused_is_asked_again(void **state)
{
	(void)state;
	for (int domain = 0; domain < 2; domain++) {
		struct stream *s = borrowing(A + domain, domain ? AF_UNIX : AF_INET);

		fake_fail(FAKE_RECVMSG, 1, ENOMEM);
		borrow_settle(s);
		assert_false(stream_borrowed(s));
		assert_false(s->unborrowable);
		assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
		assert_read(s, "ijkl", 4);
	}
}

static void
an_error_of_the_peek_alone_is_not_the_answer(void **state)
{
	static const int errors[] = { ENOMEM, ENOBUFS, EINTR, EPERM, ENOSYS };

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct stream *s = accepted(A + i, AF_INET);

		nonblocking(s);
		arrive(s, "abcdefgh");
		assert_read(s, "abcd", 4);
		fake_fail(FAKE_RECVMSG, 1, errors[i]);
		assert_read(s, "efgh", 4);
		assert_false(stream_borrowed(s));
	}
}

static void
a_blocking_read_that_finds_nothing_waits_natively(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	char buf[4];

	(void)state;
	arrive(s, "abcd");
	assert_read(s, "abcd", 4);
	fake.calls[FAKE_RECVMSG] = 0;
	app_read(s, buf, 4);
	assert_int_equal(calls(), 2); /* the peek, and the call that would wait */
}

static void
pipelined_input_is_evidence_and_nobody_waits_yet(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	assert_false(s->awaited);
	assert_int_equal(app_write(s, "reply"), 5);
	assert_held(s, 5);
	assert_int_equal(self.awaited, 0);
	assert_read(s, alphabet + 8, sizeof(alphabet) - 1 - 8);
	assert_true(s->awaited);
}

/* That thread may be about to take from it, without the lock. */
static void
a_read_of_another_thread_is_native_and_ends_the_borrow(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	struct self first = self;

	(void)state;
	self = (struct self){ 0 };
	fake.tid++;
	self_enter();
	assert_read(s, "ijkl", 4);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 12);
	assert_false(stream_borrowed(s));
	fake.tid--;
	self = first;
	assert_read(s, "mnop", 4);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 16);
	assert_false(stream_borrowed(s)); /* it would not pay */
}

/* The keeper settles at the borrow's delay, which is over before that of what was held later. To
 * do so it takes the held bytes from their owner, who then forgot them: they never left. */
static void
what_is_held_is_not_forgotten_by_a_settle_of_another_thread(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	struct self first;

	(void)state;
	assert_int_equal(app_write(s, "reply"), 5);
	first = self;
	self = (struct self){ 0 };
	fake.tid++;
	self_enter();
	borrow_settle(s);
	fake.tid--;
	self = first;
	assert_held(s, 5);
	turn_overdue();
	assert_held(s, 5);
	turn_flush();
	assert_held(s, 0);
	assert_sent(A, "reply");
}

static void
bytes_and_calls_balance(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct flow was = s->rec->flow[RECEIVED];
	const struct flow *now = &s->rec->flow[RECEIVED];

	(void)state;
	arrive(s, alphabet);
	assert_read(s, "abcd", 4);
	assert_read(s, "efgh", 4);
	assert_read(s, "ijkl", 4);
	assert_int_equal(now->native_bytes - was.native_bytes, 4);
	assert_int_equal(now->held_bytes - was.held_bytes, 8);
	assert_int_equal(now->held_calls - was.held_calls, 2);
	assert_int_equal(now->kernel_bytes - was.kernel_bytes, 0);
	borrow_settle(s);
	assert_int_equal(now->kernel_bytes - was.kernel_bytes, 8);
	assert_int_equal(now->kernel_calls - was.kernel_calls, 2); /* peek, settle */
}

static void
somebody_else_read(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	uint64_t before = region_get()->totals.bypassed[BYPASS_FOREIGN_READER];

	(void)state;
	fake.fd[A].nr_arrived = 2;
	borrow_settle(s);
	assert_int_equal(region_get()->totals.bypassed[BYPASS_FOREIGN_READER],
			 before + 1);
	assert_true(s->unborrowable);
	assert_null(s->borrow);
}

static void
a_number_used_again_forgets_the_borrow(void **state)
{
	struct stream *s = borrowing(A, AF_INET);

	(void)state;
	fake_socket(A, AF_INET); /* closed unseen; another socket now */
	arrive(s, "other");
	stream_accepted(A, LISTENER, 0);
	assert_null(s->borrow);
	assert_int_equal(in_kernel(s), 5);
}

static void
at_the_cap_borrows_go_before_a_write_is_refused(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	char *taken[256];
	unsigned nr = 0;

	(void)state;
	settings.pool_max = 4096;
	s->skip = 1000;
	while (nr < 256 && (taken[nr] = pool_get(0, turn_cache(), self.tid)))
		nr++;
	assert_in_range(nr, 0, 255);
	accepted(B, AF_INET);
	hold(stream_known(B), "held");
	assert_false(stream_borrowed(s));
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 8);
	while (nr)
		pool_put(taken[--nr], 0, turn_cache(), self.tid);
}

/* A handler may have come between the two looks at self. */
static void
the_record_tells_whose_borrow_it_is(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	char c;

	(void)state;
	accepted(B, AF_INET);
	assert_ptr_equal(self.hot_read, s);
	self.hot_read_fd = B;
	assert_int_equal(borrow_take_hot(B, &c, 1), 0);
	self.hot_read_fd = A;
	assert_int_equal(borrow_take_hot(A, &c, 1), 1);
}

static struct stream *interrupted;
static bool when_done;

static void
read_from_handler(bool done)
{
	if (done != when_done)
		return;
	fake.on_swallow = NULL;
	assert_read(interrupted, "ijkl", 4);
}

static void
interrupt_a_settle(struct stream *s, bool done)
{
	interrupted = s;
	when_done = done;
	fake.on_swallow = read_from_handler;
	borrow_settle(s);
	assert_null(fake.on_swallow);
	assert_int_equal(in_kernel(s), sizeof(alphabet) - 1 - 12);
	assert_read(s, "mnop", 4);
}

static void
a_handler_that_reads_before_a_settle(void **state)
{
	(void)state;
	interrupt_a_settle(borrowing(A, AF_INET), false);
}

static void
a_handler_that_reads_before_a_settle_on_unix(void **state)
{
	(void)state;
	interrupt_a_settle(borrowing(A, AF_UNIX), false);
}

static void
a_handler_that_reads_after_a_settle(void **state)
{
	(void)state;
	interrupt_a_settle(borrowing(A, AF_INET), true);
}

static void
a_handler_that_reads_after_a_settle_on_unix(void **state)
{
	(void)state;
	interrupt_a_settle(borrowing(A, AF_UNIX), true);
}

/* Deeper on the stack than what it interrupted, as a handler is. */
static __attribute__((noinline)) void
handler_reads(struct stream *s)
{
	volatile char signal_frame[4096];

	signal_frame[0] = signal_frame[sizeof(signal_frame) - 1] = 0;
	assert_read(s, "ijkl", 4);
	assert_read(s, "mnop", 4);
	assert_false(stream_borrowed(s));
	assert_non_null(s->borrow); /* the take may yet copy from it */
	(void)signal_frame[0];
}

static void
a_take_that_a_handler_interrupts_begins_again(void **state)
{
	struct stream *s = borrowing(A, AF_INET);
	uint64_t r = stream_read_word(s);

	(void)state;
	assert_true(hot_begin(self.thread, s));
	handler_reads(s);
	assert_ptr_not_equal(self.thread->hot, s);
	assert_false(hot_commit(&s->r, r, r + (UINT64_C(4) << W_BITS)));
	hot_end(self.thread);
	assert_read(s, "qrst", 4);
	section_thread_end();
	assert_false(section_settled(s));
	assert_true(stream_borrowed(s) || !s->borrow);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(small_reads_after_a_filled_one_are_served),
		T(after_a_borrow_that_was_used_up_no_call_is_made_in_vain),
		T(a_read_that_did_not_fill_its_buffer_borrows_nothing),
		T(a_large_read_borrows_nothing),
		T(a_borrow_that_is_used_up_is_settled_at_once),
		T(settling_takes_what_was_given),
		T(settling_takes_what_was_given_on_unix),
		T(results_are_never_joined),
		T(a_sleep_settles),
		T(a_look_settles_what_is_older_than_half_the_delay),
		T(quiescing_settles),
		T(nothing_is_borrowed_while_the_gate_is_shut),
		T(nothing_is_borrowed_of_what_others_may_read),
		T(a_native_read_begins_with_nothing_borrowed),
		T(urgent_data_ends_reading_ahead),
		T(what_does_not_pay_is_tried_more_and_more_seldom),
		T(what_pays_is_tried_again_at_once),
		T(a_peek_is_answered_and_takes_nothing),
		T(a_peek_for_more_gets_all_that_is_there),
		T(an_error_that_the_peek_took_is_the_answer),
		T(a_peek_that_finds_nothing_is_no_answer),
		T(a_settle_that_is_refused_is_asked_again),
		T(an_error_of_the_peek_alone_is_not_the_answer),
		T(a_blocking_read_that_finds_nothing_waits_natively),
		T(pipelined_input_is_evidence_and_nobody_waits_yet),
		T(a_read_of_another_thread_is_native_and_ends_the_borrow),
		T(what_is_held_is_not_forgotten_by_a_settle_of_another_thread),
		T(bytes_and_calls_balance),
		T(somebody_else_read),
		T(a_number_used_again_forgets_the_borrow),
		T(at_the_cap_borrows_go_before_a_write_is_refused),
		T(a_handler_that_reads_before_a_settle),
		T(the_record_tells_whose_borrow_it_is),
		T(a_handler_that_reads_before_a_settle_on_unix),
		T(a_handler_that_reads_after_a_settle),
		T(a_handler_that_reads_after_a_settle_on_unix),
		T(a_take_that_a_handler_interrupts_begins_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
