/* stream/interest: what is answered from memory, and what the kernel knows meanwhile. The last tests walk at random
 * through calls and waits, beside a native twin that makes each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"
#include "stream/interest.h"

enum { EP = 9, MAX_EVENTS = 8 };
static struct epoll_event events[MAX_EVENTS];

static int
ctl(int op, int fd, uint32_t wanted, uint64_t data)
{
	struct epoll_event event = { .events = wanted, .data.u64 = data };
	struct interest_call call;
	int r;

	if (interest_ctl(EP, op, fd, &event, &call, &r))
		return r;
	r = sys_epoll_ctl(EP, op, fd, &event);
	interest_done(op, fd, &event, &call, r);
	return r;
}

/* An epoll_wait that asks the kernel, as the entry makes it. */
static void
kernel_tells(int nr)
{
	struct wait w;

	wait_begin(&w, false);
	interest_look(EP);
	assert_true(wait_looked(nr));
	interest_told(EP, events, MAX_EVENTS, nr);
}

static void
one_told(uint64_t data)
{
	events[0] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = data };
	kernel_tells(1);
}

static int
made(void **state)
{
	fresh(state);
	fake.now_ns = MS;
	interest_made(EP);
	return 0;
}

/* A stream with bytes borrowed, so that this thread owes something. */
static struct stream *
borrowed(int fd)
{
	struct stream *s = accepted(fd, AF_INET);
	char byte;

	nonblocking(s);
	fake_arrive(&fake.fd[fd], "0123456789abcdefghijklmnopqrstuvwxyz", 36);
	for (int i = 0; i < 3; i++)
		assert_int_equal(app_read(s, &byte, 1), 1);
	assert_true(stream_borrowed(s));
	return s;
}

static unsigned
kernel_events(int fd)
{
	return fake.fd[fd].interests ? fake.fd[fd].interest.events : ~0U;
}

/* B is a stream that the program turns on and off, A the one that it reads from. */
static void
set_up(void)
{
	borrowed(A);
	accepted(B, AF_INET);
	assert_int_equal(ctl(EPOLL_CTL_ADD, A, EPOLLIN, 1), 0);
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), 0);
	one_told(1);
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN | EPOLLOUT, 2), 0);
	fake.fd[B].trace[0] = '\0';
}

static unsigned nr_asked;

static void
asked(bool done)
{
	nr_asked += done;
}

static unsigned
asked_since(void)
{
	unsigned nr = nr_asked;

	nr_asked = 0;
	fake.on_epoll = asked;
	return nr;
}

static void
a_removal_is_put_off_until_the_next_wait(void **state)
{
	struct wait w;

	(void)state;
	set_up();
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2), 0);
	assert_int_equal(asked_since(), 0);
	assert_int_equal(kernel_events(B), EPOLLIN | EPOLLOUT);
	assert_true(turn_owes());
	wait_begin(&w, true);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(kernel_events(B), EPOLLIN);
	wait_begin(&w, true);
	assert_int_equal(asked_since(), 0);
}

static void
what_comes_back_before_the_wait_costs_nothing(void **state)
{
	struct wait w;

	(void)state;
	set_up();
	asked_since();
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), -EEXIST);
		assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2), 0);
		assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN | EPOLLOUT, 2), -EEXIST);
		assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN | EPOLLOUT, 2), 0);
	}
	wait_begin(&w, true);
	assert_int_equal(asked_since(), 0);
	assert_int_equal(kernel_events(B), EPOLLIN | EPOLLOUT);
}

static void
what_the_kernel_does_not_wait_for_it_is_told_at_once(void **state)
{
	(void)state;
	set_up();
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN | EPOLLPRI, 2), 0);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(kernel_events(B), EPOLLIN | EPOLLPRI);
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLRDHUP, 2), 0);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(kernel_events(B), EPOLLRDHUP);
}

static void
other_data_goes_to_the_kernel(void **state)
{
	(void)state;
	set_up();
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN, 3), 0);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(fake.fd[B].interest.data.u64, 3);
}

