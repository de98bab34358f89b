/* cli/export/ledger: what families said stays in the sums, once and for good. */
#include "cli/export/ledger.h"
#include "cli/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MINUTE_MS = 60000 };

/* One family's socket as a gathering found it. */
struct found {
	ino_t ino;
	enum state state;
	pid_t pid;
	int start; /* seconds */
	int count; /* of its counter, and its gauge */
};

static void
say(struct member *m, const struct found *f)
{
	struct text text = { 0 };

	text_add(&text,
		 "# TYPE weir_c_total counter\nweir_c_total %d\n"
		 "# TYPE weir_g gauge\nweir_g %d\n"
		 "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d\n",
		 f->count, f->count, f->start);
	assert_true(exposition_read(&m->said, text.at, text.len));
	m->family.program = "p\"q";
	m->family.pid = m->family.seen_pid = f->pid;
}

/* A gathering `at_ms` that found these, ended by an inode of 0. */
static void
note(struct ledger *l, long long at_ms, const struct found *found)
{
	struct place places[4] = { 0 };
	struct member members[4] = { 0 };
	struct gathering g = { .at = members, .timestamp = at_ms };

	for (; found->ino; found++, g.nr++) {
		places[g.nr].ino = found->ino;
		places[g.nr].path = "/run/s";
		members[g.nr].place = &places[g.nr];
		members[g.nr].state = found->state;
		if (found->state == STATE_LIVE)
			say(&members[g.nr], found);
	}
	ledger_note(l, &g);
}

/* The sum of the counter, and of the gauge; -1: it is not there. */
static void
assert_sums(const struct ledger *l, int counter, int gauge)
{
	struct text text = { 0 };
	const char *c, *g;

	ledger_write(l, false, &text);
	c = strstr(text_string(&text), "\nweir_c_total{program=\"p\\\"q\"");
	g = strstr(text_string(&text), "\nweir_g{program=\"p\\\"q\"");
	assert_int_equal(c ? atoi(strchr(c, '}') + 1) : -1, counter);
	assert_int_equal(g ? atoi(strchr(g, '}') + 1) : -1, gauge);
	text_fini(&text);
}

#define LIVE(ino, pid, start, count) \
	{ \
		ino, STATE_LIVE, pid, start, count \
	}
#define SILENT(ino, state) \
	{ \
		ino, state, 0, 0, 0 \
	}
#define FOUND(...) ((const struct found[]){ __VA_ARGS__, { 0 } })
#define NONE ((const struct found[]){ { 0 } })

static void
a_silent_family_keeps_its_counters(void **state)
{
	struct ledger *l = ledger_new(false);

	(void)state;
	note(l, 1000, FOUND(LIVE(1, 7, 5, 10), LIVE(2, 8, 5, 100)));
	assert_sums(l, 110, 110);
	note(l, 2000, FOUND(SILENT(1, STATE_SLOW), LIVE(2, 8, 5, 200)));
	assert_sums(l, 210, 200);
	/* However long it takes. */
	note(l, 2000 + 10 * MINUTE_MS,
	     FOUND(SILENT(1, STATE_INVALID), SILENT(2, STATE_DENIED)));
	note(l, 2000 + 20 * MINUTE_MS, FOUND(LIVE(1, 7, 5, 30), SILENT(2, STATE_SLOW)));
	assert_sums(l, 230, 30);
	ledger_free(l);
}

static void
what_ended_is_counted_once(void **state)
{
	struct ledger *l = ledger_new(false);
	long long at = 1000;

	(void)state;
	note(l, at, FOUND(LIVE(1, 7, 5, 10)));
	note(l, at += 1000, NONE);
	assert_sums(l, 10, -1);
	/* It was overlooked, no more. */
	note(l, at += 1000, FOUND(LIVE(1, 7, 5, 12)));
	assert_sums(l, 12, 12);
	for (int i = 0; i < 4; i++) {
		note(l, at += MINUTE_MS, FOUND(SILENT(1, STATE_DEAD)));
		assert_sums(l, 12, -1);
	}
	/* Another begins at the same place with the same number, as in a container. */
	note(l, at += 1000, FOUND(LIVE(1, 7, 6, 3)));
	assert_sums(l, 15, 3);
	for (int i = 0; i < 4; i++)
		note(l, at += MINUTE_MS, NONE);
	assert_sums(l, 15, -1);
	ledger_free(l);
}

static void
another_start_place_or_number_is_another_family(void **state)
{
	struct ledger *l = ledger_new(false);

	(void)state;
	note(l, 1000, FOUND(LIVE(1, 7, 5, 10)));
	note(l, 2000, FOUND(LIVE(1, 7, 6, 20)));
	assert_sums(l, 30, 20);
	note(l, 3000, FOUND(LIVE(1, 8, 6, 40)));
	assert_sums(l, 70, 40);
	note(l, 4000, FOUND(LIVE(2, 8, 6, 80)));
	assert_sums(l, 150, 80);
	/* A counter that fell, whoever says so. */
	note(l, 5000, FOUND(LIVE(2, 8, 6, 1)));
	assert_sums(l, 151, 1);
	ledger_free(l);
}

static void
a_crowd_that_ended_is_summed(void **state)
{
	struct ledger *l = ledger_new(false);

	(void)state;
	for (int i = 1; i <= 2000; i++)
		note(l, i, FOUND(LIVE(1, 7, i, 1)));
	assert_sums(l, 2000, 1);
	ledger_free(l);
}

static void
per_family_forgets_what_ended(void **state)
{
	struct ledger *l = ledger_new(true);

	(void)state;
	note(l, 1000, FOUND(LIVE(1, 7, 5, 10)));
	assert_sums(l, 10, 10);
	note(l, 2000, FOUND(SILENT(1, STATE_SLOW)));
	assert_sums(l, -1, -1);
	note(l, 3000, FOUND(LIVE(1, 7, 6, 4)));
	assert_sums(l, 4, 4);
	ledger_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_silent_family_keeps_its_counters),
		cmocka_unit_test(what_ended_is_counted_once),
		cmocka_unit_test(another_start_place_or_number_is_another_family),
		cmocka_unit_test(a_crowd_that_ended_is_summed),
		cmocka_unit_test(per_family_forgets_what_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
