/* count/region: counters that survive reuse, forks and kills; records, slots and tallies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "count/own.h"
#include "count/region.h"
#include "in_child.h"

static uint32_t
me(void)
{
	return (uint32_t)sys_gettid();
}

static struct record *
open_one(enum role role)
{
	struct record *rec = region_open(role, me());

	if (rec)
		region_publish(rec);
	return rec;
}

static void
close_one(struct record *rec)
{
	region_close(rec, sys_now_ns(), me());
}

static uint64_t
sum_sent(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < region_nr_records(); i++)
		sum += region_get()->records[i].flow[SENT].app_bytes;
	return sum;
}

static void
size_buckets_are_the_first_bound_not_below(void **state)
{
	(void)state;
	for (uint64_t len = 0; len < 300000; len++) {
		unsigned want = 0;

		while (want < NR_SIZE_BOUNDS && size_bounds[want] < len)
			want++;
		assert_int_equal(size_bucket(size_bits(len)), want);
	}
	assert_int_equal(size_bucket(size_bits(INT32_MAX)), NR_SIZE_BOUNDS);
	assert_int_equal(bucket_ns(hold_bounds_ns, NR_HOLD_BOUNDS, 10000), 0);
	assert_int_equal(bucket_ns(hold_bounds_ns, NR_HOLD_BOUNDS, 10001), 1);
	assert_int_equal(bucket_ns(hold_bounds_ns, NR_HOLD_BOUNDS, UINT64_MAX),
			 NR_HOLD_BOUNDS);
}

static void
without_a_region_nothing_fails(void **state)
{
	bool shared = false;

	(void)state;
	assert_null(region_get());
	assert_null(region_open(ROLE_ACCEPTED, me()));
	assert_non_null(region_member());
	assert_non_null(region_tally_get(&shared));
	assert_true(shared);
	count_internal(INTERNAL_MEMORY);
	count_error(OP_READ, EPIPE);
	assert_int_equal(region_leave(ENDED_EXIT), 0);
}

IN_CHILD(a_record_keeps_its_counts_through_reuse)
{
	struct record *rec;
	uint64_t want = 0;

	CHECK(region_init() && region_init());
	for (uint32_t i = 0; i < 3 * region_nr_records(); i++) {
		rec = open_one(ROLE_ACCEPTED);
		CHECK(rec);
		CHECK(rec->flow[SENT].app_bytes == rec->flow_at_open[SENT].app_bytes);
		count_add(&rec->flow[SENT].app_bytes, 7);
		want += 7;
		close_one(rec);
	}
	CHECK(sum_sent() == want);
	CHECK(region_get()->totals.opened[ROLE_ACCEPTED] == 3 * region_nr_records());
	CHECK(region_get()->totals.closed[ROLE_ACCEPTED] == 3 * region_nr_records());
}

IN_CHILD(the_last_closed_ones_stay_readable)
{
	enum { KEPT = 256 };
	uint64_t cookies[KEPT];
	uint32_t found = 0, n = 0;

	CHECK(region_init());
	for (; n < region_nr_records() + 5000; n++) {
		struct record *rec = open_one(ROLE_ACCEPTED);

		rec->cookie = n + 1;
		cookies[n % KEPT] = n + 1;
		close_one(rec);
	}
	for (uint32_t i = 0; i < region_nr_records(); i++)
		for (int k = 0; k < KEPT; k++)
			found += region_get()->records[i].cookie == cookies[k];
	CHECK(found == KEPT);
}

/* Totals by role are sums over records, so a record may never change its role. */
IN_CHILD(a_record_keeps_its_role)
{
	static uint8_t role_of[1 << 16];
	struct record *rec[64];

	CHECK(region_init());
	for (uint32_t i = 0; i < 4 * region_nr_records() / 64; i++) {
		for (int k = 0; k < 64; k++) {
			enum role role = (enum role)((i + (uint32_t)k) % 3 == 0);
			uint8_t *was;

			rec[k] = open_one(role);
			CHECK(rec[k]);
			was = &role_of[rec[k] - region_get()->records];
			CHECK(!*was || *was == role + 1);
			*was = (uint8_t)(role + 1);
		}
		for (int k = 0; k < 64; k++)
			close_one(rec[k]);
	}
}

