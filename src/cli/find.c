#include "cli/find.h"
#include "cli/cli.h"
#include "cli/proc.h"
#include "cli/seen.h"
#include "cli/text.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of one directory that are looked at, whatever they are. */
enum { MOST_NAMES = 4 * PLACES_OF_ONE };

static const char fresh_suffix[] = ".new"; /* while a socket is being given its place */

/* Keeps fd, or closes it if the place is known, or one too many of its owner's. */
static void
keep(struct places *p, int fd, const struct stat *st, const char *path, pid_t via)
{
	int nr_owned = 0;

	for (int i = 0; i < p->nr; i++) {
		nr_owned += p->at[i].owner == st->st_uid;
		if (p->at[i].dev != st->st_dev || p->at[i].ino != st->st_ino)
			continue;
		/* How its process numbers others is worth knowing. */
		if (!p->at[i].via)
			p->at[i].via = via;
		close(fd);
		return;
	}
	if (nr_owned == PLACES_OF_ONE) {
		close(fd);
		return;
	}
	if (p->nr == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 16;
		p->at = have(realloc(p->at, (size_t)p->cap * sizeof *p->at));
	}
	p->at[p->nr++] = (struct place){ have(strdup(path)), fd,         st->st_dev,
					 st->st_ino,         st->st_uid, via };
}

static bool
own_root(int root)
{
	struct stat its, ours;

	return fstat(root, &its) == 0 && stat("/", &ours) == 0 &&
	       its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

/* `path` below the directory `root`, out of which no link leads. A filter that cannot see what openat2 is asked
 * for refuses it, as systemd's RestrictSUIDSGID= does, which DynamicUser= implies: then our own root
 * has no need of it, and what is below another's is not found. A descriptor or -errno. */
static int
open_below(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
				.resolve = RESOLVE_IN_ROOT };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);

	if (fd < 0 && (errno == ENOSYS || errno == EPERM) && own_root(root))
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The socket at `path` below the directory `root`. 0 or -errno. */
static int
add_below(struct places *p, int root, const char *path, const char *shown, pid_t via)
{
	int fd = open_below(root, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		close(fd);
		return -ENOTSOCK;
	}
	keep(p, fd, &st, shown, via);
	return 0;
}

int
places_add(struct places *p, const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		close(fd);
		return -ENOTSOCK;
	}
	keep(p, fd, &st, path, 0);
	return 0;
}

static bool
digits(const char **s)
{
	const char *begin = *s;

	while (isdigit((unsigned char)**s))
		(*s)++;
	return *s > begin;
}

bool
find_fits(const char *pattern, const char *program, const char *name)
{
	for (; *pattern; pattern++) {
		char word = *pattern;
		bool is_word = word == '%' && pattern[1];

		if (is_word)
			word = *++pattern;
		if (is_word && word == 'p') {
			if (!digits(&name))
				return false;
		} else if (is_word && word == 'e') {
			if (strncmp(name, program, strlen(program)) != 0)
				return false;
			name += strlen(program);
		} else if (*name++ != word) {
			return false;
		}
	}
	for (int i = 0; i < 2 && *name == '.'; i++) {
		name++;
		if (!digits(&name))
			return false;
	}
	return !*name;
}

/* ---- one directory ---- */

struct pattern {
	const char *name; /* for find_fits(); NULL: what a default socket is called */
	const char *program;
};

/* Any program's PROGRAM.PID.sock, also with what is added where that is in use. */
static bool
default_name(const char *name)
{
	const char *last = NULL;

	for (const char *s = strstr(name, ".sock"); s; s = strstr(s + 1, ".sock"))
		last = s;
	return last && find_fits("", "", last + strlen(".sock"));
}

/* What fits in `dir`, which is below `root`. */
static void
scan(struct places *p, int root, const char *prefix, const char *dir,
     const struct pattern *pattern, pid_t via)
{
	/* A default directory that is a link is somebody's trick. */
	int fd = open_below(root, dir,
			    O_RDONLY | O_DIRECTORY | (pattern->name ? 0 : O_NOFOLLOW));
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int left = MOST_NAMES;

	while (stream && left && (entry = readdir(stream))) {
		struct text path = { 0 }, shown = { 0 };

		if (pattern->name
			    ? !find_fits(pattern->name, pattern->program, entry->d_name)
			    : !default_name(entry->d_name))
			continue;
		left--;
		text_add(&path, "%s/%s", dir, entry->d_name);
		text_add(&shown, "%s%s", prefix, text_string(&path));
		add_below(p, root, text_string(&path), text_string(&shown), via);
		text_fini(&path);
		text_fini(&shown);
	}
	if (stream)
		closedir(stream);
}

/* /tmp/weir-UID is that user's, or somebody's who would have us look at what he likes. */
static bool
is_the_users(const char *dir)
{
	struct text own = { 0 };
	struct stat st;
	bool ret;

	if (lstat(dir, &st) != 0)
		return false;
	text_add(&own, "/tmp/weir-%u", st.st_uid);
	ret = strcmp(dir, text_string(&own)) == 0;
	text_fini(&own);
	return ret;
}

