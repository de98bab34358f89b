/*
 * Runs random programs (program.h) natively and under the library, and compares every step.
 *
 *   fuzz [--programs N] [--from SEED]    N programs on each transport, half of them with reads
 *                                        ahead that need not pay
 *   fuzz --seed N [--unix] [--eager]     one program, step by step
 *
 * A difference is run again with new readers, then made shorter as long as it stays, and printed
 * as steps and as text for remembered.c.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../integration/harness.h"
#include "peer.h"
#include "remembered.h"

enum { MAX_SHOWN = 5, LINE = 256, SHORTEN_S = 60, AGAIN = 20, FEW = 3 };

static struct peer peers[NR_WAYS];
static int nr_tests;
static time_t shorten_until; /* 0: nothing is being shortened */

static const char *const way_names[] = { "natively", "preloaded", "eager" };
static const char *const transport_names[] = { "TCP", "AF_UNIX" };

/* What comparing two runs of a program found. LATE: something had not arrived in time. UNSTEADY: the
 * kernel answers the program now in one way, now in the other (a spurious edge). */
enum verdict { SAME, DIFFERENT, LATE, UNSTEADY };

struct finding {
	enum verdict verdict;
	int step; /* the first that differs; nr_steps: the end */
	const char *what[2];
};

static void
tell(bool good, const char *what, const char *detail)
{
	printf("%s %d - %s%s\n", good ? "ok" : "not ok", ++nr_tests, what, detail);
	fflush(stdout);
}

/* ---- one program ---- */

