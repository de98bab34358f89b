#ifndef WEIR_INTERPOSE_DESCRIPTOR_H
#define WEIR_INTERPOSE_DESCRIPTOR_H
/* interpose/descriptor: the two halves around any native call that copies a descriptor, for
 * those that reach the kernel by more than one name; and what changes of a number without the
 * kernel being asked.
 * Threads: any. Signals: safe. */
#include <stdbool.h>

/* Before it: false: `fd` is the library's own number, answer EBADF. */
bool copy_begin(int fd);

/* After it: `copy` is the new number or -1; it is returned. */
int copy_end(int fd, int copy);

/* Somebody reaches the socket by another number, or by stdio: never held from here on. */
void number_leave(int fd);

/* The socket's options are known to have changed: the bits `option` of enum option are on or
 * off. No socket of stream type: nothing. */
void number_option(int fd, unsigned option, bool on);
#endif
