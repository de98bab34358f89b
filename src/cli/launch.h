#ifndef WEIR_CLI_LAUNCH_H
#define WEIR_CLI_LAUNCH_H
/* cli/launch: what it takes to start a command with the library, or to see that it cannot work.
 *
 * The library is the installed one, or the one that WEIR_LIB names. Complaints begin with the
 * verb's name. */
#include "cli/program.h"
#include <stdbool.h>

/* As env(1) ends; 125 is END_REFUSED. */
enum { END_NOT_EXECUTABLE = 126, END_NOT_FOUND = 127 };

/* Its path. */
const char *launch_library(void);

/* Looks whether `command` can be started with the library: the command, the library, the
 * environment. END_FINE, else the exit status with which the verb ends, after a complaint.
 * `program` is to be given back by program_fini() in any case. */
int launch_look(const char *verb, const char *command, struct program *program);

/* The value of LD_PRELOAD with the library, behind what is preloaded already, or without any
 * libweir.so, which may be "". What launch_look() refuses is not asked again. */
void launch_preload(bool with_library, struct text *value);

/* A chunk's size by the rules of the library's variables: 0, or 1024 to 1M, K and M may be used. */
bool launch_chunk(const char *word, long *bytes);

/* A delay by the same rules: microseconds from 0 to 1000000. */
bool launch_delay(const char *word, long *us);

/* Executes `path` in place of this process, by a shell where it is a script without "#!", as
 * execvp() does. Comes back only where that fails: END_NOT_FOUND or END_NOT_EXECUTABLE, after a
 * complaint. */
int launch_exec(const char *verb, const char *path, char *const *argv);
#endif