static void
scan_defaults(struct places *p, int root)
{
	static const struct pattern any = { NULL, NULL };
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct text dir = { 0 };
	glob_t found = { 0 };

	if (runtime && *runtime == '/') {
		text_add(&dir, "%s/weir", runtime);
		scan(p, root, "", text_string(&dir), &any, 0);
		text_fini(&dir);
	}
	scan(p, root, "", "/run/weir", &any, 0);
	glob("/run/user/*/weir", GLOB_NOSORT, NULL, &found);
	glob("/tmp/weir-[0-9]*", GLOB_NOSORT | GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (strncmp(found.gl_pathv[i], "/tmp/", 5) != 0 ||
		    is_the_users(found.gl_pathv[i]))
			scan(p, root, "", found.gl_pathv[i], &any, 0);
	globfree(&found);
}

/* ---- one process ---- */

struct search {
	struct places *places;
	pid_t pid;
	int root;        /* the process's */
	char prefix[32]; /* /proc/PID/root, "" where that is ours */
	struct text unix_sockets;
	struct text inodes;        /* of proc_sockets() */
	struct seen_process *seen; /* NULL: nothing is remembered */
	int nr_listening;          /* that were found */
};

static void
add_listening(struct search *s, char *path)
{
	size_t len = strlen(path), suffix = sizeof fresh_suffix - 1;
	struct text shown = { 0 };

	/* The table knows the name it was bound by, which was then changed. */
	if (len <= suffix || strcmp(path + len - suffix, fresh_suffix) != 0)
		return;
	path[len - suffix] = '\0';
	text_add(&shown, "%s%s", s->prefix, path);
	if (add_below(s->places, s->root, path, text_string(&shown), s->pid) == 0) {
		s->nr_listening++;
		if (s->seen) {
			/* One of several would hide the others. */
			free(s->seen->path);
			s->seen->path = s->nr_listening == 1 ? have(strdup(path)) : NULL;
		}
	}
	text_fini(&shown);
}

/* The socket where it was the last time. */
static void
look_where_it_was(struct search *s)
{
	struct text shown = { 0 };

	text_add(&shown, "%s%s", s->prefix, s->seen->path);
	if (add_below(s->places, s->root, s->seen->path, text_string(&shown), s->pid) ==
	    0) {
		s->nr_listening++;
	} else {
		free(s->seen->path);
		s->seen->path = NULL;
	}
	text_fini(&shown);
}

/* Lines of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path. */
static void
look_at_table(struct search *s)
{
	char *line, *rest = NULL;

	proc_sockets(s->pid, &s->inodes);
	if (!proc_read(s->pid, "net/unix", &s->unix_sockets) || !s->unix_sockets.at)
		return;
	for (line = strtok_r(s->unix_sockets.at, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		unsigned flags, type;
		unsigned long inode;
		char *path = strchr(line, '/');

		if (!path || sscanf(line, "%*s %*s %*s %x %x %*s %lu", &flags, &type,
				    &inode) != 3)
			continue;
		if (flags & 1 << 16 && type == 1 && proc_has_socket(&s->inodes, inode))
			add_listening(s, path);
	}
}

static void
look_where_told(struct search *s)
{
	struct text value = { 0 }, program = { 0 };
	char *slash;

	if (proc_variable(s->pid, "STREAM_METRICS_SOCKET", &value) && value.at &&
	    value.at[0] == '/') {
		proc_program(s->pid, &program);
		slash = strrchr(value.at, '/');
		*slash = '\0';
		scan(s->places, s->root, s->prefix, *value.at ? value.at : "/",
		     &(struct pattern){ slash + 1, text_string(&program) }, s->pid);
	}
	text_fini(&value);
	text_fini(&program);
}

static bool
same_root(pid_t pid, int root)
{
	return proc_same_namespace(pid, getpid(), "mnt") && own_root(root);
}

/* What it takes to tell that a process is of no family is remembered. */
static bool
maps_library(struct search *s, struct seen *seen)
{
	static const char library[] = "libweir.so";

	if (!seen)
		return proc_maps(s->pid, library);
	s->seen = seen_get(seen, s->pid);
	if (s->seen && seen_wants_maps(s->seen))
		seen_maps(s->seen, proc_maps(s->pid, library));
	return s->seen && s->seen->maps;
}

struct round {
	struct places *places;
	struct seen *seen;
};

static void
look_at(pid_t pid, void *arg)
{
	const struct round *round = arg;
	struct search s = { .places = round->places, .pid = pid };
	char root[32];

	if (!maps_library(&s, round->seen))
		return;
	snprintf(root, sizeof root, "/proc/%d/root", (int)pid);
	s.root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.root < 0)
		return;
	if (!same_root(pid, s.root))
		snprintf(s.prefix, sizeof s.prefix, "%s", root);
	if (s.seen && s.seen->path)
		look_where_it_was(&s);
	if (!s.nr_listening && (!s.seen || seen_wants_look(s.seen))) {
		look_at_table(&s);
		if (s.seen && !s.nr_listening)
			seen_nothing(s.seen);
	}
	if (!s.nr_listening)
		look_where_told(&s);
	close(s.root);
	text_fini(&s.unix_sockets);
	text_fini(&s.inodes);
}

void
places_find(struct places *p, struct seen *seen)
{
	struct round round = { p, seen };
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rlimit limit;

	/* Each family takes two descriptors. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (root >= 0) {
		scan_defaults(p, root);
		close(root);
	}
	if (seen)
		seen_begin(seen);
	proc_each(look_at, &round);
}

void
places_fini(struct places *p)
{
	for (int i = 0; i < p->nr; i++) {
		close(p->at[i].fd);
		free(p->at[i].path);
	}
	free(p->at);
	*p = (struct places){ 0 };
}