static void
edges_and_single_shots_go_to_the_kernel(void **state)
{
	static const uint32_t bits[] = { EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE,
					 EPOLLWAKEUP, EPOLLHUP };

	(void)state;
	set_up();
	for (size_t i = 0; i < sizeof(bits) / sizeof(*bits); i++) {
		asked_since();
		ctl(EPOLL_CTL_MOD, B, EPOLLIN | bits[i], 2);
		ctl(EPOLL_CTL_MOD, B, EPOLLIN | bits[i], 2);
		assert_int_equal(asked_since(), 2);
		assert_int_equal(kernel_events(B), EPOLLIN | bits[i]);
	}
}

static void
a_delete_is_never_put_off(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_int_equal(ctl(EPOLL_CTL_DEL, B, 0, 0), 0);
	assert_int_equal(kernel_events(B), ~0U);
	assert_int_equal(ctl(EPOLL_CTL_DEL, B, 0, 0), -ENOENT);
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2), -ENOENT);
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLOUT, 4), 0);
	assert_int_equal(kernel_events(B), EPOLLOUT);
}

static void
after_a_wait_the_kernel_is_asked_again(void **state)
{
	(void)state;
	set_up();
	kernel_tells(1);
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), -EEXIST);
	assert_int_equal(asked_since(), 1);
	/* That says nothing of what it waits for. */
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), -EEXIST);
	assert_int_equal(asked_since(), 1);
	/* It was changed unseen. */
	kernel_tells(1);
	fake.fd[B].interests = false;
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), 0);
	assert_int_equal(kernel_events(B), EPOLLIN);
}

static void
with_nothing_owed_all_goes_to_the_kernel(void **state)
{
	(void)state;
	accepted(B, AF_INET);
	ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2);
	asked_since();
	for (int i = 0; i < 3; i++) {
		ctl(EPOLL_CTL_MOD, B, EPOLLIN | EPOLLOUT, 2);
		ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	}
	assert_int_equal(asked_since(), 6);
	assert_false(turn_owes());
}

static void
any_sleep_applies(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	wait_sleep();
	assert_int_equal(kernel_events(B), EPOLLIN);
}

static void
a_sleep_on_a_condition_variable_applies(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	wait_cond();
	assert_int_equal(kernel_events(B), EPOLLIN);
}

static void
a_close_applies(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	/* A duplicate would keep it in the set. */
	stream_close_begin(B);
	assert_int_equal(kernel_events(B), EPOLLIN);
	stream_close_end(B);
	fake.fd[B].interests = false;
	accepted(B, AF_INET);
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), 0);
	assert_int_equal(asked_since(), 1);
}

/* The number is another socket's: no change of the old one reaches it. */
static void
a_close_that_was_not_seen_forgets(void **state)
{
	struct wait w;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	fake.fd[B].interests = false;
	accepted(B, AF_INET);
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLOUT, 7), 0);
	wait_begin(&w, true);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(kernel_events(B), EPOLLOUT);
	assert_int_equal(fake.fd[B].interest.data.u64, 7);
}

static void
assert_over(void)
{
	assert_false(interest_is(EP));
	assert_int_equal(kernel_events(B), EPOLLIN);
	asked_since();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN | EPOLLOUT, 2);
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_int_equal(asked_since(), 2);
}

static void
in_other_hands_it_is_left_to_the_kernel(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	share_pass(EP); /* a duplicate, or a message */
	assert_over();
}

static void
a_fork_or_exec_leaves_it_to_the_kernel(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	life_spawn_begin();
	life_spawn_end();
	assert_over();
}

static void
as_part_of_another_it_is_left_to_the_kernel(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	interest_end_of(EP);
	assert_over();
}

static void
with_a_second_thread_it_is_left_to_the_kernel(void **state)
{
	static const char no;
	const char *alone = self_alone;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	self_alone = &no;
	ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2);
	assert_over();
	self_alone = alone;
}

static void
its_close_makes_way_for_the_next(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	interest_made(EP + 1);
	assert_true(interest_is(EP));
	assert_false(interest_is(EP + 1));
	stream_close_begin(EP);
	stream_close_end(EP);
	assert_false(interest_is(EP));
	interest_made(EP + 1);
	assert_true(interest_is(EP + 1));
	interest_end_of(EP + 1);
}

