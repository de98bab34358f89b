/* A difference, for whoever has to understand it: see compare.h. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "compare.h"

enum { LINE = 256, SHOWN_BEFORE = 12, SHORTEN_S = 60 };

static time_t shorten_until;

static const char *const way_names[] = { "natively", "preloaded", "eager", "unhurried" };
static const char *const transport_names[] = { "TCP", "AF_UNIX" };

static void
show_step(const struct program *p, enum way way, int i, const char *mark)
{
	char step[LINE], native[LINE], other[LINE];
	const struct shared *a = peers[NATIVELY].shared, *b = peers[way].shared;
	struct step end = { .op = PEER_READS,
			    .stream = compare_end(&a->end[0], &b->end[0]) };
	const struct step *s = i < p->nr_steps ? &p->steps[i] : &end;
	const struct result *ra = i < p->nr_steps ? &a->results[i] : &a->end[end.stream];
	const struct result *rb = i < p->nr_steps ? &b->results[i] : &b->end[end.stream];

	program_spell(step, sizeof step, s);
	program_spell_result(native, sizeof native, s, ra);
	program_spell_result(other, sizeof other, s, rb);
	if (i == p->nr_steps)
		snprintf(step, sizeof step, "the peer sees the end");
	if (!memcmp(ra, rb, sizeof *ra))
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

		printf(" { %d, %d, %d, %d, %#x, %d, %d, %d, %d },", s->op, s->via,
		       s->pieces, s->n, (unsigned)s->flags, s->stream, s->who, s->how,
		       s->after);
	}
	printf(" } }\n");
}

void
explain_show(const struct program *p, enum way way, const struct finding *f)
{
	show(p, way, f, MAX_STEPS);
}

/* ---- making it shorter ---- */

static bool
still(const struct program *p, enum way way)
{
	struct finding f;

	if (time(NULL) > shorten_until)
		return false;
	f = compare_anew(p, way);
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

bool
explain(struct program *p, enum way way, const struct finding *first)
{
	struct finding f;

	show(p, way, first, SHOWN_BEFORE);
	f = compare_anew(p, way);
	if (f.verdict != DIFFERENT) {
		printf("# but not with new readers\n");
		return false;
	}
	compare_briefly = true;
	shorten(p, way, &f);
	compare_briefly = false;
	f = compare_anew(p, way);
	printf("# shortened to\n");
	show(p, way, &f, MAX_STEPS);
	show_source(p);
	return true;
}
