/* count/region: counters that survive reuse, forks and kills; records, slots and tallies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "count/own.h"
#include "count/member.h"
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
	if (getenv("WEIR_TEST_WRAP")) /* so are valgrind's */
		return;
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
	uint32_t born;
	pid_t pid;

	CHECK(region_init());
	region_join(0);
	for (int i = 0; i < 100; i++)
		mine[i] = open_one(ROLE_ACCEPTED);
	for (int i = 0; i < 50; i++)
		close_one(mine[i]);
	born = region_bear();
	CHECK(region_get()->totals.live == 2);
	pid = fork();
	if (!pid) {
		struct member *slot;

		region_join(born);
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
	region_reap();
	CHECK(region_get()->members[1].pid == 0);
	CHECK(region_leave(ENDED_EXIT) == 0);
	CHECK(region_leave(ENDED_EXIT) == 0);
}

/* Killed, it leaves by itself no more: whoever looks takes it off, once. */
IN_CHILD(a_killed_member_is_found)
{
	struct totals *totals;
	int status;
	uint32_t born;
	pid_t pid;

	CHECK(region_init());
	region_join(0);
	totals = &region_get()->totals;
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
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
	uint32_t born;
	pid_t pid;

	CHECK(region_init());
	region_join(0);
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
		raise(SIGKILL);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(region_leave(ENDED_EXIT) == 0);
}

/* Whatever a member has written there. */
IN_CHILD(the_count_of_members_does_not_fall_below_none)
{
	CHECK(region_init());
	region_join(0);
	region_get()->totals.live = 0;
	CHECK(region_leave(ENDED_EXIT) == 0);
	CHECK(region_get()->totals.live == 0);
}

/* An exec that fails: the process comes back to the slot whose gauges it keeps. */
IN_CHILD(leaving_and_coming_back_keeps_the_slot)
{
	struct member *slot;

	CHECK(region_init());
	region_join(0);
	slot = region_member();
	count_add(&slot->pool[3].buffers, 5);
	CHECK(region_leave(ENDED_EXEC) == 0);
	region_reap();
	CHECK(slot->pid == (uint32_t)getpid() && slot->left);
	region_join(0);
	CHECK(region_get()->totals.live == 1 && !slot->left);
	CHECK(region_get()->totals.nr_ended == 0);
	CHECK(region_member() == slot && slot->pid == (uint32_t)getpid());
	CHECK(slot->pool[3].buffers == 5);
}

/* Where there is no lock, nobody sees an exec that succeeds: the process lives, and does not come
 * back. */
IN_CHILD(one_that_does_not_come_back_has_become_another_program)
{
	struct totals *totals;
	struct member *slot;
	uint32_t born;
	char byte = 0;
	int fd[2];
	pid_t pid;

	CHECK(region_init() && !socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	region_join(0);
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
		region_leave(ENDED_EXEC);
		CHECK(write(fd[0], &byte, 1) == 1 && !close(fd[1]));
		CHECK(read(fd[0], &byte, 1) == 0);
		_exit(0);
	}
	region_born(born, pid);
	totals = &region_get()->totals;
	slot = &region_get()->members[born - 1];
	CHECK(read(fd[1], &byte, 1) == 1);
	CHECK(totals->live == 1 && slot->pid == (uint32_t)pid);
	CHECK(!region_has((uint32_t)pid) && !region_has_ended((uint32_t)pid));
	slot->left_ns = 1; /* long ago */
	region_reap();
	region_reap();
	CHECK(slot->pid == 0 && totals->ended[ENDED_EXEC] == 1 && totals->live == 1);
	CHECK(region_has_ended((uint32_t)pid));
	close(fd[1]);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* Joins, with a file for the members' locks. Its number. */
static int
begin_with_locks(void)
{
	int fd[2];

	CHECK(region_init() && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	region_join(0);
	region_lock_file(fd[0]);
	return fd[0];
}

/* An exec gives the lock back at once. */
IN_CHILD(an_exec_is_seen_by_the_lock)
{
	struct totals *totals;
	struct member *slot;
	uint32_t born;
	pid_t pid;

	begin_with_locks();
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
		region_leave(ENDED_EXEC);
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(1);
	}
	region_born(born, pid);
	totals = &region_get()->totals;
	slot = &region_get()->members[born - 1];
	while (totals->ended[ENDED_EXEC] == 0) {
		usleep(100);
		region_reap();
	}
	CHECK(slot->pid == 0 && totals->live == 1 && totals->nr_ended == 1);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* Its number may have been given to somebody else since: here it is ours. */
IN_CHILD(a_lock_tells_more_than_a_number)
{
	struct totals *totals;
	struct member *slot;
	uint32_t born;
	pid_t pid;

	begin_with_locks();
	CHECK(region_member()->locks == 1);
	totals = &region_get()->totals;
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
		raise(SIGSTOP);
		raise(SIGKILL);
	}
	region_born(born, pid);
	slot = &region_get()->members[born - 1];
	while (!(__atomic_load_n(&slot->locks, __ATOMIC_ACQUIRE) & 1))
		usleep(100);
	region_reap();
	CHECK(slot->pid == (uint32_t)pid && totals->live == 2);
	slot->pid = (uint32_t)getpid();
	CHECK(waitpid(pid, NULL, WUNTRACED) ==
	      pid); /* before that it would not be continued */
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, NULL, 0) == pid);
	region_reap();
	CHECK(slot->pid == 0 && totals->live == 1 && totals->ended[ENDED_KILLED] == 1);
	CHECK(region_member()->pid == (uint32_t)getpid());
}

