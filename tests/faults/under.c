/*
 * under.c - starts a program where something is missing.
 *
 *   under [-l LIBRARY] [-c NUMBERS] [-r LIMIT=VALUE] [-u UID] [-m PLACE] [-s ERRNO:NR,NR...]
 *         PROGRAM [ARG...]
 *
 * -l is preloaded, into PROGRAM alone. -c: descriptors that are closed, a digit each. -m: a place
 * of its own, for which root is needed: no-proc; no-room, /tmp and /run are full; no-dirs,
 * they are empty and may not be written; read-only, as all else; or chroot=ROOT=DIRECTORY..., with these
 * directories alone, the working directory in one of them. -s: only these system calls are allowed, the others say ERRNO. All of it
 * in this order. Status 77: it cannot be had here; 127: no such program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_CALLS = 250 };

static void
need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(77);
}

static void
limit(const char *text)
{
	static const struct {
		const char *name;
		int resource;
	} names[] = {
		{ "nofile", RLIMIT_NOFILE }, { "as", RLIMIT_AS },
		{ "nproc", RLIMIT_NPROC },   { "sigpending", RLIMIT_SIGPENDING },
		{ "data", RLIMIT_DATA },     { "fsize", RLIMIT_FSIZE },
	};
	size_t len = strcspn(text, "="), i = 0;
	struct rlimit value;

	while (i < sizeof names / sizeof *names &&
	       (strlen(names[i].name) != len || strncmp(names[i].name, text, len) != 0))
		i++;
	need(i < sizeof names / sizeof *names && text[len], "limit");
	value.rlim_cur = value.rlim_max = strtoul(text + len + 1, NULL, 10);
	need(setrlimit((__rlimit_resource_t)names[i].resource, &value) == 0,
	     "setrlimit");
}

/* As mkdir -p. */
static void
make_dirs(char *path)
{
	for (char *at = path + 1;; at++) {
		char was = *at;

		if (was != '/' && was)
			continue;
		*at = '\0';
		need(mkdir(path, 0755) == 0 || errno == EEXIST, path);
		*at = was;
		if (!was)
			return;
	}
}

/* The directory, or the link that it is, at the same place below `root`. */
static void
carry(const char *root, const char *dir)
{
	char to[4096], target[4096];
	ssize_t len = readlink(dir, target, sizeof target - 1);

	snprintf(to, sizeof to, "%s%s", root, dir);
	if (len > 0) {
		target[len] = '\0';
		need(symlink(target, to) == 0, to);
		return;
	}
	make_dirs(to);
	need(mount(dir, to, NULL, MS_BIND | MS_REC, NULL) == 0, to);
}

/* "ROOT=DIRECTORY=DIRECTORY...": nothing else is there, no /proc, no /tmp. */
static void
other_root(char *text)
{
	char *root = strtok(text, "="), *dir, here[4096];

	need(mount("none", root, "tmpfs", 0, NULL) == 0, root);
	while ((dir = strtok(NULL, "=")))
		carry(root, dir);
	need(getcwd(here, sizeof here) != NULL, "getcwd");
	need(chroot(root) == 0 && chdir(here) == 0, "chroot");
}

static void
cover(const char *dir, const char *options, unsigned long flags)
{
	need(mount("none", dir, "tmpfs", flags, options) == 0, dir);
}

static void
fill(const char *path)
{
	char page[4096] = "";
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	need(fd >= 0, path);
	while (write(fd, page, sizeof page) > 0)
		;
	close(fd);
}

static void
move(char *place)
{
	need(unshare(CLONE_NEWNS) == 0, "unshare");
	need(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "/");
	if (!strncmp(place, "chroot=", 7)) {
		other_root(place + 7);
	} else if (!strcmp(place, "no-proc")) {
		cover("/proc", NULL, 0);
	} else if (!strcmp(place, "no-dirs")) {
		cover("/tmp", NULL, MS_RDONLY);
		cover("/run", NULL, MS_RDONLY);
	} else if (!strcmp(place, "no-room")) {
		/* One page, and an inode for the file that takes it and the root. */
		cover("/tmp", "size=4k,nr_inodes=2", 0);
		cover("/run", "size=4k,nr_inodes=2", 0);
		fill("/tmp/full");
		fill("/run/full");
	} else if (!strcmp(place, "read-only")) {
		cover("/run", NULL, MS_RDONLY);
		cover("/tmp", NULL, MS_RDONLY);
		need(mount("none", "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) ==
			     0,
		     "/");
	} else {
		errno = EINVAL;
		need(0, place);
	}
}

static void
restrict_calls(char *text)
{
	struct sock_filter filter[2 * MOST_CALLS + 3];
	struct sock_fprog program = { .filter = filter };
	unsigned error = (unsigned)strtoul(text, &text, 10), nr = 0;

	filter[nr++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						    offsetof(struct seccomp_data, nr));
	while (*text && nr < 2 * MOST_CALLS) {
		unsigned call = (unsigned)strtoul(text + 1, &text, 10);

		filter[nr++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							    call, 0, 1);
		filter[nr++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
							    SECCOMP_RET_ALLOW);
	}
	filter[nr++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						    SECCOMP_RET_ERRNO | error);
	program.len = (unsigned short)nr;
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

int
main(int argc, char **argv)
{
	const char *library = NULL, *closed = "", *limits[8];
	char *place = NULL, *calls = NULL;
	int uid = -1, nr_limits = 0, option;

	while ((option = getopt(argc, argv, "+l:c:r:u:m:s:")) != -1) {
		switch (option) {
		case 'l':
			library = optarg;
			break;
		case 'c':
			closed = optarg;
			break;
		case 'r':
			need(nr_limits < 8, "-r");
			limits[nr_limits++] = optarg;
			break;
		case 'u':
			uid = atoi(optarg);
			break;
		case 'm':
			place = optarg;
			break;
		case 's':
			calls = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!argv[optind])
		return 2;
	if (library)
		setenv("LD_PRELOAD", library, 1);
	for (; *closed; closed++)
		close(*closed - '0');
	if (place)
		move(place);
	for (int i = 0; i < nr_limits; i++)
		limit(limits[i]);
	if (uid >= 0)
		need(setgid((gid_t)uid) == 0 && setuid((uid_t)uid) == 0, "setuid");
	if (calls)
		restrict_calls(calls);
	execv(argv[optind], argv + optind);
	return 127;
}
