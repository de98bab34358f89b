/* pool/pool against the real kernel: where a buffer comes from, the cap, what goes back, forks,
 * handlers that interrupt it and that jump out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/sys.h"
#include "count/member.h"
#include "pool/pool.h"

enum { TIER = 3, KIB = 1024 }; /* the tier of the default chunk */

static struct config settings;
static struct pool_cache cache;
static uint32_t tid;

static struct pool_count *
shown(unsigned tier)
{
	return &region_member()->pool[tier];
}

/* Trims twice: the first one after a get only notes that there was one. */
static void
trim(void)
{
	pool_trim(tid);
	pool_trim(tid);
}

static int
fresh(void **state)
{
	(void)state;
	settings = (struct config){ .pool_max = 256 << 20, .pool_enabled = true };
	config = &settings;
	tid = (uint32_t)sys_gettid();
	for (int i = 0; i < NR_TIERS; i++)
		shown(i)->hits = shown(i)->misses = shown(i)->exhausted =
			shown(i)->peak = 0;
	return 0;
}

/* Every test leaves nothing behind, and that is checked: no buffer in use, none kept. */
static int
nothing_is_left(void **state)
{
	(void)state;
	pool_drain(&cache, tid);
	trim();
	for (int i = 0; i < NR_TIERS; i++)
		if (shown(i)->buffers != 0 || shown(i)->in_use != 0)
			return -1;
	return pool_has_free() ? -1 : 0;
}

static void
the_smallest_tier_that_holds(void **state)
{
	(void)state;
	assert_int_equal(tier_for(0), 0);
	assert_int_equal(tier_for(4096), 0);
	assert_int_equal(tier_for(4097), 1);
	assert_int_equal(tier_for(32768), 3);
	assert_int_equal(tier_for(1 << 20), 8);
	assert_int_equal(tier_for((1 << 20) + 1), 8);
}

static void
every_buffer_is_whole_and_apart_from_the_others(void **state)
{
	char *chunk[NR_TIERS][70];

	(void)state;
	for (unsigned tier = 0; tier < NR_TIERS; tier++)
		for (int i = 0; i < 70; i++) {
			chunk[tier][i] = pool_get(tier, NULL, tid);
			assert_non_null(chunk[tier][i]);
			assert_int_equal((uintptr_t)chunk[tier][i] % 4096, 0);
			memset(chunk[tier][i], (int)tier * 70 + i, tier_size(tier));
		}
	for (unsigned tier = 0; tier < NR_TIERS; tier++) {
		assert_int_equal(shown(tier)->buffers, 70);
		assert_int_equal(shown(tier)->in_use, 70);
		assert_int_equal(shown(tier)->peak, 70);
		assert_int_equal(shown(tier)->misses, 70);
		for (int i = 0; i < 70; i++) {
			char want = (char)((int)tier * 70 + i);

			assert_int_equal(chunk[tier][i][0], want);
			assert_int_equal(chunk[tier][i][tier_size(tier) - 1], want);
			pool_put(chunk[tier][i], tier, NULL, tid);
		}
		assert_int_equal(shown(tier)->in_use, 0);
		assert_int_equal(shown(tier)->buffers, 70);
	}
}

static void
steady_traffic_makes_nothing(void **state)
{
	char *chunk[10];

	(void)state;
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 10; i++)
			chunk[i] = pool_get(TIER, &cache, tid);
		for (int i = 0; i < 10; i++)
			pool_put(chunk[i], TIER, &cache, tid);
	}
	assert_int_equal(shown(TIER)->misses, 10);
	assert_int_equal(shown(TIER)->hits, 990);
	assert_int_equal(shown(TIER)->buffers, 10);
	assert_int_equal(shown(TIER)->peak, 10);
}

