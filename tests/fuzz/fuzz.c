/*
 * Runs random programs (program.h) natively and under the library, and compares every step; what is
 * not promised (model.h) is not compared.
 *
 *   fuzz [--programs N] [--from SEED]    N programs on each transport, half of them with reads
 *                                        ahead that need not pay
 *   fuzz --seed N [--unix] [--eager | --unhurried]
 *                                        one program, step by step
 *
 * A difference is run again with new readers, then made shorter as long as it stays, and printed
 * as steps and as text for remembered.c.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../integration/harness.h"
#include "compare.h"
#include "remembered.h"

enum { MAX_SHOWN = 5 };

static int nr_tests;

static void
tell(bool good, const char *what, const char *detail)
{
	printf("%s %d - %s%s\n", good ? "ok" : "not ok", ++nr_tests, what, detail);
	fflush(stdout);
}

/* ---- many ---- */

struct tally {
	int late, different, unsteady, once;
	long steps, lives; /* of the steps, those that make, replace, end or hand over */
};

static int
count_lives(const struct program *p)
{
	int nr = 0;

	for (int i = 0; i < p->nr_steps; i++)
		nr += p->steps[i].op >= DO_THREAD;
	return nr;
}

static void
note(struct tally *tally, struct program *p, enum way way, const struct finding *f)
{
	tally->steps += p->nr_steps;
	tally->lives += count_lives(p);
	if (f->verdict == LATE)
		tally->late++;
	if (f->verdict == UNSTEADY)
		tally->unsteady++;
	if (f->verdict != DIFFERENT)
		return;
	if (tally->different >= MAX_SHOWN || explain(p, way, f))
		tally->different++;
	else
		tally->once++;
}

static bool
interrupts(const struct program *p)
{
	for (int i = 0; i < p->nr_steps; i++)
		if (p->steps[i].how == INTERRUPTED)
			return true;
	return false;
}

static void
many(enum transport transport, uint64_t from, int nr)
{
	static struct program p;
	struct tally tally = { 0 };
	char detail[200];

	for (int i = 0; i < nr; i++) {
		enum way way = i % 2 ? EAGERLY : PRELOADED_AS_IS;
		struct finding f;

		program_generate(&p, from + (uint64_t)i, transport);
		if (interrupts(&p))
			way = UNHURRIED;
		f = compare_run(&p, way);
		note(&tally, &p, way, &f);
	}
	snprintf(detail, sizeof detail,
		 ": %d programs of %ld steps, %ld of them lives, from seed %llu, "
		 "%d different, %d once, %d late, %d unsteady",
		 nr, tally.steps, tally.lives, (unsigned long long)from,
		 tally.different, tally.once, tally.late, tally.unsteady);
	/* A helper thread's call on a socket, in the instant of its close, keeps it open until the call is
	 * over: the peer may see that, once in a hundred thousand steps or more. */
	tell(!tally.different && tally.once <= 1 + nr / 3000 &&
		     tally.late + tally.unsteady <= nr / 100,
	     transport == TCP ? "TCP" : "AF_UNIX", detail);
}

static void
replay(void)
{
	static struct program p;
	struct tally tally = { 0 };

	for (int i = 0; remembered(&p, i); i++) {
		for (int way = PRELOADED_AS_IS; way < NR_WAYS; way++) {
			struct finding f = compare_anew(&p, (enum way)way);

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
		f = compare_run(&p, PRELOADED_AS_IS);
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

/* The rarer ways to make a step are met. */
static void
check_hows(int nr_programs)
{
	char detail[96];
	uint64_t interrupted = peers[UNHURRIED].shared->nr_interrupted;
	uint64_t blocked = peers[PRELOADED_AS_IS].shared->nr_blocked;
	uint64_t least = (uint64_t)nr_programs / 200;
	bool good = blocked > least;

#if defined(__x86_64__)
	good = good && interrupted > least;
#endif
	snprintf(detail, sizeof detail, ": %llu times, and waited in: %llu times",
		 (unsigned long long)interrupted, (unsigned long long)blocked);
	tell(good, "calls were interrupted", detail);
}

static void
one(uint64_t seed, enum transport transport, enum way way)
{
	static struct program p;
	struct finding f;

	program_generate(&p, seed, transport);
	f = compare_run(&p, way);
	explain_show(&p, way, &f);
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
		else if (!strcmp(*args, "--unhurried"))
			wish->way = UNHURRIED;
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
		check_hows(wish.nr);
	}
	printf("1..%d\n", nr_tests);
	clean(directory);
	return 0;
}
