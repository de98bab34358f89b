#include "metrics/place.h"
#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "count/region.h"
#include "metrics/path.h"
#include "metrics/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { PATH_CAP = CONFIG_PATH_MAX, BACKLOG = 64, MAX_SUFFIX = 99, LOCK_TRIES = 100 };
enum { DIR_TRIES = 10, RUNTIME_DIR = 0, DEFAULT_DIRS = 3 };

/* Of the socket bound. In ordinary memory: every member may have to remove it. */
static struct {
	char path[PATH_CAP];
	uint64_t dev, ino; /* of the path */
	uint64_t sock_ino; /* of the descriptor */
	bool runtime;      /* in our directory in $XDG_RUNTIME_DIR */
} bound;

/* Too large for the stack of a thread that merely calls listen(). */
struct scratch {
	char base[PATH_CAP]; /* as configured or chosen */
	char path[PATH_CAP]; /* with a suffix */
	char fresh[PATH_CAP + 8];
	char dir[PATH_CAP], name[PATH_CAP];
	char entries[8192];
};

/* Gives the bound socket its name. -EEXIST: somebody was faster. */
static int
rename_fresh(const char *fresh, const char *path)
{
	struct stat st;
	int ret = sys_rename_new(fresh, path);

	if (ret != -EINVAL && ret != -ENOSYS)
		return ret;
	/* A file system without RENAME_NOREPLACE: as near to it as one gets. */
	return sys_lstat(path, &st) == -ENOENT ? sys_rename(fresh, path) : -EEXIST;
}

/* The mode is exact whatever the umask: bind only takes away from the descriptor's own,
 * and chmod gives back before the path has its final name. */
static int
bind_fresh(int fd, const char *fresh, const char *path)
{
	struct stat st, own;
	int ret;

	sys_call(SYS_fchmod, fd, (long)config->socket_mode, 0, 0, 0, 0);
	ret = sock_at(fd, fresh, sys_bind);
	if (ret < 0)
		return ret == -EADDRINUSE ? -EEXIST : ret;
	/* At once: a socket that does not listen looks dead. */
	ret = sys_listen(fd, BACKLOG);
	if (ret >= 0)
		ret = sys_chmod(fresh, config->socket_mode);
	if (ret >= 0)
		ret = sys_lstat(fresh, &st);
	if (ret >= 0)
		ret = sys_fstat(fd, &own);
	if (ret >= 0)
		ret = rename_fresh(fresh, path);
	if (ret < 0) {
		sys_unlink(fresh);
		return ret;
	}
	bound.dev = st.st_dev;
	bound.ino = st.st_ino;
	bound.sock_ino = own.st_ino;
	memcpy(bound.path, path, strlen(path) + 1);
	return 0;
}

/* The descriptor; -EEXIST: the place is in use. */
static int
bind_at(struct scratch *s)
{
	struct path c = { s->fresh, 0, sizeof s->fresh, false };
	enum found there = sock_look(s->path), fresh;
	int fd, ret;

	path_add(&c, s->path);
	path_add(&c, ".new");
	if (there == NO_SOCKET)
		return -ENOTSOCK;
	fresh = there == LIVE_SOCKET ? LIVE_SOCKET : sock_look(s->fresh);
	if (fresh == LIVE_SOCKET || fresh == NO_SOCKET)
		return -EEXIST;
	if (fresh == DEAD_SOCKET)
		sys_unlink(s->fresh);
	fd = sock_new();
	if (fd < 0)
		return fd;
	if (there == DEAD_SOCKET)
		sys_unlink(s->path);
	ret = bind_fresh(fd, s->fresh, s->path);
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	return fd;
}

/* Families that begin at the same moment would take each other's sockets for dead ones: one is so
 * until it listens. So they come one by one, by a lock on the directory; -1: not for us, or
 * somebody keeps it, and then it goes without. */
