#ifndef WEIR_CLI_TUNE_INTERVAL_H
#define WEIR_CLI_TUNE_INTERVAL_H
/* cli/tune/interval: the median of a few measurements and how far it can be trusted.
 *
 * The interval is that of the sign test: the r-th smallest and the r-th largest of n values hold
 * the true median between them with probability 1 - 2 (C(n,0) + ... + C(n,r-1)) / 2^n, however the
 * values are distributed, as long as they are independent (Le Boudec, Performance Evaluation of
 * Computer and Communication Systems, 2010, theorem 2.1; Conover, Practical Nonparametric
 * Statistics, 3.2). r is the greatest that leaves at least LEAST_COVERAGE: 5 to 7 values give the
 * least and the greatest of them, 8 the second ones, so that one outlier is forgiven.
 *
 * A comparison is one of ratios within rounds, so what disturbs a whole round (another load on
 * the machine, a clock that slows down) cancels out. */

#define LEAST_COVERAGE 0.9

enum { MOST_VALUES = 1000, LEAST_VALUES = 5 /* fewer cannot reach the coverage */ };

struct interval {
	double median, low, high;
};

/* Of 1 to MOST_VALUES values; fewer than LEAST_VALUES give the least and the greatest. */
struct interval interval_of(const double *values, int nr);

/* The r of n values, at least 1; and the probability that goes with it. */
int interval_rank(int nr);
double interval_coverage(int nr, int rank);

/* What counts as noise, as a factor above 1: `off_to_off` is the interval of what one setting
 * measured twice in a round, the second divided by the first. */
double interval_noise(const struct interval *off_to_off);

/* 1 or -1 where a ratio is above or below 1: all of its interval is, and its median is beyond the
 * noise. 0: it cannot be told. In simulations of settings that are all alike, with normal, skewed,
 * bimodal and heavy-tailed disturbances and 5 to 20 rounds, one of five was called better in 0 to
 * 1.8 % of the sessions. To ask that all of the interval is beyond the noise would make that 0.1 %,
 * and overlook most settings that are twice as fast where the machine is busy. */
int interval_tells(const struct interval *ratio, double noise);
#endif