/* Killed before it has done anything: its parent knows. */
IN_CHILD(a_child_that_never_joined_is_found)
{
	struct totals *totals;
	uint32_t born;
	pid_t pid;

	begin_with_locks();
	totals = &region_get()->totals;
	born = region_bear();
	pid = fork();
	if (!pid)
		raise(SIGKILL);
	CHECK(region_get()->members[born - 1].pid & MEMBER_BORN);
	region_reap();
	region_born(born, pid);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(totals->live == 2);
	region_reap();
	CHECK(totals->live == 1 && totals->ended[ENDED_KILLED] == 1);
}

IN_CHILD(a_fork_that_failed_gives_its_slot_back)
{
	uint32_t born;

	CHECK(region_init());
	region_join(0);
	born = region_bear();
	CHECK(region_get()->totals.live == 2);
	region_born(born, -1);
	CHECK(region_get()->totals.live == 1 && region_get()->totals.nr_ended == 0);
	CHECK(region_bear() == born);
}

/* Its child has come, gone and been found; the slot is being made for somebody else's. */
IN_CHILD(a_late_parent_takes_no_slot_of_another)
{
	uint32_t born, *pid, others = MEMBER_BORN | 1;

	CHECK(region_init());
	region_join(0);
	born = region_bear();
	pid = &region_get()->members[born - 1].pid;
	*pid = others;
	region_born(born, 4711);
	CHECK(*pid == others);
}

/* While the lock moves to another number its slot is not taken for dead. */
IN_CHILD(a_moving_lock_is_not_a_death)
{
	struct member *me;
	int fd = begin_with_locks(), high;

	me = region_member();
	region_lock_file(-1);
	CHECK(me->locks == 2);
	high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	close(fd);
	region_lock_file(high);
	CHECK(me->locks == 3);
	if (!fork()) {
		/* Seen from another process, which has not joined. */
		region_reap();
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	CHECK(me->pid == (uint32_t)getpid() && region_get()->totals.nr_ended == 0);
}

/* By its lock even there. */
IN_CHILD(a_death_in_another_pid_namespace_is_found)
{
	struct totals *totals;
	uint32_t born;
	pid_t pid;

	begin_with_locks();
	if (unshare(CLONE_NEWPID) < 0) {
		print_message("not permitted: unshare(CLONE_NEWPID)\n");
		return;
	}
	totals = &region_get()->totals;
	born = region_bear();
	pid = fork();
	if (!pid) {
		region_join(born);
		CHECK(region_member()->locks & 1);
		region_reap(); /* and we live, for it */
		_exit(0);
	}
	region_born(born, pid);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(totals->live == 2);
	region_reap();
	CHECK(totals->live == 1 && totals->ended[ENDED_KILLED] == 1);
	_exit(0); /* no thread, as a leak check's, can be made from here */
}

/* There its number is somebody else's, or nobody's. */
IN_CHILD(who_lives_in_another_pid_namespace_is_not_judged)
{
	int status;
	uint32_t born;
	pid_t pid;

	CHECK(region_init());
	region_join(0);
	if (unshare(CLONE_NEWPID) < 0) {
		print_message("not permitted: unshare(CLONE_NEWPID)\n");
		return;
	}
	born = region_bear();
	pid = fork();
	if (!pid) {
		/* Its parent is not to be seen from here. */
		region_join(born);
		CHECK(region_leave(ENDED_EXIT) == 1);
		CHECK(region_has((uint32_t)region_first_pid()));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(region_get()->totals.live == 1 &&
	      region_get()->totals.ended[ENDED_KILLED] == 0);
	_exit(0); /* as above */
}

IN_CHILD(slots_of_killed_processes_are_handed_on)
{
	int status;

	CHECK(region_init());
	region_join(0);
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
	const struct rlimit a_second = { 1, 1 };
	struct tally *t[NR_TALLIES];
	bool shared;

	CHECK(region_init());
	for (int i = 1; i < NR_TALLIES; i++) {
		t[i] = region_tally_get(&shared);
		CHECK(!shared && t[i] == &region_get()->tallies[i]);
	}
	/* Threads that have none ask at every call: they do not search each time. */
	CHECK(!setrlimit(RLIMIT_CPU, &a_second));
	for (int i = 0; i < 100000; i++)
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
		cmocka_unit_test(an_exec_is_seen_by_the_lock),
		cmocka_unit_test(a_lock_tells_more_than_a_number),
		cmocka_unit_test(a_child_that_never_joined_is_found),
		cmocka_unit_test(a_fork_that_failed_gives_its_slot_back),
		cmocka_unit_test(a_moving_lock_is_not_a_death),
		cmocka_unit_test(a_late_parent_takes_no_slot_of_another),
		cmocka_unit_test(a_death_in_another_pid_namespace_is_found),
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
