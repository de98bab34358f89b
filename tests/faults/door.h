/* door.h - what base/sys is compiled with, for the library of tests/faults: its one way into the
 * kernel, and libc's way to make a thread, are then those of faulty.c. */
#ifndef FAULTS_DOOR_H
#define FAULTS_DOOR_H

#include <pthread.h>

/* faulty.c defines the one that counts. */
#pragma weak sys_call

int faulty_thread(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
		  void *arg);
#define pthread_create faulty_thread

#endif
