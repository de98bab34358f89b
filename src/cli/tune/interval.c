#include "cli/tune/interval.h"
#include <stdlib.h>
#include <string.h>

/* What is less does not pay for a preloaded library, and is no more than what an environment of
 * another size, which moves the stack, can make of one program (Mytkowicz et al., Producing Wrong
 * Data Without Doing Anything Obviously Wrong, 2009). */
#define LEAST_NOISE 1.03

double
interval_coverage(int nr, int rank)
{
	double term = 1, tail = 0;

	/* term is C(n,k) / 2^n: so it stays a number where 2^n is none. */
	for (int i = 0; i < nr; i++)
		term /= 2;
	for (int k = 0; k < rank; k++) {
		tail += term;
		term *= (double)(nr - k) / (k + 1);
	}
	return 1 - 2 * tail;
}

int
interval_rank(int nr)
{
	int rank = 1;

	while (2 * (rank + 1) <= nr && interval_coverage(nr, rank + 1) >= LEAST_COVERAGE)
		rank++;
	return rank;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct interval
interval_of(const double *values, int nr)
{
	double sorted[MOST_VALUES];
	int rank = interval_rank(nr);

	memcpy(sorted, values, (size_t)nr * sizeof *sorted);
	qsort(sorted, (size_t)nr, sizeof *sorted, by_value);
	return (struct interval){ (sorted[(nr - 1) / 2] + sorted[nr / 2]) / 2,
				  sorted[rank - 1], sorted[nr - rank] };
}

double
interval_noise(const struct interval *off_to_off)
{
	double up = off_to_off->high, down = 1 / off_to_off->low;
	double noise = up > down ? up : down;

	return noise > LEAST_NOISE ? noise : LEAST_NOISE;
}

int
interval_tells(const struct interval *ratio, double noise)
{
	return (ratio->low > 1 && ratio->median > noise) -
	       (ratio->high < 1 && ratio->median < 1 / noise);
}
