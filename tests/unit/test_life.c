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
	assert_sent(A, "1ab");
	assert_int_equal(s->rec->bypass, BYPASS_SHARED);
	s = accepted(B, AF_INET);
	hold(s, "new ones are held");
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
		T(so_is_one_accepted_meanwhile),
		T(a_fork_that_failed_shares_nothing),
		T(a_spawn_leaves_close_on_exec_private),
		T(a_vfork_child_touches_nothing),
		T(a_failed_exec_goes_on),
		T(an_exit_flushes_once_and_for_good),
		T(a_passed_descriptor_is_shared_for_good),
		T(a_single_thread_is_left_when_asked),
		T(after_seccomp_every_call_is_native),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
