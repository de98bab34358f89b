#ifndef WEIR_STREAM_HOT_H
#define WEIR_STREAM_HOT_H
/* stream/hot: what the two hot paths, the append (stream/writer.h) and the take
 * (stream/borrow.h), have in common. Both run without a lock: the thread marks its record
 * (thread->hot), then looks whether the chunk is its own (stream/section.h tells what
 * others do about a mark, and handlers about one of their own thread).
 * Threads: any. Signals: safe. */
#include "stream/section.h"
#include "stream/turn.h"

/* Bytes that are copied without a call. */
enum { HOT_SMALL = 64 };

/* What both sides have made sure of, said to the compiler: so it knows which ways are none, and keeps
 * no registers for them. */
static inline __attribute__((always_inline)) void
hot_known(bool truth)
{
	if (!truth)
		__builtin_unreachable();
}

static inline __attribute__((always_inline)) ssize_t
hot_all(ssize_t n)
{
	hot_known(n > 0);
	return n;
}

/* Sixteen bytes at once, wherever they lie. */
typedef char hot_piece __attribute__((vector_size(16), aligned(1), may_alias));

/* memcpy() without the call, up to HOT_SMALL bytes: overlapping pieces from both ends. */
static inline __attribute__((always_inline)) void
hot_copy(char *to, const char *from, size_t n)
{
	if (n >= 16) {
		hot_piece head = *(const hot_piece *)from;
		hot_piece tail = *(const hot_piece *)(from + n - 16);

		if (n > 32) {
			hot_piece second = *(const hot_piece *)(from + 16);
			hot_piece third = *(const hot_piece *)(from + n - 32);

			*(hot_piece *)(to + 16) = second;
			*(hot_piece *)(to + n - 32) = third;
		}
		*(hot_piece *)to = head;
		*(hot_piece *)(to + n - 16) = tail;
	} else {
		for (size_t i = 0; i < n; i++)
			to[i] = from[i];
	}
}

/* Where on the stack we are, for a handler that finds our mark; so far down as the calls lie in
 * which the thread later asks whether that code has been left (self_left()). */
enum { HOT_DEPTH = 640 };

/* Sets the mark. False: it was set, or a section is under way: we are a handler, and what we
 * interrupted has to be settled first; or a handler has forked, and this is the child. */
static inline __attribute__((always_inline)) bool
hot_begin(struct thread *thread, struct stream *s)
{
	uintptr_t sp;

	if (self.inside || !thread || thread->hot)
		return false;
#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %0" : "=r"(sp));
#else
	sp = (uintptr_t)__builtin_frame_address(0);
#endif
	self.inside_sp = sp - HOT_DEPTH;
	__atomic_store_n(&thread->hot, s, __ATOMIC_RELAXED);
	/* The mark before the look at the owner: the other side's membarrier does the rest. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self.inside_sp =
		sp - HOT_DEPTH; /* a handler that came before the mark had its own */
	return true;
}

static inline __attribute__((always_inline)) void
hot_end(struct thread *thread)
{
	__atomic_store_n(&thread->hot, NULL, __ATOMIC_RELEASE);
}

/* What the next call may take the hot path with has been noted in `hot`. If a handler forked just
 * before, this thread has no record any more: then it may not. */
static inline void
hot_keep(struct stream **hot)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!self.thread)
		*hot = NULL;
}

/* The commit: one instruction, so that a handler of the same thread makes it fail, but no bus
 * lock: no other thread writes the word while the mark is set. On other processors than
 * x86-64, and for ThreadSanitizer, a full compare-and-swap. */
static inline __attribute__((always_inline)) bool
hot_commit(uint64_t *word, uint64_t old, uint64_t new)
{
#if defined(__x86_64__) && !defined(WEIR_TSAN)
	bool done;

	__asm__ volatile("cmpxchgq %3, %1"
			 : "=@ccz"(done), "+m"(*word), "+a"(old)
			 : "r"(new)
			 : "memory");
	return done;
#else
	return word_commit(word, old, new);
#endif
}
#endif
