#include "cli/proc.h"
#include "cli/text.h"
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 16 << 20 };

static void
name_of(char *out, size_t cap, pid_t pid, const char *name)
{
	snprintf(out, cap, "/proc/%d/%s", (int)pid, name);
}

bool
proc_read(pid_t pid, const char *name, struct text *out)
{
	char path[64], part[16384];
	ssize_t n = 0;
	int fd;

	name_of(path, sizeof path, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (out->len < MOST_BYTES && (n = read(fd, part, sizeof part)) > 0)
		text_bytes(out, part, (size_t)n);
	close(fd);
	return n >= 0;
}

bool
proc_link(pid_t pid, const char *name, char *out, size_t cap)
{
	char path[64];
	ssize_t n;

	name_of(path, sizeof path, pid, name);
	n = readlink(path, out, cap - 1);
	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

void
proc_each(void (*with)(pid_t pid, void *arg), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			with((pid_t)strtol(entry->d_name, NULL, 10), arg);
	if (dir)
		closedir(dir);
}

bool
proc_exists(pid_t pid)
{
	char path[64];

	name_of(path, sizeof path, pid, "stat");
	return access(path, F_OK) == 0;
}

void
proc_mapped_files(pid_t pid, void (*with)(const char *path, void *arg), void *arg)
{
	struct text maps = { 0 };
	char *line, *rest, *path, *gone;

	if (proc_read(pid, "maps", &maps) && maps.at)
		for (line = strtok_r(maps.at, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest)) {
			path = strchr(line, '/');
			if (!path)
				continue;
			gone = strstr(path, " (deleted)");
			if (gone && !gone[strlen(" (deleted)")])
				*gone = '\0';
			with(path, arg);
		}
	text_fini(&maps);
}

struct wanted {
	const char *name;
	bool found;
};

static void
compare(const char *path, void *arg)
{
	struct wanted *w = arg;

	if (strcmp(strrchr(path, '/') + 1, w->name) == 0)
		w->found = true;
}

bool
proc_maps(pid_t pid, const char *name)
{
	struct wanted w = { name, false };

	proc_mapped_files(pid, compare, &w);
	return w.found;
}

bool
proc_variable(pid_t pid, const char *name, struct text *out)
{
	struct text all = { 0 };
	size_t len = strlen(name);
	bool found = false;

	if (proc_read(pid, "environ", &all) && all.at)
		for (char *s = all.at; s < all.at + all.len && !found;
		     s += strlen(s) + 1) {
			if (strncmp(s, name, len) != 0 || s[len] != '=')
				continue;
			text_add(out, "%s", s + len + 1);
			found = true;
		}
	text_fini(&all);
	return found;
}

void
proc_program(pid_t pid, struct text *out)
{
	struct text line = { 0 };
	const char *slash;

	proc_read(pid, "cmdline", &line);
	slash = strrchr(text_string(&line), '/');
	text_add(out, "%s", slash ? slash + 1 : text_string(&line));
	text_fini(&line);
}

pid_t
proc_own_number(pid_t pid)
{
	struct text status = { 0 };
	const char *line;
	pid_t own = pid;

	if (proc_read(pid, "status", &status) &&
	    (line = strstr(text_string(&status), "\nNSpid:"))) {
		/* One number for each namespace, the innermost last. */
		line += strlen("\nNSpid:");
		for (char *end; *line && *line != '\n'; line = end) {
			long n = strtol(line, &end, 10);

			if (end == line)
				break;
			own = (pid_t)n;
		}
	}
	text_fini(&status);
	return own;
}

bool
proc_same_namespace(pid_t a, pid_t b, const char *kind)
{
	char name[16], x[64], y[64];

	snprintf(name, sizeof name, "ns/%s", kind);
	return !proc_link(a, name, x, sizeof x) || !proc_link(b, name, y, sizeof y) ||
	       strcmp(x, y) == 0;
}

bool
proc_auxiliary(pid_t pid, unsigned long type, unsigned long *value)
{
	struct text all = { 0 };
	Elf64_auxv_t entry;
	bool found = false;

	/* Written in the process's own word size: one of 32 bits is not looked at. */
	if (proc_read(pid, "auxv", &all))
		for (size_t at = 0; at + sizeof entry <= all.len && !found;
		     at += sizeof entry) {
			memcpy(&entry, all.at + at, sizeof entry);
			if (entry.a_type != type)
				continue;
			*value = entry.a_un.a_val;
			found = true;
		}
	text_fini(&all);
	return found;
}

void
proc_descriptors(pid_t pid, void (*with)(const char *target, void *arg), void *arg)
{
	char path[64], target[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	ssize_t n;

	name_of(path, sizeof path, pid, "fd");
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		with(target, arg);
	}
	if (dir)
		closedir(dir);
}

static void
note_socket(const char *target, void *arg)
{
	unsigned long inode;

	if (sscanf(target, "socket:[%lu]", &inode) == 1)
		text_add(arg, " %lu ", inode);
}

void
proc_sockets(pid_t pid, struct text *inodes)
{
	proc_descriptors(pid, note_socket, inodes);
}

bool
proc_has_socket(const struct text *inodes, unsigned long inode)
{
	char word[32];

	snprintf(word, sizeof word, " %lu ", inode);
	return strstr(text_string(inodes), word);
}
