#ifndef WEIR_INTERPOSE_DESCRIPTOR_H
#define WEIR_INTERPOSE_DESCRIPTOR_H
/* interpose/descriptor: the two halves around any native call that copies a descriptor, for
 * those that reach the kernel by more than one name.
 * Threads: any. Signals: safe. */
#include <stdbool.h>

/* Before it: false: `fd` is the library's own number, answer EBADF. */
bool copy_begin(int fd);

/* After it: `copy` is the new number or -1; it is returned. */
int copy_end(int fd, int copy);
#endif