static void
the_cache_gives_back_what_it_was_given(void **state)
{
	char *chunk = pool_get(TIER, &cache, tid);

	(void)state;
	pool_put(chunk, TIER, &cache, tid);
	assert_false(pool_has_free()); /* it is in the cache, not on a shared list */
	assert_ptr_equal(pool_get(TIER, &cache, tid), chunk);
	pool_put(chunk, TIER, &cache, tid);
	pool_drain(&cache, tid);
	assert_true(pool_has_free());
}

static void
a_large_tier_is_hardly_cached(void **state)
{
	char *one = pool_get(8, &cache, tid), *two = pool_get(8, &cache, tid);

	(void)state;
	pool_put(one, 8, &cache, tid);
	assert_false(pool_has_free());
	pool_put(two, 8, &cache, tid);
	assert_true(pool_has_free());
}

static void
the_cap_is_kept_and_counted(void **state)
{
	char *chunk[4];

	(void)state;
	settings.pool_max = 100 * KIB;
	for (int i = 0; i < 3; i++) {
		chunk[i] = pool_get(TIER, &cache, tid);
		assert_non_null(chunk[i]);
	}
	assert_null(pool_get(TIER, &cache, tid));
	assert_int_equal(shown(TIER)->exhausted, 1);
	assert_int_equal(shown(TIER)->misses, 3);
	chunk[3] = pool_get(0, &cache, tid); /* 4 KiB still fit: 96 + 4 = 100 */
	assert_non_null(chunk[3]);
	assert_null(pool_get(0, &cache, tid));
	pool_put(chunk[0], TIER, NULL, tid);
	chunk[0] = pool_get(TIER, &cache, tid); /* a free one needs no room */
	assert_non_null(chunk[0]);
	for (int i = 0; i < 3; i++)
		pool_put(chunk[i], TIER, &cache, tid);
	pool_put(chunk[3], 0, &cache, tid);
}

static void
a_cap_of_zero_gives_nothing(void **state)
{
	(void)state;
	settings.pool_max = 0;
	for (unsigned tier = 0; tier < NR_TIERS; tier++)
		assert_null(pool_get(tier, &cache, tid));
}

static void
at_the_cap_other_tiers_give_what_they_have_free(void **state)
{
	char *big, *small[64];

	(void)state;
	settings.pool_max = 1 << 20;
	for (int i = 0; i < 64; i++)
		small[i] = pool_get(0, NULL, tid);
	assert_null(pool_get(8, NULL, tid));
	for (int i = 0; i < 64; i++)
		pool_put(small[i], 0, NULL, tid);
	big = pool_get(8, NULL, tid);
	assert_non_null(big);
	assert_int_equal(shown(0)->buffers, 0);
	assert_null(pool_get(0, NULL, tid));
	pool_put(big, 8, NULL, tid);
}

static void
trim_waits_until_nothing_is_taken_and_spares_what_is_used(void **state)
{
	char *chunk[70];

	(void)state;
	for (int i = 0; i < 70; i++)
		chunk[i] = pool_get(TIER, NULL, tid);
	for (int i = 1; i < 70; i++)
		pool_put(chunk[i], TIER, NULL, tid);
	pool_trim(tid); /* something was taken since the last */
	assert_int_equal(shown(TIER)->buffers, 70);
	pool_trim(tid);
	assert_int_equal(shown(TIER)->buffers, 7); /* the slab of the one that is used */
	assert_false(pool_has_free());             /* nothing a trim could do */
	memset(chunk[0], 'x', tier_size(TIER));
	pool_put(chunk[0], TIER, NULL, tid);
	assert_true(pool_has_free());
	pool_trim(tid);
	assert_int_equal(shown(TIER)->buffers, 0);
}

static void
without_pooling_each_buffer_is_mapped(void **state)
{
	char *one, *two;

	(void)state;
	settings.pool_enabled = false;
	settings.pool_max = 64 * KIB;
	for (int i = 0; i < 5; i++) {
		one = pool_get(TIER, &cache, tid);
		two = pool_get(TIER, &cache, tid);
		assert_null(pool_get(TIER, &cache, tid));
		memset(one, 'x', tier_size(TIER));
		memset(two, 'y', tier_size(TIER));
		pool_put(one, TIER, &cache, tid);
		pool_put(two, TIER, &cache, tid);
		assert_int_equal(shown(TIER)->buffers, 0);
	}
	assert_int_equal(shown(TIER)->misses, 10);
	assert_int_equal(shown(TIER)->hits, 0);
	assert_int_equal(shown(TIER)->exhausted, 5);
}

