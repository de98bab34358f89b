/* The region under attack: whatever a member writes to it, every document is well-formed, nothing
 * beside it is touched, and what members do on their own account comes to an end.
 *
 * Usage: test_noise [seed [rounds]]; a round that fails says how to run it again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/config.h"
#include "base/sys.h"
#include "count/holder.h"
#include "count/member.h"
#include "in_child.h"
#include "json_check.h"
#include "metrics/answer.h"
#include "noise.h"
#include "text_check.h"

enum {
	ROUNDS = 1500,
	SHIFT = 7,
	ENOUGH = 20,
	TOGETHER_MS = 1000,
	BUSY = 100,
	CLOSES = 2000000
};

/* Of one round, or of one call beside noise, in a process's own time. */
enum { MOST_MS = 500 };

static struct config settings = { .enabled = true,
				  .pool_enabled = true,
				  .metrics = true };
static struct answers answers;
static uint64_t first_seed = 1;
static uint32_t nr_rounds = ROUNDS;

/* Seen by the processes of a test, and not in the region. */
static struct {
	uint64_t seed; /* of the round that runs */
	uint32_t stop, nr_calls;
} * watch;

static int64_t
cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
begin(unsigned shift, bool at_end)
{
	config = &settings;
	CHECK(region_init());
	region_join(0);
	CHECK(noise_region(shift, at_end));
	region_lock_file(memfd_create("locks", MFD_CLOEXEC));
}

/* ---- documents ---- */

static void
check_text(const struct out *out, bool openmetrics)
{
	static char text[1 << 18];
	const char *wrong;

	CHECK(out->len < sizeof text);
	memcpy(text, out->text, out->len);
	text[out->len] = '\0';
	wrong = text_wrong(text, openmetrics);
	if (wrong)
		fprintf(stderr, "in the text: %s\n", wrong);
	CHECK(!wrong);
}

static void
look_at(const struct request *req)
{
	struct body *body = answer_get(&answers, req);

	CHECK(body);
	if (req->document == DOC_METRICS)
		check_text(&body->out, req->format == TEXT_OPENMETRICS);
	else
		CHECK(json_valid(body->out.text, body->out.len));
	answer_put(body);
}

static void
look_at_streams(enum stream_sort sort, enum stream_state state, uint32_t limit)
{
	struct request req = { .document = DOC_STREAMS };

	req.query = (struct stream_query){ sort, state, limit };
	look_at(&req);
}

/* Of the streams one choice, or `all`. */
static void
look_at_all(bool all)
{
	static const uint32_t limits[] = { 0, 1, 50, UINT32_MAX };
	uint64_t which = noise_word() >> 20;

	answers.snap.now_ns = 0; /* so that the next one is of now */
	for (int d = DOC_METRICS; d <= DOC_HEALTH; d++)
		for (int f = 0; f < 2 && d != DOC_STREAMS; f++)
			look_at(&(struct request){ .document = (enum document)d,
						   .format = (enum text_format)f });
	for (unsigned i = 0; i < 60; i++)
		if (all || i == which % 60)
			look_at_streams((enum stream_sort)(i % 5),
					(enum stream_state)(i / 5 % 3), limits[i / 15]);
	CHECK(answers.snap.nr_streams <= region_nr_records());
	CHECK(answers.snap.nr_pids <= NR_MEMBERS);
}

/* ---- what members do ---- */

static void
use_record(uint32_t tid, bool closes)
{
	struct record *rec = region_open((enum role)(noise_word() >> 40 & 1), tid);

	if (!rec)
		return;
	CHECK(rec >= region_get()->records &&
	      rec < region_get()->records + region_nr_records());
	rec->fd = 5;
	region_publish(rec);
	count_add(&rec->flow[SENT].native_bytes, 10);
	if (closes)
		region_close(rec, sys_now_ns(), tid);
}

static void
use_tally(void)
{
	bool shared;
	struct tally *tally = region_tally_get(&shared);

	CHECK(tally >= region_get()->tallies &&
	      tally < region_get()->tallies + NR_TALLIES);
	count_add(&tally->count[SIZE_APP_READ][3], 1);
	region_tally_put(tally);
}

static void
come_and_go(void)
{
	struct member *m;

	region_leave(noise_word() >> 40 & 1 ? ENDED_EXEC : ENDED_EXIT);
	region_join(0);
	m = region_member();
	count_add(&m->pool[8].hits, 1);
}

