#ifndef WEIR_CLI_BOUND_H
#define WEIR_CLI_BOUND_H
/* cli/bound: which libraries of a running process call libc past the preloaded library.
 *
 * A library that was loaded with RTLD_DEEPBIND finds libc's functions before those of what was
 * preloaded. No file says so; where its calls really lead is in its relocated table, and that is
 * read from the process's memory. A call that is bound when it is first made, and was not made
 * yet, is not known. The process is not trusted and may change meanwhile: whatever makes no sense
 * ends the look at that library. */
#include <sys/types.h>

/* Calls `with` once for each such library, with its path and one call that passes by. -errno if
 * the process's memory may not be read. */
int bound_past(pid_t pid, void (*with)(const char *path, const char *call, void *arg),
	       void *arg);
#endif