static void
two_numbers_in_one_place_do_not_meet(void **state)
{
	enum { FAR = B + 1024 };
	struct wait w;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	accepted(FAR, AF_INET);
	assert_int_equal(ctl(EPOLL_CTL_ADD, FAR, EPOLLIN, 7), 0);
	assert_int_equal(kernel_events(B), EPOLLIN);
	assert_int_equal(fake.fd[B].interest.data.u64, 2);
	asked_since();
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), -EEXIST);
	assert_int_equal(asked_since(), 1);
	ctl(EPOLL_CTL_MOD, FAR, EPOLLIN | EPOLLOUT, 7);
	ctl(EPOLL_CTL_MOD, FAR, EPOLLIN, 7);
	ctl(EPOLL_CTL_MOD, B, EPOLLOUT, 2);
	wait_begin(&w, true);
	assert_int_equal(kernel_events(FAR), EPOLLIN);
	assert_int_equal(kernel_events(B), EPOLLOUT);
}

static void
every_kind_of_event_is_put_off_and_told(void **state)
{
	static const uint32_t all = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
	struct wait w;

	(void)state;
	for (uint32_t bit = 1; bit <= EPOLLRDHUP; bit *= 2) {
		if (!(bit & all))
			continue;
		stream_forget(A);
		stream_forget(B);
		fake.fd[A].interests = fake.fd[B].interests = false;
		set_up();
		ctl(EPOLL_CTL_MOD, B, all, 2);
		asked_since();
		ctl(EPOLL_CTL_MOD, B, all & ~bit, 2);
		assert_int_equal(asked_since(), 0);
		wait_begin(&w, true);
		wait_end(&w, 1);
		assert_int_equal(kernel_events(B), all & ~bit);
	}
}

static void
what_is_gone_at_the_wait_is_forgotten(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	fake.fd[B].interests = false;
	one_told(1);
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLOUT, 3), 0);
	assert_int_equal(ctl(EPOLL_CTL_MOD, B, EPOLLIN, 3), 0);
	assert_int_equal(kernel_events(B), EPOLLIN);
}

static void
a_child_that_nobody_announced_knows_nothing(void **state)
{
	(void)state;
	set_up();
	process->generation++;
	asked_since();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_int_equal(asked_since(), 1);
	assert_int_equal(ctl(EPOLL_CTL_ADD, B, EPOLLIN, 2), -EEXIST);
	assert_int_equal(asked_since(), 1);
	process->generation--;
}

static void
not_where_others_are_or_nobody_wants_it(void **state)
{
	static const char no;
	const char *alone = self_alone;

	(void)state;
	interest_end();
	self_alone = &no;
	interest_made(EP);
	assert_false(interest_is(EP));
	self_alone = alone;
	settings.test_direct = true;
	interest_made(EP);
	assert_false(interest_is(EP));
	settings.test_direct = false;
	interest_made(EP);
	assert_true(interest_is(EP));
}

/* ---- wait calls that are answered from memory ---- */

static void
assert_known(int want)
{
	int nr = -1;

	if (want < 0) {
		assert_false(interest_known(EP, events, MAX_EVENTS, &nr));
		assert_int_equal(nr, -1);
		return;
	}
	memset(events, 0, sizeof(events));
	assert_true(interest_known(EP, events, MAX_EVENTS, &nr));
	assert_int_equal(nr, want);
	assert_int_equal(events[0].events, EPOLLIN);
	assert_int_equal(events[0].data.u64, 1);
}

static void
while_bytes_are_left_the_stream_is_readable(void **state)
{
	char rest[64];

	(void)state;
	set_up();
	/* B wants what it did not at the last look. */
	assert_known(-1);
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_known(1);
	assert_known(1);
	assert_int_equal(app_read(stream_known(A), rest, 33), 33);
	assert_known(-1);
}