static int
in_child(int (*run)(char *chunk), char *chunk)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run(chunk));
	waitpid(pid, &status, 0);
	return status;
}

static int
child_starts_empty(char *chunk)
{
	char *own;

	tid = (uint32_t)sys_gettid();
	if (*chunk != 0) /* the parent's bytes must not be here to be sent */
		return 1;
	pool_put(chunk, TIER, NULL, tid);
	if (pool_has_free())
		return 2;
	own = pool_get(TIER, &cache,
		       tid); /* the copied cache holds a chunk of the parent's */
	if (own == NULL || own == chunk)
		return 3;
	memset(own, 'c', tier_size(TIER));
	pool_put(own, TIER, NULL, tid);
	return pool_get(TIER, NULL, tid) == own ? 0 : 4;
}

static void
a_child_has_a_pool_of_its_own(void **state)
{
	char *chunk = pool_get(TIER, NULL, tid);

	(void)state;
	pool_put(pool_get(TIER, &cache, tid), TIER, &cache, tid);
	memset(chunk, 'p', tier_size(TIER));
	assert_int_equal(in_child(child_starts_empty, chunk), 0);
	assert_int_equal(*chunk, 'p');
	pool_put(chunk, TIER, NULL, tid);
}

static int
child_without_memory(char *unused)
{
	const struct rlimit none = { 4096, 4096 };
	uint64_t errors = region_get()->totals.internal[INTERNAL_MEMORY];

	(void)unused;
	tid = (uint32_t)sys_gettid();
	setrlimit(RLIMIT_AS, &none);
	if (pool_get(TIER, NULL, tid) != NULL)
		return 1;
	return region_get()->totals.internal[INTERNAL_MEMORY] == errors + 1 ? 0 : 2;
}

static void
no_memory_is_counted_and_no_more(void **state)
{
	(void)state;
	assert_int_equal(in_child(child_without_memory, NULL), 0);
}

/* ---- threads and signals ---- */

enum { KEPT = 6 };

static uint32_t stop, storming; /* A */

/* Gets and puts at random, and checks that nobody else writes to what it holds. */
static void *
worker(void *arg)
{
	static __thread struct pool_cache own;
	uint32_t me = (uint32_t)sys_gettid();
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint32_t *held[KEPT] = { NULL };

	for (int i = 0; i < 30000; i++) {
		unsigned at = (unsigned)rand_r(&seed) % KEPT, tier = at % 5;

		if (held[at] == NULL) {
			held[at] = (uint32_t *)pool_get(tier, &own, me);
			if (held[at] != NULL)
				*held[at] = me;
		} else if (*held[at] != me) {
			return "somebody else has this buffer too";
		} else {
			pool_put((char *)held[at], tier, &own, me);
			held[at] = NULL;
		}
	}
	for (unsigned at = 0; at < KEPT; at++)
		if (held[at] != NULL)
			pool_put((char *)held[at], at % 5, &own, me);
	pool_drain(&own, me);
	return NULL;
}

static void
threads_never_share_a_buffer(void **state)
{
	pthread_t thread[4];
	void *failed;

	(void)state;
	settings.pool_max =
		600 * KIB; /* so that the cap and the trims are met on the way */
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, worker, (void *)(i + 1));
	for (int i = 0; i < 50; i++)
		pool_trim(tid);
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], &failed);
		assert_null(failed);
	}
}

static volatile sig_atomic_t served, overwritten, jumping;
static sigjmp_buf away;
static char *kept_for_handler; /* from one handler to the next */

