#ifndef WEIR_BASE_ENTER_H
#define WEIR_BASE_ENTER_H
/* base/enter: the instruction that enters the kernel, in line: with a descriptor and two arguments
 * more, or with all six that there are (syscall(2) has the registers). Everybody calls base/sys; only the quick ways of
 * interpose come here themselves (interpose/real.h).
 * Result or -errno; errno is left alone. Threads: any. Signals: safe. */
#include <stdbool.h>

#if defined(__x86_64__)
enum { ENTER_INLINE = true };

static inline __attribute__((always_inline)) long
enter3(long nr, int fd, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(fd), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline __attribute__((always_inline)) long
enter6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { ENTER_INLINE = true };

static inline __attribute__((always_inline)) long
enter6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#include "base/sys.h"

enum { ENTER_INLINE = false };

static inline long
enter6(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys_call(nr, a, b, c, d, e, f);
}
#endif

#if !defined(__x86_64__)
static inline long
enter3(long nr, int fd, long b, long c)
{
	return enter6(nr, fd, b, c, 0, 0, 0);
}
#endif
#endif
