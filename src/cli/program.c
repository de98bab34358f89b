#include "cli/program.h"
#include "cli/cli.h"
#include "cli/elf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	MOST_SCRIPTS = 5,
	MOST_LINE = 256
}; /* of the kernel: a script's script's ..., and #! */

const char *const obstacle_names[NR_OBSTACLES] = {
	"none",   "missing",    "not_executable", "static", "go",
	"setuid", "capability", "machine",        "libc",
};

static enum obstacle
obstacle(enum obstacle what, struct text *why, const char *name, const char *sentence)
{
	text_add(why, "%s %s", name, sentence);
	return what;
}

/* The library's libc is this command's, and each libc has a dynamic linker of its own name. */
static bool
same_libc(const struct elf *elf)
{
	const char *linker = strrchr(elf->interpreter, '/'), *ours;
	struct elf own;

	if (!linker)
		return false;
	/* A command that is static has none: glibc's begin so. */
	if (elf_read("/proc/self/exe", &own) < 0 ||
	    !(ours = strrchr(own.interpreter, '/')))
		return strncmp(linker, "/ld-linux", 9) == 0;
	return strcmp(linker, ours) == 0;
}

enum obstacle
program_obstacle(const char *file, const char *name, struct text *why, bool *uring)
{
	struct stat st;
	struct elf elf;
	int ret = elf_read(file, &elf);

	*uring = elf.uring;
	if (ret < 0) {
		text_add(why, "%s cannot be looked at: %s", name, strerror(-ret));
		return OBSTACLE_FORBIDDEN;
	}
	if (!elf.ours)
		return obstacle(
			OBSTACLE_MACHINE, why, name,
			"is built for another processor or word size than the library: "
			"build the library for it");
	if (elf.go)
		return obstacle(
			OBSTACLE_GO, why, name,
			"is a Go program, which calls the kernel without libc, so the "
			"library would see nothing: leave the library off");
	if (!elf.interpreter[0])
		return obstacle(
			OBSTACLE_STATIC, why, name,
			"is statically linked, so nothing can be preloaded into it: use a "
			"dynamically linked build of it");
	if (!same_libc(&elf))
		return obstacle(
			OBSTACLE_LIBC, why, name,
			"uses another libc than the library: use a build of it for the same "
			"libc, or build the library for its own");
	if (stat(file, &st) == 0 && st.st_mode & (S_ISUID | S_ISGID))
		return obstacle(
			OBSTACLE_SETUID, why, name,
			"is set-user-ID or set-group-ID, and the dynamic linker preloads "
			"nothing of a user's choice into such a program: put weir run "
			"behind it, or run a copy of it without the bit");
	if (getxattr(file, "security.capability", NULL, 0) > 0)
		return obstacle(
			OBSTACLE_CAPABILITY, why, name,
			"has file capabilities, and the dynamic linker preloads nothing of "
			"a user's choice into such a program: run a copy of it without "
			"them, and give it the capabilities by AmbientCapabilities= of "
			"systemd or by setpriv --ambient-caps");
	return OBSTACLE_NONE;
}

/* ---- where a name leads ---- */

static enum obstacle
executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? OBSTACLE_MISSING
							   : OBSTACLE_FORBIDDEN;
	return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? OBSTACLE_NONE
							      : OBSTACLE_FORBIDDEN;
}

/* The first of PATH that can be executed; one that cannot is remembered for the status. */
static enum obstacle
search(const char *name, struct text *path)
{
	const char *dirs = getenv("PATH");
	enum obstacle found = OBSTACLE_MISSING;

	if (!dirs)
		dirs = "/usr/local/bin:/usr/bin:/bin";
	for (;; dirs++) {
		size_t len = strcspn(dirs, ":");
		enum obstacle here;

		text_clear(path);
		text_bytes(path, dirs, len);
		/* An empty entry is the directory one is in. */
		text_add(path, "%s%s", len ? "/" : "./", name);
		here = executable(text_string(path));
		if (here == OBSTACLE_NONE)
			return here;
		if (here == OBSTACLE_FORBIDDEN)
			found = here;
		dirs += len;
		if (!*dirs)
			return found;
	}
}