/* Now and then there is a child, which joins. */
static void
bear(void)
{
	uint32_t born = region_bear();
	pid_t pid = noise_word() >> 40 & 15 ? -1 : fork();
	int status;

	if (!pid) {
		region_join(born);
		use_record((uint32_t)sys_gettid(), false);
		region_leave(ENDED_EXIT);
		_exit(0);
	}
	region_born(born, pid);
	if (pid > 0)
		CHECK(waitpid(pid, &status, 0) == pid && !status);
}

static void
ask_about_others(void)
{
	uint32_t pid = (uint32_t)noise_pid();

	region_reap();
	region_has(pid);
	region_has_ended(pid);
	region_left(pid, (enum ending)(pid % NR_ENDINGS));
}

/* A stream that others have too, for a while. */
static void
hold(uint32_t tid)
{
	struct record *rec = region_open(ROLE_ACCEPTED, tid);
	uint64_t cookie = 1 + (noise_word() >> 30 & 7);
	uint32_t holder;

	if (!rec)
		return;
	rec->cookie = cookie;
	region_publish(rec);
	holder = holder_make(rec, cookie);
	holder_add(holder, cookie, (uint32_t)(noise_word() >> 30) % (2 * NR_MEMBERS));
	if (!holder_alone(holder, cookie))
		holder_reap(holder, cookie);
	if (noise_word() >> 30 & 1)
		noise_strew();
	holder_keeps(rec);
	holder_passed(holder, cookie);
	holder_leave(holder, cookie, tid);
	holder_leave((uint32_t)noise_word(), cookie, tid);
	holder_end((uint32_t)(noise_word() >> 30) % NR_MEMBERS, tid);
}

static void
call_something(void)
{
	uint32_t tid = (uint32_t)sys_gettid();

	switch (noise_word() >> 30 & 7) {
	case 0:
		come_and_go();
		break;
	case 1:
		ask_about_others();
		break;
	case 2:
		use_tally();
		break;
	case 3:
		use_record(tid, false);
		break;
	case 4:
		bear();
		break;
	case 5:
		hold(tid);
		break;
	default:
		use_record(tid, true);
	}
}

static void
make_busy(void)
{
	uint32_t tid = (uint32_t)sys_gettid();

	for (int i = 0; i < BUSY; i++)
		use_record(tid, i % 3 == 0);
	for (int i = 0; i < NR_MEMBERS; i += 5)
		call_something();
	noise_keep();
}

/* ---- one process ---- */

static void
run_round(uint64_t seed)
{
	int64_t from = cpu_ms();

	watch->seed = seed;
	noise_seed(seed);
	noise_strew();
	for (int i = 0; i < 4; i++)
		call_something();
	if (seed % 2)
		noise_strew();
	look_at_all(seed % 50 == 0);
	CHECK(cpu_ms() - from < MOST_MS);
}

static void
run_rounds(unsigned shift, bool at_end, uint64_t seed)
{
	begin(shift, at_end);
	noise_no_signals();
	make_busy();
	for (uint32_t i = 0; i < nr_rounds / 2; i++)
		run_round(seed + i);
}

static void
rounds_behind_a_wall(void)
{
	run_rounds(SHIFT, false, first_seed);
}

static void
rounds_before_a_wall(void)
{
	run_rounds(SHIFT, true, first_seed + nr_rounds / 2);
}

/* A seed makes the same noise again, but not the state that earlier rounds left in private memory. */
static void
passes(void (*body)(void))
{
	int status = in_child(body);

	if (status)
		fail_msg("ended with %d; seed %llu of those from %llu on", status,
			 (unsigned long long)watch->seed,
			 (unsigned long long)first_seed);
}

static void
noise_is_only_noise_in_the_answers(void **state)
{
	(void)state;
	passes(rounds_behind_a_wall);
	passes(rounds_before_a_wall);
}

/* Every word by itself at the ends of its range, in a region that is whole otherwise. */
static void
words_at_their_ends(void *at, size_t len)
{
	static const uint64_t ends[] = { 0,
					 UINT64_MAX,
					 INT64_MAX,
					 UINT64_C(1) << 63,
					 UINT64_C(0xffffffff) << 32,
					 UINT32_MAX };
	uint64_t *word = at, was;

	for (size_t i = 0; i < len / sizeof *word; i++)
		for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
			was = word[i];
			word[i] = ends[k];
			look_at_all(false);
			word[i] = was;
		}
}

