/* door.h - what base/sys is compiled with, for the library of tests/faults: its one way into the
 * kernel, and libc's way to make a thread, are then those of faulty.c. */
#ifndef FAULTS_DOOR_H
#define FAULTS_DOOR_H

#include <dlfcn.h>

/* faulty.c defines the one that counts. */
#pragma weak sys_call

void *faulty_dlsym(void *handle, const char *name);
#define dlsym faulty_dlsym

#endif
