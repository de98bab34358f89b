/* Two runs of a program: see compare.h. */
#include "compare.h"

#include <string.h>

enum { AGAIN = 20, FEW = 3 };

struct peer peers[NR_WAYS];
bool compare_briefly;

static bool
same(const struct result *a, const struct result *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* Of what the peer found. A reset discards what the kernel has not sent yet: of many small pieces
 * natively more than of few, and any number where it waited. */
bool
compare_end(const struct result *native, const struct result *other)
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
	return p->steps[i].op <= PEER_LAST ? compare_end(a, b) : same(a, b);
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
	if (compare_end(&a->end[0], &b->end[0]) && compare_end(&a->end[1], &b->end[1]))
		f->verdict = SAME;
}

static void
ask_again(const struct program *p, enum way way, struct finding *f)
{
	int times = compare_briefly ? FEW : AGAIN;

	for (int i = 0; i < times && f->verdict == DIFFERENT; i++) {
		if (!peer_run(&peers[NATIVELY], p, &f->what[0]))
			return;
		compare(p, peers[NATIVELY].shared, peers[way].shared, f);
	}
	if (f->verdict == SAME)
		f->verdict = UNSTEADY;
}

struct finding
compare_run(const struct program *p, enum way way)
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

struct finding
compare_anew(const struct program *p, enum way way)
{
	peer_stop(&peers[NATIVELY]);
	peer_stop(&peers[way]);
	return compare_run(p, way);
}