static bool
same(const struct result *a, const struct result *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* Of what the peer found. A reset discards what the kernel has not sent yet: of many small pieces
 * natively more than of few, and any number where it waited. */
static bool
same_end(const struct result *native, const struct result *other)
{
	if (same(native, other))
		return true;
	if ((native->more[2] == NO_RESET && other->more[2] == NO_RESET) ||
	    native->value != other->value || native->content != other->content ||
	    other->more[1] > 0)
		return false;
	return native->more[2] == RESET_WAITING || other->more[2] == RESET_WAITING ||
	       other->more[1] >= native->more[1];
}

static bool
same_at(const struct program *p, int i, const struct result *a, const struct result *b)
{
	return p->steps[i].op <= PEER_LAST ? same_end(a, b) : same(a, b);
}

/* Looks for the first step of the two runs that differs. */
static void
compare(const struct program *p, const struct shared *a, const struct shared *b,
	struct finding *f)
{
	f->verdict = DIFFERENT;
	for (f->step = 0; f->step < p->nr_steps; f->step++)
		if (!same_at(p, f->step, &a->results[f->step], &b->results[f->step]))
			return;
	if (same_end(&a->end[0], &b->end[0]) && same_end(&a->end[1], &b->end[1]))
		f->verdict = SAME;
}

static void
ask_again(const struct program *p, enum way way, struct finding *f)
{
	int times = shorten_until ? FEW : AGAIN;

	for (int i = 0; i < times && f->verdict == DIFFERENT; i++) {
		if (!peer_run(&peers[NATIVELY], p, &f->what[0]))
			return;
		compare(p, peers[NATIVELY].shared, peers[way].shared, f);
	}
	if (f->verdict == SAME)
		f->verdict = UNSTEADY;
}

static struct finding
run_both(const struct program *p, enum way way)
{
	const struct shared *a = peers[NATIVELY].shared, *b = peers[way].shared;
	struct finding f = { .verdict = DIFFERENT };
	bool native = peer_run(&peers[NATIVELY], p, &f.what[0]);
	bool other = peer_run(&peers[way], p, &f.what[1]);

	if (!native || !other) {
		f.step = native ? b->at : a->at;
		return f;
	}
	compare(p, a, b, &f);
	if (a->late || (f.verdict == SAME && b->late))
		f.verdict = LATE;
	if (f.verdict == DIFFERENT)
		ask_again(p, way, &f);
	return f;
}

static struct finding
run_anew(const struct program *p, enum way way)
{
	peer_stop(&peers[NATIVELY]);
	peer_stop(&peers[way]);
	return run_both(p, way);
}

/* ---- showing ---- */

static void
show_step(const struct program *p, enum way way, int i, const char *mark)
{
	char step[LINE], native[LINE], other[LINE];
	const struct shared *a = peers[NATIVELY].shared, *b = peers[way].shared;
	struct step end = { .op = PEER_READS,
			    .stream = same_end(&a->end[0], &b->end[0]) };
	const struct step *s = i < p->nr_steps ? &p->steps[i] : &end;
	const struct result *ra = i < p->nr_steps ? &a->results[i] : &a->end[end.stream];
	const struct result *rb = i < p->nr_steps ? &b->results[i] : &b->end[end.stream];

	program_spell(step, sizeof step, s);
	program_spell_result(native, sizeof native, s, ra);
	program_spell_result(other, sizeof other, s, rb);
	if (i == p->nr_steps)
		snprintf(step, sizeof step, "the peer sees the end");
	if (same(ra, rb))
		printf("# %s%3d %s: %s\n", mark, i, step, native);
	else
		printf("# %s%3d %s: %s; %s: %s\n", mark, i, step, native,
		       way_names[way], other);
}

static void
show(const struct program *p, enum way way, const struct finding *f, int before)
{
	int from = f->step > before ? f->step - before : 0;

	printf("# seed %llu, %s, %s, reader %s, %d streams%s%s\n",
	       (unsigned long long)p->seed, transport_names[p->transport],
	       way_names[way], p->reader_connects ? "connects" : "accepts",
	       p->nr_streams, p->floods ? ", floods" : "",
	       p->seen_turns ? ", turns are seen" : "");
	for (int i = from; i <= p->nr_steps && i <= f->step; i++)
		show_step(p, way, i, i == f->step ? "> " : "  ");
	if (f->what[0] || f->what[1])
		printf("# natively: %s, %s: %s\n", f->what[0] ? f->what[0] : "fine",
		       way_names[way], f->what[1] ? f->what[1] : "fine");
}

static void
show_source(const struct program *p)
{
	printf("# { %s, %d, %d, %d, %d, {", p->transport == TCP ? "TCP" : "UNIX",
	       p->reader_connects, p->nr_streams, p->floods, p->seen_turns);
	for (int i = 0; i < p->nr_steps; i++) {
		const struct step *s = &p->steps[i];

		printf(" { %d, %d, %d, %d, %#x, %d, %d, %d },", s->op, s->via,
		       s->pieces, s->n, (unsigned)s->flags, s->stream, s->who, s->how);
	}
	printf(" } }\n");
}

/* ---- making it shorter ---- */

static bool
still(const struct program *p, enum way way)
{
	struct finding f;

	if (time(NULL) > shorten_until)
		return false;
	f = run_anew(p, way);
	return f.verdict == DIFFERENT;
}

static bool
without(struct program *p, enum way way, int at, int nr)
{
	struct program shorter = *p;

	memmove(&shorter.steps[at], &shorter.steps[at + nr],
		sizeof *p->steps * (size_t)(p->nr_steps - at - nr));
	shorter.nr_steps -= nr;
	if (!still(&shorter, way))
		return false;
	*p = shorter;
	return true;
}

static void
try_step(struct program *p, enum way way, int i, struct step simpler)
{
	struct program simple = *p;

	if (!memcmp(&simple.steps[i], &simpler, sizeof simpler))
		return;
	simple.steps[i] = simpler;
	if (still(&simple, way))
		*p = simple;
}

static void
simplify(struct program *p, enum way way, int i)
{
	struct step s = p->steps[i];

	s.via = 0;
	try_step(p, way, i, s);
	s = p->steps[i];
	s.how = 0;
	try_step(p, way, i, s);
	s = p->steps[i];
	s.who = 0;
	try_step(p, way, i, s);
	s = p->steps[i];
	s.stream = 0;
	try_step(p, way, i, s);
	s = p->steps[i];
	s = p->steps[i];
	s.pieces = 0;
	try_step(p, way, i, s);
	for (int n = p->steps[i].n; n > 1; n /= 2) {
		s = p->steps[i];
		s.n = n / 2;
		try_step(p, way, i, s);
		if (p->steps[i].n != n / 2)
			break;
	}
	s = p->steps[i];
	s.flags = 0;
	if (s.op < DO_POLL)
		try_step(p, way, i, s);
}

static void
shorten(struct program *p, enum way way, const struct finding *f)
{
	shorten_until = time(NULL) + SHORTEN_S;
	if (f->step + 1 < p->nr_steps - 1)
		without(p, way, f->step + 1, p->nr_steps - 1 - (f->step + 1));
	for (int nr = p->nr_steps / 2; nr; nr /= 2)
		for (int at = 0; at + nr < p->nr_steps;)
			if (!without(p, way, at, nr))
				at += nr;
	for (int i = 0; i < p->nr_steps; i++)
		simplify(p, way, i);
}

static void
explain(struct program *p, enum way way, const struct finding *first)
{
	struct finding f;

	show(p, way, first, 12);
	f = run_anew(p, way);
	if (f.verdict != DIFFERENT) {
		printf("# but not with new readers\n");
		return;
	}
	shorten(p, way, &f);
	shorten_until = 0;
	f = run_anew(p, way);
	printf("# shortened to\n");
	show(p, way, &f, MAX_STEPS);
	show_source(p);
}

/* ---- many ---- */

struct tally {
	int late, different, unsteady;
	long steps;
};

static void
note(struct tally *tally, struct program *p, enum way way, const struct finding *f)
{
	tally->steps += p->nr_steps;
	if (f->verdict == LATE)
		tally->late++;
	if (f->verdict == UNSTEADY)
		tally->unsteady++;
	if (f->verdict != DIFFERENT)
		return;
	if (tally->different++ >= MAX_SHOWN)
		return;
	explain(p, way, f);
}

static void
many(enum transport transport, uint64_t from, int nr)
{
	static struct program p;
	struct tally tally = { 0 };
	char detail[160];

	for (int i = 0; i < nr; i++) {
		enum way way = i % 2 ? EAGERLY : PRELOADED_AS_IS;
		struct finding f;

		program_generate(&p, from + (uint64_t)i, transport);
		f = run_both(&p, way);
		note(&tally, &p, way, &f);
	}
	snprintf(detail, sizeof detail,
		 ": %d programs of %ld steps from seed %llu, %d different, %d late, %d unsteady",
		 nr, tally.steps, (unsigned long long)from, tally.different, tally.late,
		 tally.unsteady);
	tell(!tally.different && tally.late + tally.unsteady <= nr / 100,
	     transport == TCP ? "TCP" : "AF_UNIX", detail);
}

static void
replay(void)
{
	static struct program p;
	struct tally tally = { 0 };

	for (int i = 0; remembered(&p, i); i++) {
		for (int way = PRELOADED_AS_IS; way <= EAGERLY; way++) {
			struct finding f = run_anew(&p, (enum way)way);

			note(&tally, &p, (enum way)way, &f);
		}
	}
	tell(!tally.different, "programs that were answered differently once", "");
}

/* The comparison finds one answer that is told wrong, at its step. */
static void
check_self(void)
{
	static struct program p;
	int found = 0, nr = 20;

	for (int i = 0; i < nr; i++) {
		struct finding f;
		int step;

		program_generate(&p, 1 + (uint64_t)i, (enum transport)(i % 2));
		step = i % p.nr_steps;
		peers[PRELOADED_AS_IS].shared->flip = step + 1;
		f = run_both(&p, PRELOADED_AS_IS);
		peers[PRELOADED_AS_IS].shared->flip = 0;
		found += f.verdict == DIFFERENT && f.step == step;
	}
	tell(found == nr, "a wrong answer is found", "");
}

static void
check_borrows(int nr_programs)
{
	char detail[64];

	for (int way = 0; way < NR_WAYS; way++)
		peer_stop(&peers[way]);
	snprintf(detail, sizeof detail, ": %ld times, eagerly %ld",
		 peers[PRELOADED_AS_IS].borrows, peers[EAGERLY].borrows);
	tell(!harness_has_library() ||
		     (peers[PRELOADED_AS_IS].borrows > nr_programs / 16 &&
		      peers[EAGERLY].borrows > nr_programs / 16),
	     "reads ahead took place", detail);
}

static void
one(uint64_t seed, enum transport transport, enum way way)
{
	static struct program p;
	struct finding f;

	program_generate(&p, seed, transport);
	f = run_both(&p, way);
	show(&p, way, &f, MAX_STEPS);
	if (f.verdict == DIFFERENT)
		explain(&p, way, &f);
	tell(f.verdict == SAME || f.verdict == UNSTEADY, "one program",
	     f.verdict == LATE       ? ": late"
	     : f.verdict == UNSTEADY ? ": unsteady"
				     : "");
}

struct wish {
	uint64_t seed, from; /* seed: 0: many programs */
	int nr;
	enum transport transport;
	enum way way;
};

/* False: what is asked for is not understood. */
static bool
parse(struct wish *wish, char **args)
{
	*wish = (struct wish){ .from = 1, .nr = 3000, .way = PRELOADED_AS_IS };
	for (; *args; args++) {
		if (!strcmp(*args, "--unix"))
			wish->transport = UNIX;
		else if (!strcmp(*args, "--eager"))
			wish->way = EAGERLY;
		else if (!args[1])
			return false;
		else if (!strcmp(*args, "--programs"))
			wish->nr = atoi(*++args);
		else if (!strcmp(*args, "--from"))
			wish->from = strtoull(*++args, NULL, 10);
		else if (!strcmp(*args, "--seed"))
			wish->seed = strtoull(*++args, NULL, 10);
		else
			return false;
	}
	return true;
}

/* As the tests of tests/integration find library and actor. */
static int
find_reader(void)
{
	static const char name[] = "/reader";
	char path[512];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - sizeof name);

	path[len < 0 ? 0 : len] = '\0';
	*(strrchr(path, '/') ? strrchr(path, '/') : path) = '\0';
	strcat(path, name);
	setenv("WEIR_ACTOR", path, 0);
	return harness_init();
}

static void
clean(char *directory)
{
	char path[512];
	struct dirent *entry;
	DIR *dir;

	for (int i = 0; i < NR_WAYS; i++)
		peer_stop(&peers[i]);
	/* The listeners, and what processes that were killed left. */
	dir = opendir(directory);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	if (rmdir(directory))
		perror(directory);
}

int
main(int argc, char **argv)
{
	char directory[] = "/tmp/weir-fuzz-XXXXXX";
	struct wish wish;
	int status;

	(void)argc;
	if (!parse(&wish, argv + 1)) {
		fprintf(stderr, "fuzz: see the head of tests/fuzz/fuzz.c\n");
		return 99;
	}
	status = find_reader();
	if (status)
		return status;
	if (!mkdtemp(directory))
		return 99;
	for (int i = 0; i < NR_WAYS; i++)
		peer_init(&peers[i], (enum way)i, directory);
	if (wish.seed) {
		one(wish.seed, wish.transport, wish.way);
	} else {
		check_self();
		replay();
		many(TCP, wish.from, wish.nr);
		many(UNIX, wish.from, wish.nr);
		check_borrows(wish.nr);
	}
	printf("1..%d\n", nr_tests);
	clean(directory);
	return 0;
}