static void
handler(int sig)
{
	char *chunk;

	(void)sig;
	if (jumping) {
		/* siglongjmp opens the signal mask before it leaves this stack: without a pause
		 * of the storm handlers would pile up here. */
		__atomic_store_n(&storming, 0, __ATOMIC_RELAXED);
		pool_jumped(tid);
		siglongjmp(away, 1);
	}
	if (kept_for_handler != NULL) {
		overwritten |= *kept_for_handler != 'h';
		pool_put(kept_for_handler, TIER, NULL, tid);
	}
	kept_for_handler = NULL;
	chunk = pool_get(TIER, &cache, tid);
	if (chunk == NULL)
		return;
	served++;
	memset(chunk, 'h', 64);
	kept_for_handler = chunk;
}

static void *
storm(void *arg)
{
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0) {
		if (__atomic_load_n(&storming, __ATOMIC_RELAXED) != 0)
			sys_tgkill(getpid(), (int)(uintptr_t)arg, SIGUSR1);
		sys_yield();
	}
	return NULL;
}

static pthread_t
begin_storm(void)
{
	struct sigaction action = { .sa_handler = handler };
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	served = 0;
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&storming, 0, __ATOMIC_RELAXED);
	pthread_create(&thread, NULL, storm, (void *)(uintptr_t)tid);
	return thread;
}

static void
end_storm(pthread_t thread)
{
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	signal(SIGUSR1, SIG_IGN);
}

/* A free chunk that cannot be read makes the pool fault while it holds its lock: that is how
 * these tests get a handler to run there, and at one known instruction. */
static struct {
	char *trap; /* the free chunk */
	char *put;  /* what the handler puts */
	char *got;  /* what the handler's get answered */
	bool jumps;
	int faults;
} inside;

static void
on_fault(int sig)
{
	(void)sig;
	inside.faults++;
	mprotect(inside.trap, 4096, PROT_READ | PROT_WRITE);
	inside.got = pool_get(TIER, NULL, tid);
	pool_put(inside.put, TIER, NULL, tid);
	if (inside.jumps) {
		pool_jumped(tid);
		siglongjmp(away, 1);
	}
}

/* What the get that was interrupted answered; NULL if the handler jumped out of it. */
static char *
get_interrupted(bool jumps)
{
	struct sigaction action = { .sa_handler = on_fault }, before;
	char *volatile chunk = NULL;

	inside.jumps = jumps;
	inside.faults = 0;
	inside.put = pool_get(TIER, NULL, tid);
	inside.got = inside.trap = pool_get(TIER, NULL, tid);
	pool_put(inside.trap, TIER, NULL, tid);
	sigaction(SIGSEGV, &action, &before);
	mprotect(inside.trap, 4096, PROT_NONE);
	if (sigsetjmp(away, 1) == 0)
		chunk = pool_get(TIER, NULL, tid);
	sigaction(SIGSEGV, &before, NULL);
	return chunk;
}

static void
a_handler_inside_the_lock_is_refused_and_its_put_is_kept(void **state)
{
	char *chunk = get_interrupted(false), *other;

	(void)state;
	assert_int_equal(inside.faults, 1);
	assert_null(inside.got);
	assert_ptr_equal(chunk, inside.trap);
	assert_true(pool_has_free()); /* so that a keeper comes and trims */
	other = pool_get(TIER, NULL, tid);
	assert_ptr_equal(other, inside.put);
	pool_put(chunk, TIER, NULL, tid);
	pool_put(other, TIER, NULL, tid);
}

static void
a_jump_out_of_the_lock_loses_nothing_that_was_free(void **state)
{
	char *one, *two;

	(void)state;
	assert_null(get_interrupted(true));
	assert_int_equal(inside.faults, 1);
	one = pool_get(TIER, NULL, tid);
	two = pool_get(TIER, NULL, tid);
	assert_true((one == inside.trap && two == inside.put) ||
		    (one == inside.put && two == inside.trap));
	assert_int_equal(shown(TIER)->buffers, 2);
	pool_put(one, TIER, NULL, tid);
	pool_put(two, TIER, NULL, tid);
}

