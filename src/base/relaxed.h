#ifndef WEIR_BASE_RELAXED_H
#define WEIR_BASE_RELAXED_H
/* base/relaxed: fields that threads read and write without agreeing about it: guesses and
 * statistics ("A" at the line's end), and what a section stores while others only look ("L").
 * Nothing is ordered by them; they are read and written whole.
 *
 *   relaxed(x), relaxed_set(x, v)   a relaxed atomic load and store
 *   quick(x), quick_set(x, v)       the same for the quick ways, where one instruction counts:
 *                                   compilers do not fold an atomic load into the instruction that
 *                                   uses it, nor two atomic stores into one. May be loaded more than
 *                                   once, so not where it must be the same each time.
 *   quick_count(&x)                 one more, in one instruction and not atomic: where threads meet,
 *                                   some may be lost
 *   plain_add(&x, n)                to a count that only the caller's thread writes: no lock, but one
 *                                   instruction, so a handler of it loses nothing; plain_add32 too;
 *   plain_less32(&x)                one less, and whether that is below 0
 *   fence_full()                    a full barrier, for two sides of which each says something
 *                                   and then looks at what the other has said
 *
 * Threads: any. Signals: safe. */
#include <stdbool.h>
#include <stdint.h>

/* gcc says it by a macro, clang by a feature. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define WEIR_TSAN 1
#endif

#define relaxed(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define relaxed_set(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* ThreadSanitizer is told what is meant. */
#ifdef WEIR_TSAN
#define quick(x) relaxed(x)
#define quick_set(x, v) relaxed_set(x, v)
#else
#define quick(x) (x)
#define quick_set(x, v) ((x) = (v))
#endif

static inline void
quick_count(uint32_t *x)
{
#if defined(__x86_64__) && !defined(WEIR_TSAN)
	__asm__("addl $1, %0" : "+m"(*x) : : "cc");
#else
	relaxed_set(*x, relaxed(*x) + 1);
#endif
}

static inline void
plain_add(uint64_t *x, uint64_t n)
{
#if defined(__x86_64__) && !defined(WEIR_TSAN)
	__asm__("addq %1, %0" : "+m"(*x) : "er"(n) : "cc");
#else
	__atomic_fetch_add(x, n, __ATOMIC_RELAXED);
#endif
}

static inline void
plain_add32(int32_t *x, int32_t n)
{
#if defined(__x86_64__) && !defined(WEIR_TSAN)
	__asm__("addl %1, %0" : "+m"(*x) : "er"(n) : "cc");
#else
	__atomic_fetch_add(x, n, __ATOMIC_RELAXED);
#endif
}

static inline bool
plain_less32(int32_t *x)
{
#if defined(__x86_64__) && !defined(WEIR_TSAN)
	bool below;

	__asm__("subl $1, %0" : "+m"(*x), "=@ccs"(below));
	return below;
#else
	return __atomic_sub_fetch(x, 1, __ATOMIC_RELAXED) < 0;
#endif
}

/* Not __atomic_thread_fence(), which gcc refuses to build for ThreadSanitizer; the code is the same.
 * ThreadSanitizer learns no order from a fence, so what one is to order must be atomic itself. */
static inline void
fence_full(void)
{
	__sync_synchronize();
}
#endif
