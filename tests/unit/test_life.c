/* stream/life: what is held leaves before anything sees, copies or ends a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "on_fake.h"

static void
quiesce_gives_the_kernel_all_of_every_stream(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_UNIX);

	(void)state;
	hold(a, "a");
	hold(b, "b");
	life_quiesce_all(FLUSH_ORDER);
	assert_sent(A, "1a");
	assert_sent(B, "1b");
}

static void
of_other_threads_too(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	struct self first;

	(void)state;
	hold(s, "a");
	first = self;
	self = (struct self){ 0 };
	fake.tid++;
	life_quiesce_all(FLUSH_EXIT);
	fake.tid--;
	self = first;
	assert_sent(A, "1a");
	assert_int_equal(flushes(s, FLUSH_EXIT), 1);
}

static void
shut_and_open_nest(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_shut(FLUSH_SHARE);
	life_shut(FLUSH_SHARE);
	life_open();
	app_write(s, "b");
	assert_held(s, 0);
	life_open();
	app_write(s, "c");
	assert_held(s, 1);
}

static void
after_a_fork_a_stream_is_shared_and_never_held(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_fork_begin();
	assert_sent(A, "1a");
	life_fork_parent(77);
	app_write(s, "b");
	app_write(s, "c");
	assert_sent(A, "1abc");
	assert_int_equal(s->mode, MODE_MANAGED);
	s = accepted(B, AF_INET);
	hold(s, "new ones are held");
}

/* The number of a child's slot; it never runs here. */
static uint32_t
fork_child(void)
{
	uint32_t born;

	life_fork_begin();
	born = self.born;
	life_fork_parent(77);
	return born - 1;
}

static void
it_is_held_again_when_the_child_has_ended(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint32_t child, other;

	(void)state;
	hold(s, "a");
	child = fork_child();
	other = fork_child();
	holder_end(child, self.tid);
	app_write(s, "b");
	app_write(s, "c");
	assert_sent(A, "1abc");
	holder_end(other, self.tid);
	assert_int_equal(share_ask(s), PRIVATE);
	app_write(s, "d"); /* is the kernel willing? */
	assert_sent(A, "1abcd");
	app_write(s, "e");
	assert_held(s, 1);
}

/* Between the question whether it is shared and the hold: the gate is open again. */
static void
a_whole_fork_meanwhile_is_noticed(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	turn_flush();
	assert_int_equal(share_ask(s), PRIVATE);
	section_enter(s);
	assert_true(turn_list(s));
	section_leave(s);
	fork_child();
	section_enter(s);
	assert_false(turn_list(s));
	section_leave(s);
}

/* What the child did to the socket is asked. */
static void
and_as_it_is_set_by_then(void **state)
{
	struct stream *s = accepted(A, AF_INET), *b = accepted(B, AF_INET);
	uint32_t child = fork_child();

	(void)state;
	fake_option(&fake.fd[A], IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096);
	fake_option(&fake.fd[B], SOL_SOCKET, SO_OOBINLINE, 1);
	holder_end(child, self.tid);
	assert_int_equal(share_ask(s), PRIVATE);
	assert_true(s->options & OPTION_NOTSENT);
	assert_int_equal(share_ask(b), SHARED_FOR_GOOD);
}

static void
what_was_passed_meanwhile_stays_shared(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint32_t child = fork_child();

	(void)state;
	share_pass(A);
	holder_end(child, self.tid);
	assert_int_equal(share_ask(s), SHARED_FOR_GOOD);
	s = accepted(B, AF_INET);
	child = fork_child();
	life_exec_begin(); /* without close-on-exec */
	life_exec_failed();
	holder_end(child, self.tid);
	assert_int_equal(share_ask(s), SHARED_FOR_GOOD);
}

/* Closed by its parent, it is open until the child is through with it. */
static void
the_last_holder_closes_the_record(void **state)
{
	struct record *rec = accepted(A, AF_INET)->rec;
	uint32_t child = fork_child();

	(void)state;
	stream_close_begin(A);
	stream_close_end(A);
	assert_int_equal(rec->state, RECORD_OPEN);
	assert_true(holder_keeps(rec));
	holder_end(child, self.tid);
	assert_int_equal(rec->state, RECORD_CLOSED);
	rec = accepted(B, AF_INET)->rec;
	child = fork_child();
	holder_end(child, self.tid);
	assert_int_equal(rec->state, RECORD_OPEN);
	stream_close_begin(B);
	assert_int_equal(rec->state, RECORD_CLOSED);
	stream_close_end(B);
}

