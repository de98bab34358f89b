/* metrics/snapshot: sums that hold, and streams that several processes use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/config.h"
#include "base/relaxed.h"
#include "base/sys.h"
#include "in_child.h"
#include "count/holder.h"
#include "count/member.h"
#include "metrics/snapshot.h"

static struct config settings = { .enabled = true,
				  .pool_enabled = true,
				  .metrics = true };
static struct snapshot snap;

static struct record *
open_one(enum role role, uint64_t cookie)
{
	struct record *rec = region_open(role, (uint32_t)sys_gettid());

	CHECK(rec);
	rec->cookie = cookie;
	rec->fd = (int)cookie;
	region_publish(rec);
	return rec;
}

static void
begin(void)
{
	config = &settings;
	CHECK(region_init());
	region_join(0);
}

static const struct stream_view *
stream_of(uint64_t cookie)
{
	const struct stream_view *found = NULL;

	for (uint32_t i = 0; i < snap.nr_streams; i++)
		if (snap.streams[i].cookie == cookie) {
			CHECK(!found);
			found = &snap.streams[i];
		}
	return found;
}

IN_CHILD(without_a_region_there_is_none)
{
	CHECK(!snapshot_take(&snap, true));
}

IN_CHILD(a_stream_shows_its_own_share)
{
	struct record *rec;
	const struct stream_view *s;

	begin();
	rec = open_one(ROLE_ACCEPTED, 1);
	rec->flow[SENT] = (struct flow){ .native_calls = 1,
					 .native_bytes = 100,
					 .app_calls = 2,
					 .app_bytes = 200,
					 .held_calls = 5,
					 .held_bytes = 50,
					 .kernel_calls = 1,
					 .kernel_bytes = 240,
					 .chunks = 1,
					 .discarded = 4 };
	CHECK(snapshot_take(&snap, true));
	s = stream_of(1);
	CHECK(s && s->open && s->pid == getpid() && s->flow[SENT].app_calls == 8);
	CHECK(s->flow[SENT].app_bytes == 350 && s->flow[SENT].pending == 6);
	CHECK(s->flow[SENT].kernel_calls == 2 && s->flow[SENT].kernel_bytes == 340);
	CHECK(s->flow[SENT].chunks == 2);
	CHECK(snap.open[ROLE_ACCEPTED][MODE_MANAGED] == 1);
	/* The same record as another stream: totals stay, its own figures begin anew. */
	rec->rare[SENT].stall_since_ns = 0;
	rec->flow_at_open[SENT] = rec->flow[SENT];
	rec->cookie = 2;
	rec->flow[SENT].native_bytes += 10;
	CHECK(snapshot_take(&snap, true));
	s = stream_of(2);
	CHECK(s && s->flow[SENT].app_bytes == 10 && s->flow[SENT].pending == 0);
	CHECK(snap.total[ROLE_ACCEPTED][SENT].app_bytes == 360);
	CHECK(snap.total[ROLE_ACCEPTED][SENT].pending == 6);
}

/* Under ThreadSanitizer each look takes its time anyway, so that all its tries may be disturbed. */
#ifdef WEIR_TSAN
enum { SLOW = 1, STAY = 10, LOOKS = 30, SUMS = 5, SUM_BYTES = 10000 };
#else
enum { SLOW = 0, STAY = 3000, LOOKS = 300, SUMS = 60, SUM_BYTES = 1000000 };
#endif

static void *
opens_and_closes(void *stop)
{
	const struct timespec a_while = { 0, 100000 };
	struct record *rec;

	while (!__atomic_load_n((uint32_t *)stop, __ATOMIC_RELAXED)) {
		rec = open_one(ROLE_ACCEPTED, 7);
		nanosleep(&a_while, NULL);
		region_close(rec, sys_now_ns(), 1);
		nanosleep(&a_while, NULL);
	}
	return NULL;
}

/* Whatever comes and goes while we look. */
IN_CHILD(open_streams_are_those_opened_less_those_closed)
{
	const struct totals *totals = &snap.totals;
	uint64_t wrong = 0;
	uint32_t stop = 0;
	pthread_t thread;

	begin();
	for (uint64_t i = 0; i < STAY; i++) /* so that a look takes its time */
		open_one(ROLE_ACCEPTED, 100 + i);
	CHECK(pthread_create(&thread, NULL, opens_and_closes, &stop) == 0);
	for (int i = 0; i < LOOKS; i++) {
		CHECK(snapshot_take(&snap, true));
		wrong += totals->opened[ROLE_ACCEPTED] - totals->closed[ROLE_ACCEPTED] !=
			 snap.open[ROLE_ACCEPTED][MODE_MANAGED];
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	CHECK(SLOW || wrong == 0);
}

IN_CHILD(ended_processes_are_those_that_can_be)
{
	uint64_t *ended;

	begin();
	ended = region_get()->ended;
	ended[0] = (uint64_t)ENDED_EXEC << 32 | 41;
	ended[1] = (uint64_t)ENDED_KILLED << 32; /* nobody */
	ended[2] = (uint64_t)ENDED_KILLED << 32 | 0x80000000;
	ended[3] = (uint64_t)NR_ENDINGS << 32 | 43;
	ended[4] = (uint64_t)ENDED_KILLED << 32 | 44;
	region_get()->totals.nr_ended = KEPT_ENDED + 1; /* the first is the newest */
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.nr_ended == 2);
	CHECK(snap.ended[0].pid == 44 && snap.ended[0].how == ENDED_KILLED);
	CHECK(snap.ended[1].pid == 41 && snap.ended[1].how == ENDED_EXEC);
}

