#ifndef WEIR_BASE_LIBC_H
#define WEIR_BASE_LIBC_H
/* base/libc: libc's own functions, where another library of the process may have put one of the
 * same name before them, and that one would not do:
 *   clock     libfaketime's tells another time than the one that the kernel's timers keep
 *   copy      a sanitizer's watches memory of ours, and does not see what orders its use
 *   clone     this library's own is for threads of the program. Looked up early, as dlsym() takes the
 *             dynamic linker's lock, and who has that may be waiting for one of ours: a
 *             constructor that writes, in dlopen()
 *   objects   dl_iterate_phdr(): a program's own may want main() to have begun
 *
 * Until libc_init(), and where libc's cannot be found, they are whatever the names mean.
 * Threads: any. Signals: safe, but for libc_init(). */
#include <stddef.h>
#include <time.h>

struct dl_phdr_info;

extern int (*libc_clock)(clockid_t clock, struct timespec *now)
	__attribute__((visibility("hidden")));
extern void *(*libc_copy)(void *to, const void *from, size_t n)
	__attribute__((visibility("hidden")));
extern int (*libc_objects)(int (*see)(struct dl_phdr_info *object, size_t size,
				      void *arg),
			   void *arg) __attribute__((visibility("hidden")));
extern int (*libc_clone)(int (*run)(void *), void *stack, int flags, void *arg, ...)
	__attribute__((visibility("hidden")));

/* Once, from the constructor. */
void libc_init(void);
#endif