IN_CHILD(no_single_word_breaks_an_answer)
{
	struct region *region;

	begin(SHIFT, true);
	use_record((uint32_t)sys_gettid(), false);
	use_record((uint32_t)sys_gettid(), true);
	region = region_get();
	words_at_their_ends(region, offsetof(struct region, members));
	words_at_their_ends(&region->members[0], sizeof region->members[0]);
	words_at_their_ends(&region->records[0], sizeof region->records[0]);
}

/* All of them want one place in the table in which a snapshot looks for cookies, for whose factor this
 * is the inverse. */
static int64_t
snapshot_ms(uint64_t factor)
{
	struct region *region = region_get();
	int64_t from;

	for (uint32_t i = 0; i < region_nr_records(); i++) {
		region->records[i].state = RECORD_OPEN;
		region->records[i].pid = getpid();
		region->records[i].cookie = (i + 1) * factor;
	}
	region->records_used = region_nr_records();
	from = cpu_ms();
	CHECK(snapshot_take(&answers.snap, true));
	return cpu_ms() - from;
}

IN_CHILD(chosen_cookies_do_not_hold_a_snapshot_up)
{
	int64_t ms;

	begin(14, true);
	snapshot_ms(1); /* the pages are there */
	ms = snapshot_ms(1);
	CHECK(snapshot_ms(0xf1de83e19937733d) < 10 * ms + MOST_MS / 5);
}

/* ---- several processes ---- */

static bool
stopped(void)
{
	return __atomic_load_n(&watch->stop, __ATOMIC_RELAXED);
}

static void
make_noise(void)
{
	noise_seed(first_seed);
	while (!stopped())
		noise_strew();
}

static void
call_all_the_time(void)
{
	noise_seed(first_seed + 1);
	region_join(0);
	for (; !stopped(); watch->nr_calls++) {
		int64_t from = cpu_ms();

		call_something();
		CHECK(cpu_ms() - from < MOST_MS);
	}
}

static void
move_a_holders_record(void)
{
	uint32_t *record = &region_get()->holders[0].record;

	while (!stopped()) {
		__atomic_store_n(record, 0, __ATOMIC_RELAXED);
		__atomic_store_n(record, UINT32_MAX, __ATOMIC_RELAXED);
	}
}

static pid_t
start(void (*body)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		alarm(60);
		body();
		_exit(0);
	}
	return pid;
}

static void
ends_well(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (status)
		fprintf(stderr, "a process ended with status %#x\n", (unsigned)status);
	CHECK(!status);
}

IN_CHILD(documents_and_calls_go_on_beside_noise)
{
	pid_t noisy, calling;
	int64_t until;
	int nr = 0;

	begin(SHIFT + 3, true);
	noise_no_signals();
	make_busy();
	noisy = start(make_noise);
	calling = start(call_all_the_time);
	noise_seed(first_seed + 2);
	until = sys_now_ns() + TOGETHER_MS * INT64_C(1000000);
	for (; sys_now_ns() < until || nr < ENOUGH || watch->nr_calls < ENOUGH; nr++) {
		int64_t from = cpu_ms();

		look_at_all(false);
		CHECK(cpu_ms() - from < MOST_MS);
	}
	__atomic_store_n(&watch->stop, 1, __ATOMIC_RELAXED);
	ends_well(noisy);
	ends_well(calling);
	look_at_all(true);
}

/* Between the look at an index and its use, it is another. */
IN_CHILD(a_close_beside_noise_stays_in_the_region)
{
	uint32_t slot = (begin(SHIFT, true), (uint32_t)region_slot());
	struct holder *h = &region_get()->holders[0];
	pid_t noisy;

	watch->stop = 0;
	noisy = start(move_a_holders_record);
	for (int i = 0; i < CLOSES; i++) {
		h->used = 1;
		h->cookie = 7;
		h->slots[slot / 64] = UINT64_C(1) << slot % 64;
		h->nr = 1;
		holder_leave(1, 7, (uint32_t)sys_gettid());
	}
	__atomic_store_n(&watch->stop, 1, __ATOMIC_RELAXED);
	ends_well(noisy);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(noise_is_only_noise_in_the_answers),
		cmocka_unit_test(no_single_word_breaks_an_answer),
		cmocka_unit_test(chosen_cookies_do_not_hold_a_snapshot_up),
		cmocka_unit_test(documents_and_calls_go_on_beside_noise),
		cmocka_unit_test(a_close_beside_noise_stays_in_the_region),
	};

	if (argc > 1)
		first_seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		nr_rounds = (uint32_t)atoi(argv[2]);
	watch = mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (watch == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests_name("noise", tests, NULL, NULL);
}
