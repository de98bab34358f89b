/*
 * compare.h - runs a program natively and in another way, and looks for the first step that was
 * answered differently; shows that, and makes the program shorter as long as it stays.
 *
 * Owns: the readers and their peers. Threads: one.
 */
#ifndef FUZZ_COMPARE_H
#define FUZZ_COMPARE_H

#include "peer.h"

/* What comparing two runs of a program found. LATE: something had not arrived in time. UNSTEADY: the
 * kernel answers the program now in one way, now in the other (a spurious edge). */
enum verdict { SAME, DIFFERENT, LATE, UNSTEADY };

struct finding {
	enum verdict verdict;
	int step; /* the first that differs; nr_steps: the end */
	const char *what[2];
};

extern struct peer peers[NR_WAYS];
extern bool compare_briefly; /* the native run is not asked often whether it is steady */

struct finding compare_run(const struct program *p, enum way way);
/* With new readers. */
struct finding compare_anew(const struct program *p, enum way way);

/* Two results of a step of the peer's, or of its end. */
bool compare_end(const struct result *native, const struct result *other);

/* Prints the steps up to the one that differs. */
void explain_show(const struct program *p, enum way way, const struct finding *f);
/* Prints a difference, makes the program shorter, prints that and its text for remembered.c. False: the
 * difference did not come again. */
bool explain(struct program *p, enum way way, const struct finding *first);

#endif
