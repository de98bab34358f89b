/* What sweep and sweep_memory time alike. */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "net.h"

#include <stdio.h>
#include <stdlib.h>

static int
sweep_by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* One chunk under way at a time, on one stream after the other; prints what they took. */
static void
sweep_one_at_a_time(uint64_t span_ns, int nr_streams, void (*write_chunk)(int),
		    void (*read_chunk)(int))
{
	enum { MAX_TIMED = 1 << 18 };
	static uint32_t took[MAX_TIMED];
	uint64_t now = now_ns(CLOCK_MONOTONIC), end = now + span_ns;
	size_t nr = 0;
	int i = 0;

	while ((now < end || nr == 0) && nr < MAX_TIMED) {
		uint64_t begin = now;

		write_chunk(i);
		read_chunk(i);
		now = now_ns(CLOCK_MONOTONIC);
		took[nr++] = (uint32_t)(now - begin);
		i = (i + 1) % nr_streams;
	}
	qsort(took, nr, sizeof(took[0]), sweep_by_value);
	printf("\"p50_ns\":%u,\"p99_ns\":%u,", took[nr / 2], took[nr * 99 / 100]);
}
#endif