IN_CHILD(a_snapshot_without_the_streams_has_the_same_sums)
{
	struct record *rec;

	begin();
	rec = open_one(ROLE_CONNECTED, 9);
	rec->rare[SENT].stall_since_ns = (uint64_t)sys_now_ns() - 50000000;
	count_add(&rec->flow[SENT].native_bytes, 1234);
	CHECK(snapshot_take(&snap, false));
	CHECK(!snap.listed && snap.nr_streams == 0 && snap.stalled == 1);
	CHECK(snap.total[ROLE_CONNECTED][SENT].app_bytes == 1234);
	CHECK(snap.open[ROLE_CONNECTED][MODE_MANAGED] == 1);
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.listed && snap.nr_streams == 1 && snap.stalled == 1);
}

IN_CHILD(a_running_episode_counts_up_to_now)
{
	struct record *rec;

	begin();
	rec = open_one(ROLE_CONNECTED, 9);
	rec->rare[SENT].stall_ns = 1000000;
	rec->rare[SENT].stall_since_ns = (uint64_t)sys_now_ns() - 50000000;
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.stalled == 1 && stream_of(9)->flow[SENT].running_ns >= 50000000);
	CHECK(stream_of(9)->flow[SENT].stall_ns >= 51000000);
	CHECK(snap.total[ROLE_CONNECTED][SENT].stall_ns >= 51000000);
}

/* Nobody has looked at it, so no cause is known; it is counted when it returns. */
IN_CHILD(a_write_that_waits_is_blocked_but_not_counted)
{
	struct record *rec;

	begin();
	rec = open_one(ROLE_CONNECTED, 9);
	rec->rare[SENT].stall_ns = 1000000;
	rec->waiting_ns = sys_now_ns() - 50000000;
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.stalled == 1 && stream_of(9)->flow[SENT].running_ns >= 50000000);
	CHECK(stream_of(9)->flow[RECEIVED].running_ns == 0);
	CHECK(stream_of(9)->blocked == CAUSE_UNKNOWN);
	CHECK(stream_of(9)->flow[SENT].stall_ns == 1000000);
	rec->waiting_ns = INT64_MAX; /* noise */
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.stalled == 0);
}

IN_CHILD(of_the_accept_queues_the_fullest_is_shown)
{
	struct member *me, *other;

	begin();
	me = region_member();
	other = &region_get()->members[5];
	region_get()->members_used = 6;
	me->accept_queue = 2;
	me->accept_limit = 128;
	other->pid = (uint32_t)getppid();
	other->accept_queue = 7;
	other->accept_limit = 16;
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.accept_queue == 7 && snap.accept_limit == 16);
	me->accept_queue = UINT64_MAX; /* no number that a gauge may have */
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.accept_queue == 7 && snap.accept_limit == 16);
	other->pid = 0; /* it left */
	me->accept_queue = 2;
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.accept_queue == 2 && snap.accept_limit == 128);
}

IN_CHILD(idle_is_the_time_since_bytes_moved)
{
	struct record *rec;
	uint64_t first;

	begin();
	rec = open_one(ROLE_ACCEPTED, 1);
	rec->flow[SENT].kernel_bytes = 5;
	CHECK(snapshot_take(&snap, true));
	CHECK(stream_of(1)->idle_ns == 0);
	first = snap.now_ns;
	CHECK(snapshot_take(&snap, true));
	CHECK(stream_of(1)->idle_ns == snap.now_ns - first && snap.now_ns > first);
	rec->flow[SENT].kernel_bytes++;
	CHECK(snapshot_take(&snap, true));
	CHECK(stream_of(1)->idle_ns == 0);
}