/* Another thread accepts while the fork is under way: the child has that one too. */
static void
so_is_one_accepted_meanwhile(void **state)
{
	struct stream *s;

	(void)state;
	accepted(A, AF_INET);
	life_fork_begin();
	s = accepted(B, AF_INET);
	life_fork_parent(77);
	app_write(s, "1");
	app_write(s, "2");
	assert_sent(B, "12");
}

static void
a_fork_that_failed_shares_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	life_fork_begin();
	life_fork_parent(-1);
	hold(s, "a");
}

static void
a_spawn_leaves_close_on_exec_private(void **state)
{
	struct stream *a = accepted(A, AF_INET), *b = accepted(B, AF_INET);

	(void)state;
	stream_option(A, OPTION_CLOEXEC, true);
	life_spawn_begin();
	life_spawn_end();
	hold(a, "a");
	app_write(b, "1");
	app_write(b, "2");
	assert_held(b, 0);
}

static void
a_vfork_child_touches_nothing(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	stream_option(A, OPTION_CLOEXEC, true);
	hold(s, "a");
	life_vfork();
	assert_sent(A, "1a");
	fake.pid++;
	assert_false(self_ready());
	life_quiesce_all(FLUSH_EXIT);
	assert_false(life_exit());
	fake.pid--;
	assert_true(self_ready()); /* the parent again: the gate is open */
	app_write(s, "b");
	assert_held(s, 1);
}

static void
a_failed_exec_goes_on(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_exec_begin();
	assert_sent(A, "1a");
	life_exec_failed();
	app_write(s, "b");
	assert_held(s, 1);
}

static void
an_exit_flushes_once_and_for_good(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_exit();
	assert_sent(A, "1a");
	app_write(s, "b");
	assert_sent(A, "1ab");
	assert_false(life_exit());
}

/* Its stream is closed in the record, once; what is written after that counts still. */
static void
an_exit_closes_what_is_open(void **state)
{
	struct stream *s = accepted(A, AF_INET);
	uint64_t *closed = &region_get()->totals.closed[ROLE_ACCEPTED], before = *closed;
	struct record *rec = s->rec;
	uint64_t bytes;

	(void)state;
	life_exit();
	assert_int_equal(rec->state, RECORD_CLOSED);
	assert_int_equal(*closed, before + 1);
	bytes = rec->flow[SENT].native_bytes;
	app_write(s, "b");
	assert_int_equal(rec->flow[SENT].native_bytes, bytes + 1);
	stream_close_begin(A);
	stream_close_end(A);
	assert_int_equal(*closed, before + 1);
}

static void
a_passed_descriptor_is_shared_for_good(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_pass(A);
	assert_sent(A, "1a");
	assert_int_equal(s->mode, MODE_BYPASSED);
	life_pass(999); /* what is none */
}

static void
a_single_thread_is_left_when_asked(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_single_thread();
	assert_sent(A, "1a");
	assert_null(fake.thread);
}

static void
after_seccomp_every_call_is_native(void **state)
{
	struct stream *s = accepted(A, AF_INET);

	(void)state;
	hold(s, "a");
	life_seccomp();
	assert_sent(A, "1a");
	assert_null(fake.thread);
	assert_null(stream_at(A));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		T(quiesce_gives_the_kernel_all_of_every_stream),
		T(of_other_threads_too),
		T(shut_and_open_nest),
		T(after_a_fork_a_stream_is_shared_and_never_held),
		T(it_is_held_again_when_the_child_has_ended),
		T(a_whole_fork_meanwhile_is_noticed),
		T(and_as_it_is_set_by_then),
		T(what_was_passed_meanwhile_stays_shared),
		T(the_last_holder_closes_the_record),
		T(so_is_one_accepted_meanwhile),
		T(a_fork_that_failed_shares_nothing),
		T(a_spawn_leaves_close_on_exec_private),
		T(a_vfork_child_touches_nothing),
		T(a_failed_exec_goes_on),
		T(an_exit_flushes_once_and_for_good),
		T(an_exit_closes_what_is_open),
		T(a_passed_descriptor_is_shared_for_good),
		T(a_single_thread_is_left_when_asked),
		T(after_seccomp_every_call_is_native),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
