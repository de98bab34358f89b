#include "base/lock.h"

#include "base/sys.h"

/* A section is some tens of nanoseconds, so a holder that runs is done within the spins. One
 * that does not run has been preempted: then yield to it, and if that does not help (it has
 * a lower priority, or runs under another scheduling class) sleep. */
enum { SPINS = 64, YIELDS = 16, NAP_NS = 50000 };

static void
relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void
lock_wait(unsigned *spins)
{
	uint32_t never_woken = 0;

	if (*spins < SPINS + YIELDS)
		++*spins;
	if (*spins <= SPINS)
		relax();
	else if (*spins < SPINS + YIELDS)
		sys_yield();
	else
		sys_futex_wait(&never_woken, 0, sys_now_ns() + NAP_NS);
}

static bool
take(struct lock *l, uint32_t tid, bool soon)
{
	unsigned spins = 0;

	for (;;) {
		uint32_t holder = 0;

		/* Acquire: pairs with the release in lock_give(). */
		if (__atomic_compare_exchange_n(&l->word, &holder, tid, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (holder == tid)
			return false;
		/* Waiting by plain loads leaves the cache line with the holder. */
		while (__atomic_load_n(&l->word, __ATOMIC_RELAXED) != 0) {
			if (soon && spins == SPINS + YIELDS)
				return false;
			lock_wait(&spins);
		}
	}
}

bool
lock_take(struct lock *l, uint32_t tid)
{
	return take(l, tid, false);
}

bool
lock_take_soon(struct lock *l, uint32_t tid)
{
	return take(l, tid, true);
}

void
lock_give(struct lock *l)
{
	__atomic_store_n(&l->word, 0, __ATOMIC_RELEASE);
}