/* A server forks per connection: the parent closes its copy, the child goes on. */
IN_CHILD(a_stream_of_two_processes_is_one)
{
	struct record *rec;
	const struct stream_view *s;
	int pipes[2][2];
	uint32_t born, holder;
	char c;
	pid_t pid;

	begin();
	CHECK(!pipe(pipes[0]) && !pipe(pipes[1]));
	rec = open_one(ROLE_ACCEPTED, 77);
	rec->flow[RECEIVED].native_bytes = 40;
	born = region_bear();
	holder = holder_make(rec, 77);
	holder_add(holder, 77, born - 1);
	pid = fork();
	if (!pid) {
		struct record *copy = region_open(ROLE_ACCEPTED, (uint32_t)sys_gettid());

		region_join(born);
		copy->again = 1;
		copy->cookie = 77;
		copy->flow[RECEIVED].native_bytes = 2;
		region_publish(copy);
		CHECK(write(pipes[0][1], "x", 1) == 1 && read(pipes[1][0], &c, 1) == 1);
		kill(getpid(), SIGKILL);
	}
	CHECK(read(pipes[0][0], &c, 1) == 1);
	holder_leave(holder, 77, (uint32_t)sys_gettid());
	/* Out of the last closed ones, and still the stream's. */
	for (int i = 0; i < 2 * KEPT_CLOSED; i++)
		region_close(open_one(ROLE_ACCEPTED, 0), sys_now_ns(),
			     (uint32_t)sys_gettid());
	CHECK(snapshot_take(&snap, true));
	s = stream_of(77);
	CHECK(s && s->open && s->pid == pid && s->flow[RECEIVED].kernel_bytes == 42);
	CHECK(snap.nr_pids == 2 && snap.open[ROLE_ACCEPTED][MODE_MANAGED] == 1);
	CHECK(snap.totals.opened[ROLE_ACCEPTED] == 1 + 2 * KEPT_CLOSED);
	CHECK(snap.totals.closed[ROLE_ACCEPTED] == 2 * KEPT_CLOSED);
	/* Killed: what it counted stays, what it had open is not open any more. */
	CHECK(write(pipes[1][1], "x", 1) == 1 && waitpid(pid, NULL, 0) == pid);
	CHECK(snapshot_take(&snap, true));
	CHECK(snap.nr_pids == 1 && snap.open[ROLE_ACCEPTED][MODE_MANAGED] == 0);
	CHECK(snap.total[ROLE_ACCEPTED][RECEIVED].kernel_bytes == 42);
}

static uint32_t done;

static void *
write_and_close(void *arg)
{
	uint32_t tid = (uint32_t)sys_gettid();

	for (uint32_t n = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); n++) {
		struct record *rec = region_open((enum role)(n & 1), tid);

		CHECK(rec);
		rec->cookie = (uintptr_t)arg + n;
		region_publish(rec);
		for (int i = 0; i < 20; i++) {
			count_add(&rec->flow[SENT].held_bytes, 10);
			count_add(&rec->flow[SENT].kernel_bytes, 7);
			count_add(&rec->flow[SENT].discarded, 3);
		}
		region_close(rec, sys_now_ns(), tid);
	}
	return NULL;
}

/* Law: application = kernel + pending + discarded, whatever goes on meanwhile, and no total
 * ever falls. */
IN_CHILD(sums_hold_while_streams_come_and_go)
{
	pthread_t threads[2];
	struct flow_view before = { 0 };
	int64_t end_ns;

	begin();
	for (uintptr_t i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, write_and_close,
				      (void *)(i << 40 | 1)));
	/* On a busy machine the writers have used all records before the first look, and each takes long. */
	end_ns = sys_now_ns() + INT64_C(10000000000);
	for (int i = 0;
	     (i < SUMS && sys_now_ns() < end_ns) || before.app_bytes < SUM_BYTES; i++) {
		struct flow_view sum = { 0 };

		CHECK(snapshot_take(&snap, true));
		for (int r = 0; r < NR_ROLES; r++)
			view_add(&sum, &snap.total[r][SENT]);
		CHECK(sum.app_bytes == sum.kernel_bytes + sum.pending + sum.discarded);
		CHECK(sum.app_bytes >= before.app_bytes &&
		      sum.kernel_bytes >= before.kernel_bytes);
		before = sum;
		for (uint32_t k = 0; k < snap.nr_streams; k++) {
			struct flow_view *f = &snap.streams[k].flow[SENT];

			CHECK(f->app_bytes ==
			      f->kernel_bytes + f->pending + f->discarded);
			CHECK(f->app_bytes <= 200);
		}
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_region_there_is_none),
		cmocka_unit_test(a_stream_shows_its_own_share),
		cmocka_unit_test(open_streams_are_those_opened_less_those_closed),
		cmocka_unit_test(ended_processes_are_those_that_can_be),
		cmocka_unit_test(a_snapshot_without_the_streams_has_the_same_sums),
		cmocka_unit_test(a_running_episode_counts_up_to_now),
		cmocka_unit_test(a_write_that_waits_is_blocked_but_not_counted),
		cmocka_unit_test(of_the_accept_queues_the_fullest_is_shown),
		cmocka_unit_test(idle_is_the_time_since_bytes_moved),
		cmocka_unit_test(a_stream_of_two_processes_is_one),
		cmocka_unit_test(sums_hold_while_streams_come_and_go),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