IN_CHILD(a_full_region_refuses_and_recovers)
{
	struct record *rec, *last = NULL;
	uint32_t nr = 0;

	CHECK(region_init());
	while ((rec = open_one(ROLE_ACCEPTED))) {
		last = rec;
		nr++;
	}
	CHECK(nr == region_nr_records());
	CHECK(!open_one(ROLE_CONNECTED));
	close_one(last);
	CHECK(open_one(ROLE_ACCEPTED) == last);
	CHECK(!open_one(ROLE_ACCEPTED));
}

IN_CHILD(less_memory_gives_fewer_records)
{
	struct rlimit limit = { 40 << 20, 40 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return; /* the sanitizer's own mappings are above any useful limit */
#endif
	CHECK(!setrlimit(RLIMIT_AS, &limit));
	CHECK(region_init());
	CHECK(region_nr_records() == 4096);
	CHECK(open_one(ROLE_ACCEPTED));
}

/* What a child closes must not be what its parent will reuse, and the other way round. */
IN_CHILD(a_child_shares_counts_and_no_records)
{
	struct record *mine[100];
	int status;
	pid_t pid;

	CHECK(region_init());
	region_join(false);
	for (int i = 0; i < 100; i++)
		mine[i] = open_one(ROLE_ACCEPTED);
	for (int i = 0; i < 50; i++)
		close_one(mine[i]);
	region_expect(1);
	CHECK(region_get()->totals.live == 2);
	pid = fork();
	if (!pid) {
		struct member *slot;

		region_join(true);
		slot = region_member();
		CHECK(slot == &region_get()->members[1]);
		CHECK(slot->pid == (uint32_t)getpid());
		CHECK(own->spare[ROLE_ACCEPTED].ring_nr == 0);
		for (int i = 0; i < 200; i++) {
			struct record *rec = open_one(ROLE_ACCEPTED);

			CHECK(rec && rec->pid == getpid());
			for (int k = 0; k < 100; k++)
				CHECK(rec != mine[k]);
			count_add(&rec->flow[SENT].app_bytes, 1);
			close_one(rec);
		}
		CHECK(region_leave(ENDED_EXIT) == 1);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(sum_sent() == 200);
	CHECK(region_get()->members[1].pid == 0);
	CHECK(region_leave(ENDED_EXIT) == 0);
	CHECK(region_leave(ENDED_EXIT) == 0);
}

/* Killed, it leaves by itself no more: whoever looks takes it off, once. */
IN_CHILD(a_killed_member_is_found)
{
	struct totals *totals;
	int status;
	pid_t pid;

	CHECK(region_init());
	region_join(false);
	totals = &region_get()->totals;
	region_expect(1);
	pid = fork();
	if (!pid) {
		region_join(true);
		raise(SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(totals->live == 2 && region_has((uint32_t)pid));
	region_reap();
	region_reap();
	CHECK(totals->live == 1 && !region_has((uint32_t)pid));
	CHECK(totals->ended[ENDED_KILLED] == 1 && totals->nr_ended == 1);
	CHECK(region_get()->ended[0] == ((uint64_t)ENDED_KILLED << 32 | (uint32_t)pid));
	region_left((uint32_t)pid, ENDED_EXIT);
	CHECK(totals->live == 1 && totals->ended[ENDED_EXIT] == 0);
	CHECK(region_leave(ENDED_EXIT) == 0);
	CHECK(totals->ended[ENDED_EXIT] == 1);
}

/* So that the last one knows itself to be the last. */
IN_CHILD(who_leaves_does_not_count_the_killed)
{
	pid_t pid;

	CHECK(region_init());
	region_join(false);
	region_expect(1);
	pid = fork();
	if (!pid) {
		region_join(true);
		raise(SIGKILL);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(region_leave(ENDED_EXIT) == 0);
}

/* Whatever a member has written there. */
IN_CHILD(the_count_of_members_does_not_fall_below_none)
{
	CHECK(region_init());
	region_join(false);
	region_get()->totals.live = 0;
	CHECK(region_leave(ENDED_EXIT) == 0);
	CHECK(region_get()->totals.live == 0);
}

/* An exec that fails: the process comes back to the slot whose gauges it keeps. */
IN_CHILD(leaving_and_coming_back_keeps_the_slot)
{
	struct member *slot;

	CHECK(region_init());
	region_join(false);
	slot = region_member();
	count_add(&slot->pool[3].buffers, 5);
	CHECK(region_leave(ENDED_EXEC) == 0);
	region_reap();
	CHECK(slot->pid == (uint32_t)getpid() && slot->exec_ns);
	region_join(false);
	CHECK(region_get()->totals.live == 1 && !slot->exec_ns);
	CHECK(region_get()->totals.nr_ended == 0);
	CHECK(region_member() == slot && slot->pid == (uint32_t)getpid());
	CHECK(slot->pool[3].buffers == 5);
}

/* Nobody sees an exec that succeeds: the process lives, and does not come back. */
IN_CHILD(one_that_does_not_come_back_has_become_another_program)
{
	struct totals *totals;
	struct member *slot;

	CHECK(region_init());
	region_join(false);
	region_expect(1); /* another member */
	slot = region_member();
	totals = &region_get()->totals;
	CHECK(region_leave(ENDED_EXEC) == 1);
	CHECK(!region_has_ended((uint32_t)getpid()));
	slot->exec_ns = 1; /* long ago */
	region_reap();
	region_reap();
	CHECK(slot->pid == 0 && totals->ended[ENDED_EXEC] == 1 && totals->live == 1);
	CHECK(region_has_ended((uint32_t)getpid()));
}

/* There its number is somebody else's, or nobody's. */
IN_CHILD(who_lives_in_another_pid_namespace_is_not_judged)
{
	int status;
	pid_t pid;

	CHECK(region_init());
	region_join(false);
	if (unshare(CLONE_NEWPID) < 0) {
		print_message("not permitted: unshare(CLONE_NEWPID)\n");
		return;
	}
	region_expect(1);
	pid = fork();
	if (!pid) {
		/* Its parent is not to be seen from here. */
		region_join(true);
		CHECK(region_leave(ENDED_EXIT) == 1);
		CHECK(region_has((uint32_t)region_get()->first_pid));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(region_get()->totals.live == 1 &&
	      region_get()->totals.ended[ENDED_KILLED] == 0);
}

IN_CHILD(slots_of_killed_processes_are_handed_on)
{
	int status;

	CHECK(region_init());
	region_join(false);
	for (int i = 0; i < 1100; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct member *slot = region_member();

			CHECK(slot >= region_get()->members &&
			      slot < region_get()->members + NR_MEMBERS);
			CHECK(slot->pool[0].buffers == 0);
			count_add(&slot->pool[0].buffers, 1);
			count_add(&slot->pool[0].hits, 1);
			kill(getpid(), SIGKILL);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	{
		uint64_t hits = 0;

		for (int i = 0; i < NR_MEMBERS; i++)
			hits += region_get()->members[i].pool[0].hits;
		CHECK(hits == 1100);
	}
}

IN_CHILD(records_of_a_killed_process_are_found_when_all_are_used)
{
	int status;
	pid_t pid;

	CHECK(region_init());
	pid = fork();
	if (!pid) {
		while (open_one(ROLE_ACCEPTED))
			;
		kill(getpid(), SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(open_one(ROLE_ACCEPTED));
}

IN_CHILD(tallies_are_handed_on_and_run_out)
{
	struct tally *t[NR_TALLIES];
	bool shared;

	CHECK(region_init());
	for (int i = 1; i < NR_TALLIES; i++) {
		t[i] = region_tally_get(&shared);
		CHECK(!shared && t[i] == &region_get()->tallies[i]);
	}
	CHECK(region_tally_get(&shared) == &region_get()->tallies[0] && shared);
	region_tally_put(t[7]);
	CHECK(region_tally_get(&shared) == t[7] && !shared);
}

static struct record *raced[4][2000];

static void *
race(void *arg)
{
	struct record **mine = arg;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2000; i++) {
			mine[i] = open_one((enum role)(i & 1));
			CHECK(mine[i]);
			/* Plain adds: two owners of one record would lose some. */
			for (int k = 0; k < 3; k++)
				mine[i]->flow[SENT].app_bytes++;
		}
		for (int i = 0; i < 2000; i++)
			close_one(mine[i]);
	}
	return NULL;
}

IN_CHILD(no_two_threads_get_the_same_record)
{
	pthread_t threads[4];

	CHECK(region_init());
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, race, raced[i]));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(sum_sent() == 4 * 20 * 2000 * 3);
}

IN_CHILD(a_handler_that_interrupts_gets_nothing)
{
	CHECK(region_init());
	CHECK(lock_take(&own->lock, me()));
	CHECK(!region_open(ROLE_ACCEPTED, me()));
	lock_give(&own->lock);
	CHECK(region_open(ROLE_ACCEPTED, me()));
}

IN_CHILD(errors_are_counted_by_kind)
{
	struct totals *totals;

	CHECK(region_init());
	totals = &region_get()->totals;
	count_error(OP_WRITE, EPIPE);
	count_error(OP_WRITE, ECONNRESET);
	count_error(OP_READ, EIO);
	count_error(OP_READ, EAGAIN);
	count_error(OP_READ, EINTR);
	CHECK(totals->errors[OP_WRITE][ERROR_EPIPE] == 1);
	CHECK(totals->errors[OP_WRITE][ERROR_ECONNRESET] == 1);
	CHECK(totals->errors[OP_READ][ERROR_OTHER] == 1);
	count_internal(INTERNAL_REFUSED);
	CHECK(totals->internal[INTERNAL_REFUSED] == 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_buckets_are_the_first_bound_not_below),
		cmocka_unit_test(without_a_region_nothing_fails),
		cmocka_unit_test(a_record_keeps_its_counts_through_reuse),
		cmocka_unit_test(the_last_closed_ones_stay_readable),
		cmocka_unit_test(a_record_keeps_its_role),
		cmocka_unit_test(a_full_region_refuses_and_recovers),
		cmocka_unit_test(less_memory_gives_fewer_records),
		cmocka_unit_test(a_child_shares_counts_and_no_records),
		cmocka_unit_test(a_killed_member_is_found),
		cmocka_unit_test(who_leaves_does_not_count_the_killed),
		cmocka_unit_test(the_count_of_members_does_not_fall_below_none),
		cmocka_unit_test(one_that_does_not_come_back_has_become_another_program),
		cmocka_unit_test(who_lives_in_another_pid_namespace_is_not_judged),
		cmocka_unit_test(leaving_and_coming_back_keeps_the_slot),
		cmocka_unit_test(slots_of_killed_processes_are_handed_on),
		cmocka_unit_test(records_of_a_killed_process_are_found_when_all_are_used),
		cmocka_unit_test(tallies_are_handed_on_and_run_out),
		cmocka_unit_test(no_two_threads_get_the_same_record),
		cmocka_unit_test(a_handler_that_interrupts_gets_nothing),
		cmocka_unit_test(errors_are_counted_by_kind),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
