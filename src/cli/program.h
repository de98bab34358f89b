#ifndef WEIR_CLI_PROGRAM_H
#define WEIR_CLI_PROGRAM_H
/* cli/program: can the library be preloaded into a program, and if not, why and what to do.
 *
 * A script is what runs it: its interpreter decides, through env(1) too. */
#include "cli/text.h"
#include <stdbool.h>

enum obstacle {
	OBSTACLE_NONE,
	OBSTACLE_MISSING,   /* no such program */
	OBSTACLE_FORBIDDEN, /* it is there, but cannot be executed */
	OBSTACLE_STATIC,
	OBSTACLE_GO,
	OBSTACLE_SETUID,     /* or set-group-ID */
	OBSTACLE_CAPABILITY, /* of the file */
	OBSTACLE_MACHINE,    /* another word size or processor than the library's */
	OBSTACLE_LIBC,       /* another dynamic linker than this command's */
	NR_OBSTACLES
};

/* As in JSON: "static", "go", ... */
extern const char *const obstacle_names[NR_OBSTACLES];

struct program {
	char *path; /* what is executed; NULL where there is none */
	enum obstacle obstacle;
	struct text why; /* a sentence, with what to do; "" without an obstacle */
	bool uring;      /* it uses io_uring's library: such calls are not seen */
};

/* Looks for `name` as execvp() does. */
void program_look(const char *name, struct program *program);
void program_fini(struct program *program);

/* The file alone, which may be /proc/PID/exe; `name` is what the sentence calls it. */
enum obstacle program_obstacle(const char *file, const char *name, struct text *why,
			       bool *uring);
#endif