static enum obstacle
locate(const char *name, struct text *path, struct text *why)
{
	enum obstacle found;

	if (strchr(name, '/')) {
		text_add(path, "%s", name);
		found = executable(name);
	} else {
		found = *name ? search(name, path) : OBSTACLE_MISSING;
	}
	if (found == OBSTACLE_MISSING)
		text_add(why, "%s: there is no such program%s", name,
			 strchr(name, '/') ? "" : " in PATH");
	else if (found == OBSTACLE_FORBIDDEN)
		text_add(why, "%s: this is there, but cannot be executed", name);
	return found;
}

/* ---- scripts ---- */

/* The line behind "#!", or false where the file begins in another way. */
static bool
script_line(const char *path, char line[MOST_LINE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd >= 0 ? read(fd, line, MOST_LINE - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 2 || memcmp(line, "#!", 2) != 0)
		return false;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	memmove(line, line + 2, strlen(line + 2) + 1);
	return true;
}

/* What runs a script: the interpreter, or what env(1) will look for. */
static void
interpreter(char *line, struct text *interpreter, struct text *by_env)
{
	char *rest = NULL, *word = strtok_r(line, " \t\r", &rest);
	const char *slash;

	if (!word)
		return;
	text_add(interpreter, "%s", word);
	slash = strrchr(word, '/');
	if (strcmp(slash ? slash + 1 : word, "env") != 0)
		return;
	while ((word = strtok_r(NULL, " \t\r", &rest)))
		if (*word != '-' && !strchr(word, '=')) {
			text_add(by_env, "%s", word);
			return;
		}
}

static enum obstacle
look_at(const char *path, int depth, struct text *why, bool *uring)
{
	struct text runs = { 0 }, by_env = { 0 }, found = { 0 };
	char line[MOST_LINE];
	enum obstacle what = OBSTACLE_NONE;
	struct elf elf;

	if (!script_line(path, line)) {
		/* What is neither a program nor says what runs it, a shell runs. */
		if (elf_read(path, &elf) != -ENOEXEC || strcmp(path, "/bin/sh") == 0)
			return program_obstacle(path, path, why, uring);
		return program_obstacle("/bin/sh", "/bin/sh", why, uring);
	}
	interpreter(line, &runs, &by_env);
	if (depth == MOST_SCRIPTS || !runs.len) {
		what = obstacle(OBSTACLE_FORBIDDEN, why, path,
				"names nothing that runs it");
	} else {
		what = executable(text_string(&runs));
		if (what != OBSTACLE_NONE)
			/* The kernel's answer, and env's status, are of what is missing. */
			text_add(why, "%s: what runs it, %s, cannot be executed", path,
				 text_string(&runs));
		else
			what = look_at(text_string(&runs), depth + 1, why, uring);
	}
	if (what == OBSTACLE_NONE && by_env.len) {
		what = locate(text_string(&by_env), &found, why);
		if (what == OBSTACLE_NONE)
			what = look_at(text_string(&found), depth + 1, why, uring);
	}
	text_fini(&runs);
	text_fini(&by_env);
	text_fini(&found);
	return what;
}

void
program_look(const char *name, struct program *program)
{
	struct text path = { 0 };

	*program = (struct program){ 0 };
	program->obstacle = locate(name, &path, &program->why);
	if (program->obstacle == OBSTACLE_MISSING) {
		text_fini(&path);
		return;
	}
	program->path = path.at;
	if (program->obstacle == OBSTACLE_NONE)
		program->obstacle = look_at(path.at, 0, &program->why, &program->uring);
}

void
program_fini(struct program *program)
{
	free(program->path);
	text_fini(&program->why);
}
