#ifndef TESTS_INPUTS_TARGET_H
#define TESTS_INPUTS_TARGET_H
/* A target takes bytes that may be anything and checks what must hold of the library whatever they
 * are. libFuzzer looks for such bytes (libfuzzer.sh); replay.c, which any compiler builds, gives
 * the ones that are kept in corpus/. One thread. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Always 0, as libFuzzer wants it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort(); \
		} \
	} while (0)
#endif