/* Handlers at any instruction. That no chunk is lost, and none given out twice, shows in the
 * teardown: everything could be handed back. */
static void
handlers_at_any_time_lose_nothing(void **state)
{
	int64_t deadline = sys_now_ns() + INT64_C(3000000000);
	pthread_t thread = begin_storm();

	(void)state;
	__atomic_store_n(&storming, 1, __ATOMIC_RELAXED);
	while (served < 500 && sys_now_ns() < deadline) {
		char *one = pool_get(TIER, &cache, tid),
		     *two = pool_get(TIER, NULL, tid);

		if (one != NULL)
			memset(one, '1', 64);
		if (two != NULL)
			memset(two, '2', 64);
		assert_true(one == NULL || *one == '1');
		if (two != NULL)
			pool_put(two, TIER, NULL, tid);
		if (one != NULL)
			pool_put(one, TIER, &cache, tid);
	}
	end_storm(thread);
	assert_true(served > 0);
	assert_false(overwritten);
	if (kept_for_handler != NULL)
		pool_put(kept_for_handler, TIER, NULL, tid);
	kept_for_handler = NULL;
}

/* After each jump at most one chunk is gone; the lists stay whole. In a child, because of the
 * chunks that do go. */
static int
child_that_jumps(char *unused)
{
	static volatile int jumps;
	static pthread_t thread;
	/* On one busy processor each jump takes a turn of everybody. */
	int64_t deadline = sys_now_ns() + INT64_C(120000000000);
	char *all[64];

	(void)unused;
	tid = (uint32_t)sys_gettid();
	jumping = 1;
	thread = begin_storm();
	if (sigsetjmp(away, 1) != 0)
		jumps++;
	__atomic_store_n(&storming, 1, __ATOMIC_RELAXED);
	while (jumps < 300 && sys_now_ns() < deadline)
		pool_put(pool_get(TIER, NULL, tid), TIER, NULL, tid);
	signal(SIGUSR1, SIG_IGN);
	end_storm(thread);
	if (jumps < 300)
		return 1;
	if (shown(TIER)->buffers > 301)
		return 2;
	for (int i = 0; i < 64; i++) {
		all[i] = pool_get(TIER, NULL, tid);
		if (all[i] == NULL)
			return 3;
		memset(all[i], i, tier_size(TIER));
	}
	for (int i = 0; i < 64; i++)
		if (all[i][0] != i || all[i][tier_size(TIER) - 1] != i)
			return 4;
	return 0;
}

static void
jumps_at_any_time_leave_the_pool_whole(void **state)
{
	(void)state;
	assert_int_equal(in_child(child_that_jumps, NULL), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, nothing_is_left)
	const struct CMUnitTest tests[] = {
		TEST(the_smallest_tier_that_holds),
		TEST(every_buffer_is_whole_and_apart_from_the_others),
		TEST(steady_traffic_makes_nothing),
		TEST(the_cache_gives_back_what_it_was_given),
		TEST(a_large_tier_is_hardly_cached),
		TEST(the_cap_is_kept_and_counted),
		TEST(a_cap_of_zero_gives_nothing),
		TEST(at_the_cap_other_tiers_give_what_they_have_free),
		TEST(trim_waits_until_nothing_is_taken_and_spares_what_is_used),
		TEST(without_pooling_each_buffer_is_mapped),
		TEST(a_child_has_a_pool_of_its_own),
		TEST(no_memory_is_counted_and_no_more),
		TEST(threads_never_share_a_buffer),
		TEST(a_handler_inside_the_lock_is_refused_and_its_put_is_kept),
		TEST(a_jump_out_of_the_lock_loses_nothing_that_was_free),
		TEST(handlers_at_any_time_lose_nothing),
		TEST(jumps_at_any_time_leave_the_pool_whole),
	};

	if (!region_init())
		return 1;
	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
