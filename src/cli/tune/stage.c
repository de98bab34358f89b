#include "cli/tune/stage.h"
#include "cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_OUTPUT = 1 << 20, LAST_LINES = 5 };

static const char *const files[] = { SERVER_LOG, LOAD_OUT, LOAD_ERR, PLOT_SCRIPT,
				     PLOT_LOG };

int
stage_open(struct stage *s)
{
	const char *tmp = getenv("TMPDIR");
	struct text sockets = { 0 };
	int ret = 0;

	text_add(&s->directory, "%s/weir-tune.XXXXXX",
		 tmp && *tmp == '/' ? tmp : "/tmp");
	/* Below it, a server that changes its user has to bind its metrics socket. */
	if (!mkdtemp(s->directory.at) ||
	    (geteuid() == 0 && chmod(s->directory.at, 0711) < 0))
		ret = -errno;
	stage_file(s, SOCKETS, &sockets);
	if (!ret && (mkdir(sockets.at, 0700) < 0 ||
		     (geteuid() == 0 && chmod(sockets.at, 01777) < 0)))
		ret = -errno;
	text_fini(&sockets);
	return ret;
}

static void
clear(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

const char *
stage_file(const struct stage *s, const char *name, struct text *path)
{
	text_clear(path);
	text_add(path, "%s/%s", text_string(&s->directory), name);
	return text_string(path);
}

void
stage_clear_sockets(const struct stage *s)
{
	struct text path = { 0 };

	clear(stage_file(s, SOCKETS, &path));
	text_fini(&path);
}

void
stage_close(struct stage *s)
{
	struct text path = { 0 };

	if (s->directory.at) {
		stage_clear_sockets(s);
		rmdir(stage_file(s, SOCKETS, &path));
		/* What failed has other names by now. */
		for (size_t i = 0; i < sizeof files / sizeof *files; i++)
			unlink(stage_file(s, files[i], &path));
		if (rmdir(s->directory.at) < 0 && errno == ENOTEMPTY)
			complain("tune: the output of what failed is in %s",
				 s->directory.at);
	}
	text_fini(&path);
	text_fini(&s->directory);
}

void
stage_read(const char *path, struct text *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char part[16384];
	struct stat st;
	ssize_t n;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > MOST_OUTPUT)
		lseek(fd, -MOST_OUTPUT, SEEK_END);
	while (fd >= 0 && (n = read(fd, part, sizeof part)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (!part[i])
				part[i] = ' ';
		text_bytes(out, part, (size_t)n);
	}
	if (fd >= 0)
		close(fd);
}

void
stage_keep(const struct stage *s, const char *setting, const char *name,
	   struct failure *f)
{
	struct text path = { 0 }, all = { 0 };
	const char *from;
	int lines = 0;

	text_add(&f->file, "%s/%s.%s", text_string(&s->directory), setting, name);
	for (char *c = f->file.at + s->directory.len + 1; *c; c++)
		if (*c == '/')
			*c = '-';
	text_clear(&f->tail);
	stage_read(stage_file(s, name, &path), &all);
	if (!all.len || rename(text_string(&path), f->file.at) < 0)
		text_clear(&f->file);
	while (all.len && all.at[all.len - 1] == '\n')
		all.at[--all.len] = '\0';
	from = text_string(&all) + all.len;
	while (all.len && from > all.at && (from[-1] != '\n' || ++lines < LAST_LINES))
		from--;
	text_add(&f->tail, "%s", from);
	text_fini(&path);
	text_fini(&all);
}

void
stage_forget(struct failure *f)
{
	if (f->file.len)
		unlink(f->file.at);
	failure_fini(f);
}

void
failure_fini(struct failure *f)
{
	text_fini(&f->why);
	text_fini(&f->file);
	text_fini(&f->tail);
}