static void
a_streak_ends(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	for (int i = 0; i < 64; i++)
		assert_known(1);
	assert_known(-1);
	one_told(1);
	assert_known(1);
	fake.now_ns += 100000;
	assert_known(-1);
}

static void
what_else_is_ready_is_told(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	/* Another stream, of which nothing is borrowed. */
	events[1] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 2 };
	kernel_tells(2);
	assert_known(-1);
	/* The end, beside the bytes. */
	events[0].events = EPOLLIN | EPOLLHUP;
	kernel_tells(1);
	assert_known(-1);
	/* As many as there was room for. */
	events[0].events = EPOLLIN;
	interest_look(EP);
	interest_told(EP, events, 1, 1);
	assert_known(-1);
	one_told(1);
	assert_known(1);
}

static void
two_that_were_told_are_told_again(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	borrowed(C);
	ctl(EPOLL_CTL_ADD, C, EPOLLIN, 3);
	assert_known(-1); /* new in the set */
	events[0] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 1 };
	events[1] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 3 };
	kernel_tells(2);
	assert_known(2);
	assert_int_equal(events[1].data.u64, 3);
	kernel_tells(1); /* only one */
	assert_known(-1);
}

static void
more_than_can_be_remembered_are_left_to_the_kernel(void **state)
{
	struct epoll_event many[40] = { { 0 } };
	int nr;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	for (int i = 0; i < 39; i++)
		many[i] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 1 };
	interest_look(EP);
	interest_told(EP, many, 40, 39);
	assert_false(interest_known(EP, many, 40, &nr));
	interest_told(EP, many, 40, 1);
	assert_true(interest_known(EP, many, 40, &nr));
}

/* One of them has been read to its end, and another has come. */
static void
streams_with_the_same_data_are_told_apart(void **state)
{
	char rest[64];
	int nr;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	borrowed(C);
	ctl(EPOLL_CTL_ADD, C, EPOLLIN, 1);
	events[0] = events[1] = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 1 };
	kernel_tells(2);
	assert_true(interest_known(EP, events, MAX_EVENTS, &nr));
	assert_int_equal(nr, 2);
	assert_int_equal(app_read(stream_known(C), rest, 33), 33);
	borrowed(C + 1);
	ctl(EPOLL_CTL_ADD, C + 1, EPOLLIN, 5);
	interest_look(EP);
	interest_told(EP, events, MAX_EVENTS, 2);
	assert_false(interest_known(EP, events, MAX_EVENTS, &nr));
}

static void
what_was_changed_unseen_is_not_told(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	fake.fd[A].interest.data.u64 = 5;
	one_told(5);
	assert_known(-1);
}

static void
who_asks_for_more_than_bytes_asks_the_kernel(void **state)
{
	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_known(1);
	stream_option(A, OPTION_RCVLOWAT, true);
	assert_known(-1);
	stream_option(A, OPTION_RCVLOWAT, false);
	assert_known(1);
	stream_shut(A);
	assert_known(-1);
	stream_option(A, OPTION_NOTSENT, false);
	stream_known(A)->err = EPIPE;
	assert_known(-1);
	stream_known(A)->err = 0;
	assert_known(1);
	ctl(EPOLL_CTL_MOD, A, EPOLLIN | EPOLLRDHUP, 1);
	kernel_tells(1);
	assert_known(-1);
}

static void
the_first_answer_goes_where_the_kernels_went(void **state)
{
	struct epoll_event others[MAX_EVENTS];
	int nr;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	assert_false(interest_known(EP, others, MAX_EVENTS, &nr));
	assert_false(interest_known(EP, events, 1, &nr));
	assert_false(interest_known(EP + 1, events, MAX_EVENTS, &nr));
	assert_known(1);
}

static void
a_known_answer_flushes_what_is_overdue(void **state)
{
	struct stream *s;
	int nr;

	(void)state;
	set_up();
	ctl(EPOLL_CTL_MOD, B, EPOLLIN, 2);
	s = stream_known(B);
	hold(s, "a");
	one_told(1);
	assert_true(wait_known(EP, events, MAX_EVENTS, &nr));
	assert_held(s, 1);
	fake.now_ns += DELAY_US * 500 + 1;
	interest_told(EP, events, MAX_EVENTS, 1);
	assert_true(wait_known(EP, events, MAX_EVENTS, &nr));
	assert_held(s, 0);
}

