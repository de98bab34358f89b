#ifndef WEIR_STREAM_COUNTS_H
#define WEIR_STREAM_COUNTS_H
/* stream/counts: what every data call adds to its stream's record and to the size histograms of
 * its thread. Threads: any that passed self_enter(). Signals: safe. */
#include "stream/stream.h"

/* For a counter that only the program's own threads write; `alone`: self_is_alone(). */
static inline __attribute__((always_inline)) void
count_add_theirs(uint64_t *counter, uint64_t n, bool alone)
{
	if (alone)
		count_add_own(counter, n);
	else
		count_add(counter, n);
}

/* The thread has no tally of its own yet, or there was none left: the common one. */
void count_size_shared(enum size_histogram which, uint64_t len);

static inline __attribute__((always_inline)) void
count_size(enum size_histogram which, uint64_t len)
{
	struct tally *tally = self.tally;

	if (__builtin_expect(tally != NULL, 1))
		count_add_own(&tally->count[which][size_bits(len)], 1);
	else
		count_size_shared(which, len);
}

/* Read once: a hostile member may store a 0 after we looked whether it is one. */
static inline uint32_t
count_chunk(struct stream *s, enum dir dir)
{
	return __atomic_load_n(&stream_record(s)->chunk[dir], __ATOMIC_RELAXED);
}

/* A call of the application that was made natively, and moved `went` bytes. */
void count_native(struct stream *s, enum dir dir, uint64_t went);

/* The same without a call, where self.tally is there. False: it was more than a chunk, and is yet to
 * be counted. */
static inline __attribute__((always_inline)) bool
count_native_quick(struct stream *s, enum dir dir, uint64_t went, bool alone)
{
	enum size_histogram sizes = dir == SENT ? SIZE_NATIVE_WRITE : SIZE_NATIVE_READ;
	struct record *rec = __atomic_load_n(&s->rec, __ATOMIC_RELAXED);
	struct tally *tally;

	/* Both after the record: where a handler has forked, and this is the child, there is no tally; or, if
	 * it has used another stream since, there is one, but a record is not, and nothing is uncut. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	tally = self.tally;
	/* The kernel moves less than 2 GiB at a time: read(2), write(2). */
	if (__builtin_expect(!tally || (uint32_t)went >= quick(s->uncut[dir]), 0))
		return false;
	count_add_theirs(&rec->flow[dir].native_calls, 1, alone);
	count_add_theirs(&rec->flow[dir].native_bytes, went, alone);
	count_add_own(&tally->count[sizes][size_bits(went)], 1);
	return true;
}

/* One that moved nothing. */
static inline void
count_unmoved(struct stream *s, enum dir dir)
{
	struct flow *flow = &stream_record(s)->flow[dir];

	count_add_theirs(&flow->app_calls, 1, self_is_alone());
	count_add(&flow->kernel_calls, 1);
}

/* A system call on the stream's data that moved `went` bytes, 0 for a refusal. */
static inline void
count_kernel(struct stream *s, enum dir dir, uint64_t went)
{
	struct flow *flow = &stream_record(s)->flow[dir];
	uint32_t chunk = count_chunk(s, dir);

	count_add(&flow->kernel_calls, 1);
	if (!went)
		return;
	count_add(&flow->kernel_bytes, went);
	count_add(&flow->chunks, chunk && went > chunk ? (went + chunk - 1) / chunk : 1);
	count_size(dir == SENT ? SIZE_KERNEL_WRITE : SIZE_KERNEL_READ, went);
}

/* A call of the application that reached the kernel. */
static inline void
count_app(struct stream *s, enum dir dir, uint64_t bytes)
{
	struct flow *flow = &stream_record(s)->flow[dir];

	count_add_theirs(&flow->app_calls, 1, self_is_alone());
	if (!bytes)
		return;
	count_add(&flow->app_bytes, bytes);
	count_size(dir == SENT ? SIZE_APP_WRITE : SIZE_APP_READ, bytes);
}

/* A call that was answered from a chunk or a borrow. With the section entered, or by the owner under
 * its mark. */
static inline void
count_answered(struct stream *s, enum dir dir, uint64_t bytes)
{
	struct flow *flow = &stream_record(s)->flow[dir];

	count_add_own(&flow->held_calls, 1);
	count_add_own(&flow->held_bytes, bytes);
	count_size(dir == SENT ? SIZE_APP_WRITE : SIZE_APP_READ, bytes);
}

/* The same of no more bytes than the first bound of the histogram, without a call. False: self.tally
 * or the record is not there, and nothing was counted. */
static inline __attribute__((always_inline)) bool
count_answered_quick(struct stream *s, enum dir dir, uint64_t bytes)
{
	enum size_histogram sizes = dir == SENT ? SIZE_APP_WRITE : SIZE_APP_READ;
	struct record *rec = __atomic_load_n(&s->rec, __ATOMIC_RELAXED);
	struct tally *tally;

	/* As in count_native_quick(). */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	tally = self.tally;
	if (__builtin_expect(!tally || !rec, 0))
		return false;
	count_add_own(&rec->flow[dir].held_calls, 1);
	count_add_own(&rec->flow[dir].held_bytes, bytes);
	count_add_own(&tally->count[sizes][size_bits(1)], 1);
	return true;
}
#endif
