#include "base/libc.h"
#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <string.h>

int (*libc_clock)(clockid_t, struct timespec *) = clock_gettime;
void *(*libc_copy)(void *, const void *, size_t) = memcpy;
int (*libc_clone)(int (*)(void *), void *, int, void *, ...) = clone;
int (*libc_objects)(int (*)(struct dl_phdr_info *, size_t, void *),
		    void *) = dl_iterate_phdr;

void
libc_init(void)
{
	/* Not RTLD_NEXT: the other library may well be behind this one. */
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	void *p;

	if (!libc)
		return;
	p = dlsym(libc, "clock_gettime");
	if (p)
		*(void **)&libc_clock = p;
	p = dlsym(libc, "dl_iterate_phdr");
	if (p)
		*(void **)&libc_objects = p;
	p = dlsym(libc, "clone");
	if (p)
		*(void **)&libc_clone = p;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* Where the library itself is to be watched, it is. */
	p = dlsym(libc, "memcpy");
	if (p)
		*(void **)&libc_copy = p;
#endif
}