/* ---- beside a native twin ---- */

enum { WALK = 3 };
static const int walk_fd[WALK] = { A, B, C };

static struct twin {
	bool there;
	uint32_t events, told; /* wanted, and at the last look */
	uint64_t data;
} twin[WALK];
static uint64_t seed;
static bool handles; /* a handler makes calls, too */
static unsigned nr_elided, nr_known, nr_native;
static int busy_fd = -1; /* that a native call is about */

static unsigned
draw(unsigned n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(seed >> 33) % n;
}

static int
twin_ctl(int op, struct twin *t, uint32_t wanted, uint64_t data)
{
	if (op == EPOLL_CTL_ADD && t->there)
		return -EEXIST;
	if (op != EPOLL_CTL_ADD && !t->there)
		return -ENOENT;
	t->there = op != EPOLL_CTL_DEL;
	t->events = wanted;
	t->data = data;
	return 0;
}

static void
step_ctl(void)
{
	static const uint32_t wanted[] = {
		EPOLLIN,  EPOLLIN, EPOLLIN | EPOLLOUT,   EPOLLIN | EPOLLOUT,
		EPOLLOUT, 0,       EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLET
	};
	static const int ops[] = { EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD,
				   EPOLL_CTL_MOD, EPOLL_CTL_MOD };
	unsigned i = draw(WALK);
	int op = draw(40) ? ops[draw(5)] : EPOLL_CTL_DEL;
	uint32_t events_now = draw(30) ? wanted[draw(6)] : wanted[draw(8)];
	uint64_t data = draw(20) ? i : 10 + draw(3);
	unsigned before = nr_native;
	int r = twin_ctl(op, &twin[i], events_now, data);

	busy_fd = walk_fd[i];
	assert_int_equal(ctl(op, walk_fd[i], events_now, data), r);
	busy_fd = -1;
	nr_elided += nr_native == before;
}

/* In the middle of a native call a handler may change any entry, if not the one that the call is about: which
 * of the two came first nobody could say. */

static void
handler(bool done)
{
	static bool inside;
	int fd;

	nr_native += done;
	if (inside || !handles || draw(20))
		return;
	inside = true;
	fd = walk_fd[draw(WALK)];
	if (fd != busy_fd) {
		unsigned i = fd == A ? 0 : fd == B ? 1 : 2;
		uint32_t wanted = draw(2) ? EPOLLIN : EPOLLIN | EPOLLOUT;
		int r = twin_ctl(EPOLL_CTL_MOD, &twin[i], wanted, i);

		assert_int_equal(ctl(EPOLL_CTL_MOD, fd, wanted, i), r);
	}
	inside = false;
}

static void
same(bool exactly)
{
	for (unsigned i = 0; i < WALK; i++) {
		const struct fake_fd *f = &fake.fd[walk_fd[i]];

		assert_int_equal(f->interests, twin[i].there);
		if (!twin[i].there)
			continue;
		assert_int_equal(twin[i].events & ~f->interest.events, 0);
		assert_int_equal(f->interest.data.u64, twin[i].data);
		if (exactly)
			assert_int_equal(f->interest.events, twin[i].events);
	}
}

/* The kernel tells of what has bytes; B has none, and can be written to. */
static int
kernel_answers(void)
{
	int nr = 0;

	for (unsigned i = 0; i < WALK; i++) {
		uint32_t ready = walk_fd[i] == B ? EPOLLOUT : EPOLLIN | EPOLLOUT;

		twin[i].told = twin[i].there ? twin[i].events : 0;
		if (twin[i].there && twin[i].events & ready)
			events[nr++] =
				(struct epoll_event){ .events = twin[i].events & ready,
						      .data.u64 = twin[i].data };
	}
	return nr;
}

