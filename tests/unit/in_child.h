#ifndef TESTS_IN_CHILD_H
#define TESTS_IN_CHILD_H
/* A region is mapped once a process: what needs a fresh one runs in a forked child. A CHECK
 * that fails there says where and ends the child, which fails the test. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			_exit(1); \
		} \
	} while (0)

/* The child's exit status, or 128 and more for the signal that ended it. */
static inline int
in_child(void (*body)(void))
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS };
	int status;
	pid_t pid = fork();

	if (!pid) {
		/* cmocka would catch them, and go on with the tests in the child. */
		for (int i = 0; i < 5; i++)
			signal(deadly[i], SIG_DFL);
		/* Under valgrind all takes some 50 times as long. */
		alarm(getenv("WEIR_TEST_WRAP") ? 600 : 60);
		body();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define IN_CHILD(name) \
	static void name##_body(void); \
	static void name(void **state) \
	{ \
		(void)state; \
		assert_int_equal(in_child(name##_body), 0); \
	} \
	static void name##_body(void)
#endif
