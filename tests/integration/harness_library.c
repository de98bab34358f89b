/* Where the actor and the library are, and what is preloaded. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness_internal.h"

static char library[1024];
static char actor[1024];
static int native_only;

static void
beside_executable(char *out, size_t cap, const char *relative)
{
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	self[len < 0 ? 0 : len] = '\0';
	*(strrchr(self, '/') ? strrchr(self, '/') : self) = '\0';
	snprintf(out, cap, "%s/%s", self, relative);
}

int
harness_sanitized(void)
{
	const char *flags = getenv("WEIR_SANITIZER");

	return flags && *flags;
}

/* A sanitizer's runtime refuses to start unless it comes before every other library. */
static void
preload_runtime(void)
{
	const char *runtime = strstr(getenv("WEIR_SANITIZER"), "thread") ? "libtsan.so"
									 : "libasan.so";
	const char *cc = getenv("CC");
	char line[256], path[512] = "", both[1024];
	FILE *answer;

	snprintf(line, sizeof line, "%s -print-file-name=%s", cc && *cc ? cc : "cc",
		 runtime);
	answer = popen(line, "r");
	if (answer && fgets(path, sizeof path, answer) && strchr(path, '/')) {
		path[strcspn(path, "\n")] = '\0';
		if (snprintf(both, sizeof both, "%s %s", path, library) <
		    (int)sizeof both)
			memcpy(library, both, sizeof library);
	}
	if (answer)
		pclose(answer);
	/* It takes the stack of a thread that is cancelled for still in use. */
	setenv("ASAN_OPTIONS", "detect_leaks=0:use_sigaltstack=0", 0);
}

int
harness_init(void)
{
	const char *lib = getenv("WEIR_LIB"), *act = getenv("WEIR_ACTOR");
	const char *last;

	signal(SIGPIPE, SIG_IGN);
	native_only = getenv("HARNESS_NATIVE_ONLY") != NULL;
	if (act)
		snprintf(actor, sizeof actor, "%s", act);
	else
		beside_executable(actor, sizeof actor, "actor");
	if (access(actor, X_OK) != 0) {
		fprintf(stderr, "no actor at %s\n", actor);
		return 99;
	}
	if (lib && *lib)
		snprintf(library, sizeof library, "%s", lib);
	else
		beside_executable(library, sizeof library, "../../src/.libs/libweir.so");
	last = strrchr(library, ' ') ? strrchr(library, ' ') + 1 : library;
	if (!native_only && access(last, R_OK) != 0) {
		fprintf(stderr, "no library at %s\n", last);
		return 77;
	}
	if (harness_sanitized() && !native_only)
		preload_runtime();
	return 0;
}

int
harness_has_library(void)
{
	return !native_only;
}

const char *
harness_preload(enum half half)
{
	return half == PRELOADED && !native_only ? library : NULL;
}

const char *
harness_actor(void)
{
	return actor;
}