static int
lock_dir(struct scratch *s)
{
	const char *slash = strrchr(s->base, '/');
	struct path c = { s->dir, 0, sizeof s->dir, false };
	int dir;

	path_add(&c, s->base);
	if (!slash)
		return -1;
	s->dir[slash == s->base ? 1 : slash - s->base] = '\0';
	dir = sock_raised(sys_open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
	for (int i = 0; dir >= 0 && i < LOCK_TRIES; i++) {
		if (sys_call(SYS_flock, dir, LOCK_EX | LOCK_NB, 0, 0, 0, 0) >= 0)
			return dir;
		sys_poll(NULL, 0, 1);
	}
	if (dir >= 0)
		sys_close(dir);
	return -1;
}

/* A child that another thread forked meanwhile has the descriptor too: closing is not enough. */
static void
unlock_dir(int dir)
{
	if (dir < 0)
		return;
	sys_call(SYS_flock, dir, LOCK_UN, 0, 0, 0, 0);
	sys_close(dir);
}

/* At s->base, or beside it with .PID, .PID.2, ... */
static int
bind_near(struct scratch *s)
{
	int ret = -EEXIST,
	    dir = lock_dir(s); /* leaves s->dir the directory of s->base */

	for (unsigned i = 0; i <= MAX_SUFFIX && ret == -EEXIST; i++) {
		struct path c = { s->path, 0, sizeof s->path, false };

		path_add(&c, s->base);
		if (i) {
			path_add(&c, ".");
			path_number(&c, (unsigned)sys_getpid());
		}
		if (i > 1) {
			path_add(&c, ".");
			path_number(&c, i);
		}
		ret = c.cut ? -ENAMETOOLONG : bind_at(s);
	}
	unlock_dir(dir);
	return ret;
}

/* Ours alone: nobody else can replace what lies in it. */
static bool
own_dir(const char *path)
{
	struct stat st;
	int made, there, tries = 0;

	do {
		made = sys_mkdir(path, 0700);
		if (made >= 0)
			sys_chmod(path, 0700);
		there = sys_lstat(path, &st);
	} while (there == -ENOENT && (made >= 0 || made == -EEXIST) &&
		 ++tries < DIR_TRIES);
	return there >= 0 && S_ISDIR(st.st_mode) && (int)st.st_uid == sys_getuid() &&
	       !(st.st_mode & 022);
}

/* Installed for everybody: root's, and sticky if others may write. */
static bool
system_dir(const char *path)
{
	struct stat st;

	return sys_lstat(path, &st) >= 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
	       ((st.st_mode & S_ISVTX) || !(st.st_mode & 022));
}

/* The default directories in their order; false: this one cannot be used. */
static bool
default_dir(struct scratch *s, int i)
{
	struct path c = { s->dir, 0, sizeof s->dir, false };

	switch (i) {
	case RUNTIME_DIR:
		if (!config->runtime[0])
			return false;
		path_add(&c, config->runtime);
		path_add(&c, "/weir");
		return !c.cut && own_dir(s->dir);
	case 1:
		path_add(&c, "/run/weir");
		return system_dir(s->dir);
	default:
		path_add(&c, "/tmp/weir-");
		path_number(&c, (unsigned)sys_getuid());
		return own_dir(s->dir);
	}
}

static void
remove_if_dead(struct scratch *s, const char *name)
{
	struct path c = { s->path, 0, sizeof s->path, false };
	size_t program = strlen(config->program), len = strlen(name);
	struct stat st;

	if (strncmp(name, config->program, program) != 0 || name[program] != '.' ||
	    len < program + 6 || strcmp(name + len - 5, ".sock") != 0)
		return;
	path_add(&c, s->dir);
	path_add(&c, "/");
	path_add(&c, name);
	if (!c.cut && sys_lstat(s->path, &st) >= 0 && (int)st.st_uid == sys_getuid() &&
	    sock_look(s->path) == DEAD_SOCKET)
		sys_unlink(s->path);
}

struct entry { /* struct linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* Our user's dead sockets of this program: who is killed cannot remove its own. */
static void
sweep(struct scratch *s)
{
	int dir = sock_raised(sys_open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
	ssize_t nr;

	while (dir >= 0 && (nr = sys_getdents(dir, s->entries, sizeof s->entries)) > 0)
		for (ssize_t at = 0; at < nr;) {
			struct entry *e = (struct entry *)(void *)(s->entries + at);

			remove_if_dead(s, e->name);
			at += e->len;
		}
	if (dir >= 0)
		sys_close(dir);
}

/* A family that ends may remove the directory as soon as we have seen that it is there. */
static int
bind_in(struct scratch *s, int i)
{
	int fd = -ENOENT;

	for (int tries = 0; tries < DIR_TRIES && fd == -ENOENT && default_dir(s, i);
	     tries++) {
		struct path c = { s->base, 0, sizeof s->base, false };

		path_add(&c, s->dir);
		path_add(&c, "/");
		path_add(&c, config->program);
		path_add(&c, ".");
		path_number(&c, (unsigned)sys_getpid());
		path_add(&c, ".sock");
		fd = c.cut ? -ENAMETOOLONG : bind_near(s);
	}
	return fd;
}

static int
bind_default(struct scratch *s)
{
	int fd = -ENOENT;

	for (int i = 0; i < DEFAULT_DIRS && fd < 0; i++) {
		fd = bind_in(s, i);
		bound.runtime = i == RUNTIME_DIR;
	}
	if (fd >= 0)
		sweep(s);
	return fd;
}

static void
warn(const char *path, int err)
{
	switch (err) {
	case -ENOTSOCK:
		log_line(LOG_WARN, "%s is no socket and stays; no metrics socket", path);
		count_internal(INTERNAL_SOCKET);
		break;
	case -EMFILE:
	case -ENFILE:
		log_line(LOG_WARN, "no descriptor left for the metrics socket");
		count_internal(INTERNAL_DESCRIPTOR);
		break;
	default:
		log_line(LOG_WARN, "no metrics socket: %s cannot be bound (errno %d)",
			 path, -err);
		count_internal(err == -ENOENT || err == -EACCES || err == -ENOTDIR ||
					       err == -EROFS || err == -EPERM
				       ? INTERNAL_DIRECTORY
				       : INTERNAL_SOCKET);
	}
}

int
place_bind(void)
{
	struct scratch *s = sys_map(sizeof *s, 0);
	int fd;

	if (!s) {
		count_internal(INTERNAL_MEMORY);
		return -ENOMEM;
	}
	if (!config->socket[0]) {
		fd = bind_default(s);
	} else {
		fd = config_path(s->base, sizeof s->base, config->socket, sys_getpid());
		if (fd >= 0)
			fd = bind_near(s);
	}
	if (fd < 0)
		warn(s->base[0] ? s->base : "the default place", fd);
	sys_unmap(s, sizeof *s);
	return fd;
}

const char *
place_path(void)
{
	return bound.path;
}

void
place_unlink(void)
{
	struct stat st;

	if (bound.path[0] && sys_lstat(bound.path, &st) >= 0 &&
	    st.st_dev == bound.dev && st.st_ino == bound.ino) {
		sys_unlink(bound.path);
		/* Whoever made the directory that ours is in may want to remove it. Not so in /tmp, where
		 * anybody could take the name then. */
		if (bound.runtime) {
			*strrchr(bound.path, '/') = '\0';
			sys_rmdir(bound.path); /* unless another family is there */
		}
	}
	bound.path[0] = '\0';
}

bool
place_is(int fd)
{
	struct stat st;

	return bound.sock_ino && sys_fstat(fd, &st) >= 0 && S_ISSOCK(st.st_mode) &&
	       st.st_ino == bound.sock_ino;
}
