/*
 * sweep_memory: the pool and the hand-over of chunks, without a socket. Linked with the
 * library's lower floors; the library itself is not preloaded.
 *
 *   sweep_memory POOL STREAMS CHUNK MS      POOL: 1 on, 0 off
 *
 * As sweep does with sockets: for each chunk a buffer is taken from the pool, filled with
 * records of 256 bytes, handed to the reader, which copies the records out and puts the
 * buffer back. Prints what sweep prints, and "handover_ns", a chunk that is only taken,
 * handed over and put back, and "allocations", the chunks that the pool had to make.
 */
#include "base/config.h"
#include "base/sys.h"
#include "count/member.h"
#include "net.h"
#include "pool/pool.h"
#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD = 256, MAX_STREAMS = 4096 };

static struct {
	char *chunk; /* on its way to the reader */
	uint64_t written, read;
} streams[MAX_STREAMS];
static int nr_streams;
static size_t nr_records;
static unsigned tier;
static uint64_t nr_chunks;
static uint32_t tid;
static struct pool_cache cache;

static void
take(int i)
{
	streams[i].chunk = pool_get(tier, &cache, tid);
	if (!streams[i].chunk)
		die("pool_get");
}

static void
put(int i)
{
	pool_put(streams[i].chunk, tier, &cache, tid);
	streams[i].chunk = NULL;
	nr_chunks++;
}

/* Not to be merged with what reads it: it would be in another program. */
static __attribute__((noinline)) void
write_chunk(int i)
{
	char record[RECORD] = { 0 };
	size_t n;

	take(i);
	for (n = 0; n < nr_records; n++) {
		memcpy(record, &streams[i].written, sizeof(streams[i].written));
		memcpy(streams[i].chunk + n * RECORD, record, RECORD);
		streams[i].written++;
	}
}

static __attribute__((noinline)) void
read_chunk(int i)
{
	char record[RECORD];
	size_t n;

	for (n = 0; n < nr_records; n++) {
		memcpy(record, streams[i].chunk + n * RECORD, RECORD);
		__asm__ volatile("" : : "r"(record) : "memory"); /* all of it is used */
		if (memcmp(record, &streams[i].read, sizeof(streams[i].read)) != 0) {
			errno = EBADMSG;
			die("not the record that is due");
		}
		streams[i].read++;
	}
	put(i);
}

static void
copied(void)
{
	int i;

	for (i = 0; i < nr_streams; i++)
		write_chunk(i);
	for (i = 0; i < nr_streams; i++)
		read_chunk(i);
}

static void
handed_over(void)
{
	int i;

	for (i = 0; i < nr_streams; i++)
		take(i);
	for (i = 0; i < nr_streams; i++)
		put(i);
}

/* Nanoseconds a chunk. */
static double
timed(void (*all_streams)(void), uint64_t span_ns)
{
	uint64_t begin = now_ns(CLOCK_MONOTONIC), end = begin, before = nr_chunks;

	while (end - begin < span_ns) {
		all_streams();
		end = now_ns(CLOCK_MONOTONIC);
	}
	return (double)(end - begin) / (double)(nr_chunks - before);
}

int
main(int argc, char **argv)
{
	static struct config settings = { .pool_max = 256 << 20 };
	uint64_t span_ns, chunks;
	double ns;

	nr_streams = argc == 5 ? atoi(argv[2]) : 0;
	if (nr_streams < 1 || nr_streams > MAX_STREAMS || atol(argv[3]) < RECORD) {
		fprintf(stderr, "usage: sweep_memory 1|0 STREAMS CHUNK MS\n");
		return 2;
	}
	settings.pool_enabled = atoi(argv[1]);
	config = &settings;
	tid = (uint32_t)sys_gettid();
	tier = tier_for(strtoul(argv[3], NULL, 10));
	nr_records = strtoul(argv[3], NULL, 10) / RECORD;
	span_ns = strtoull(argv[4], NULL, 10) * 500000u;
	copied();
	printf("{");
	sweep_one_at_a_time(span_ns, nr_streams, write_chunk, read_chunk);
	ns = timed(copied, span_ns);
	chunks = nr_chunks;
	printf("\"mb_s\":%.1f,\"chunks\":%llu,\"allocations\":%llu,",
	       (double)(nr_records * RECORD) * 1e3 / ns, (unsigned long long)chunks,
	       (unsigned long long)region_member()->pool[tier].misses);
	printf("\"handover_ns\":%.1f}\n", timed(handed_over, span_ns / 10));
	return 0;
}