static void
step_wait(void)
{
	struct wait w;
	int nr;

	interest_made(EP); /* a handler has ended it */
	memset(events, 0, sizeof(events));
	if (interest_known(EP, events, MAX_EVENTS, &nr)) {
		int would = 0;

		nr_known++;
		for (unsigned i = 0; i < WALK; i++) {
			if (!twin[i].there)
				continue;
			/* Whatever is newly wanted may be there. */
			assert_int_equal(twin[i].events & ~twin[i].told, 0);
			if (walk_fd[i] != B && twin[i].events & EPOLLIN) {
				assert_int_equal(twin[i].events, EPOLLIN);
				would++;
			}
		}
		assert_int_equal(nr, would);
		for (int j = 0; j < nr; j++)
			assert_int_equal(events[j].events, EPOLLIN);
		return;
	}
	wait_begin(&w, true);
	interest_look(EP);
	same(true);
	nr = kernel_answers();
	wait_end(&w, 1);
	interest_told(EP, events, MAX_EVENTS, nr);
}

static void
walk(unsigned steps)
{
	settings.delay_us = 1000 * 1000 * 1000;
	borrowed(A);
	accepted(B, AF_INET);
	borrowed(C);
	memset(twin, 0, sizeof(twin));
	nr_elided = nr_known = 0;
	fake.on_epoll = handler;
	for (unsigned i = 0; i < steps; i++) {
		if (draw(10) < 7)
			step_ctl();
		else
			step_wait();
		same(false);
		fake.now_ns += draw(100) ? 100 : 50000;
	}
	fake.on_epoll = NULL;
	assert_true(nr_elided > steps / 20);
	assert_true(nr_known > steps / 1000);
}

static void
any_calls_in_any_order(void **state)
{
	(void)state;
	seed = 1;
	handles = false;
	walk(300000);
}

static void
and_handlers_in_the_middle_of_them(void **state)
{
	(void)state;
	seed = 2;
	handles = true;
	walk(300000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, made, nothing_is_left)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_removal_is_put_off_until_the_next_wait),
		TEST(what_comes_back_before_the_wait_costs_nothing),
		TEST(what_the_kernel_does_not_wait_for_it_is_told_at_once),
		TEST(other_data_goes_to_the_kernel),
		TEST(edges_and_single_shots_go_to_the_kernel),
		TEST(a_delete_is_never_put_off),
		TEST(after_a_wait_the_kernel_is_asked_again),
		TEST(with_nothing_owed_all_goes_to_the_kernel),
		TEST(any_sleep_applies),
		TEST(a_sleep_on_a_condition_variable_applies),
		TEST(a_close_applies),
		TEST(a_close_that_was_not_seen_forgets),
		TEST(in_other_hands_it_is_left_to_the_kernel),
		TEST(a_fork_or_exec_leaves_it_to_the_kernel),
		TEST(as_part_of_another_it_is_left_to_the_kernel),
		TEST(with_a_second_thread_it_is_left_to_the_kernel),
		TEST(its_close_makes_way_for_the_next),
		TEST(two_numbers_in_one_place_do_not_meet),
		TEST(every_kind_of_event_is_put_off_and_told),
		TEST(what_is_gone_at_the_wait_is_forgotten),
		TEST(a_child_that_nobody_announced_knows_nothing),
		TEST(not_where_others_are_or_nobody_wants_it),
		TEST(while_bytes_are_left_the_stream_is_readable),
		TEST(a_streak_ends),
		TEST(what_else_is_ready_is_told),
		TEST(two_that_were_told_are_told_again),
		TEST(more_than_can_be_remembered_are_left_to_the_kernel),
		TEST(streams_with_the_same_data_are_told_apart),
		TEST(what_was_changed_unseen_is_not_told),
		TEST(who_asks_for_more_than_bytes_asks_the_kernel),
		TEST(the_first_answer_goes_where_the_kernels_went),
		TEST(a_known_answer_flushes_what_is_overdue),
		TEST(any_calls_in_any_order),
		TEST(and_handlers_in_the_middle_of_them),
	};

	return cmocka_run_group_tests_name("interest", tests, NULL, NULL);
}
