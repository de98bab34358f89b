/* remembered.h - programs that were once answered differently under the library. */
#ifndef FUZZ_REMEMBERED_H
#define FUZZ_REMEMBERED_H

#include "program.h"

/* Program number `i`; false: there are no more. */
bool remembered(struct program *p, int i);

#endif
