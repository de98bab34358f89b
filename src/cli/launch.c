#include "cli/launch.h"
#include "cli/cli.h"
#include "cli/elf.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifndef WEIR_LIBRARY /* the build says where it installs */
#define WEIR_LIBRARY "/usr/local/lib/weir/libweir.so"
#endif

static const char separators[] = ": \t\n"; /* of the entries of LD_PRELOAD */

static bool
refuse(const char *verb, const char *what, const char *why)
{
	complain("%s: %s %s", verb, what, why);
	return false;
}

const char *
launch_library(void)
{
	const char *told = getenv("WEIR_LIB");

	return told && *told ? told : WEIR_LIBRARY;
}

static bool
library_good(const char *verb)
{
	const char *path = launch_library();
	struct statvfs fs;
	struct elf elf;
	int ret = elf_read(path, &elf);

	if (ret == -ENOEXEC || ret == -EBADMSG || (!ret && (!elf.ours || !elf.shared)))
		return refuse(verb, path,
			      "is no library for this machine: install weir again");
	if (ret < 0) {
		complain("%s: the library %s cannot be read (%s): install it, or say in "
			 "WEIR_LIB where it is",
			 verb, path, strerror(-ret));
		return false;
	}
	/* There is no way to write these in an entry. */
	if (strpbrk(path, separators))
		return refuse(verb, path,
			      "cannot be preloaded, as its path has a space or a colon: "
			      "put it elsewhere");
	if (*path != '/')
		return refuse(verb, path, "must be named by a whole path");
	if (statvfs(path, &fs) == 0 && fs.f_flag & ST_NOEXEC)
		return refuse(verb, path,
			      "lies on a file system mounted noexec: put it elsewhere");
	return true;
}

static bool
same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* An entry of LD_PRELOAD that is a libweir.so, this command's or another. */
static bool
is_weir(const char *entry)
{
	const char *slash = strrchr(entry, '/');

	return strcmp(slash ? slash + 1 : entry, "libweir.so") == 0 ||
	       same_file(entry, launch_library());
}

/* Another library than this command's must not be there already. */
static bool
preload_good(const char *verb)
{
	const char *old = getenv("LD_PRELOAD");
	char *copy = have(strdup(old ? old : "")), *rest = NULL;
	bool good = true;

	for (char *s = strtok_r(copy, separators, &rest); s;
	     s = strtok_r(NULL, separators, &rest))
		if (is_weir(s) && !same_file(s, launch_library()))
			good = refuse(verb, s,
				      "is in LD_PRELOAD already, and is another library "
				      "than this command's: unset LD_PRELOAD");
	free(copy);
	return good;
}

void
launch_preload(bool with_library, struct text *value)
{
	const char *old = getenv("LD_PRELOAD");
	char *copy = have(strdup(old ? old : "")), *rest = NULL;
	bool there = false;

	for (char *s = strtok_r(copy, separators, &rest); s;
	     s = strtok_r(NULL, separators, &rest)) {
		if (is_weir(s)) {
			if (!with_library)
				continue;
			there = true;
		}
		text_add(value, "%s%s", value->len ? ":" : "", s);
	}
	free(copy);
	/* Behind the others: a sanitizer's has to come first. */
	if (with_library && !there)
		text_add(value, "%s%s", value->len ? ":" : "", launch_library());
}

static bool
enabled(const char *verb)
{
	const char *value = getenv("STREAM_ENABLED");

	return !value || !is_off(value) ||
	       refuse(verb, "STREAM_ENABLED", "is off in the environment: unset it");
}

int
launch_look(const char *verb, const char *command, struct program *program)
{
	program_look(command, program);
	if (program->obstacle != OBSTACLE_NONE) {
		complain("%s: %s", verb, text_string(&program->why));
		return program->obstacle == OBSTACLE_MISSING     ? END_NOT_FOUND
		       : program->obstacle == OBSTACLE_FORBIDDEN ? END_NOT_EXECUTABLE
								 : END_REFUSED;
	}
	if (!library_good(verb) || !preload_good(verb) || !enabled(verb))
		return END_REFUSED;
	if (program->uring)
		complain("%s: %s uses io_uring: what it sends that way is not seen",
			 verb, program->path);
	return END_FINE;
}

bool
launch_chunk(const char *word, long *bytes)
{
	unsigned long n, unit = 1;
	char *end;

	if (*word < '0' || *word > '9')
		return false;
	n = strtoul(word, &end, 10);
	if (*end == 'k' || *end == 'K')
		unit = 1024;
	else if (*end == 'm' || *end == 'M')
		unit = 1048576;
	if (unit > 1)
		end++;
	*bytes = (long)(n * unit);
	return !*end && n <= 1048576 / unit && (n == 0 || n * unit >= 1024);
}

bool
launch_delay(const char *word, long *us)
{
	return number_read(word, 0, 1000000, us);
}

int
launch_exec(const char *verb, const char *path, char *const *argv)
{
	execv(path, argv);
	if (errno == ENOEXEC) {
		int nr = 0;
		char **shell;

		while (argv[nr])
			nr++;
		shell = have(calloc((size_t)nr + 2, sizeof(char *)));
		shell[0] = (char[]){ "/bin/sh" };
		shell[1] = have(strdup(path));
		memcpy(shell + 2, argv + 1, (size_t)nr * sizeof(char *));
		execv(shell[0], shell);
	}
	complain("%s: %s: %s", verb, path, strerror(errno));
	return errno == ENOENT ? END_NOT_FOUND : END_NOT_EXECUTABLE;
}
