#ifndef TESTS_NOISE_H
#define TESTS_NOISE_H
/* noise: a region whose neighbours nobody may touch, and what a hostile member may write to it.
 * One thread; all that is random follows from the seed. */
#include "count/region.h"
#include <stdbool.h>
#include <stdint.h>

void noise_seed(uint64_t seed);
uint64_t noise_word(void);
int32_t
noise_pid(void); /* one's own, a stranger's, nobody's, and what is no number of a process */

/* region_get() is from now on a copy of the region, with 1 << shift records, between pages without
 * access: right behind those before it, or `at_end` right before those behind it. Called once, before
 * the first record is opened. NULL: no memory. */
struct region *noise_region(unsigned shift, bool at_end);

/* What the region holds now is what some of the noise begins with. */
void noise_keep(void);
void noise_restore(void);

/* Overwrites all of it, or some of what noise_keep() kept. */
void noise_strew(void);

/* From now on to signal a process, or to ask for more than one at once, ends this one. Nothing where
 * the kernel has no seccomp. */
void noise_no_signals(void);
#endif
