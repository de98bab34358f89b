#include "metrics/sock.h"
#include "base/config.h"
#include "base/sys.h"
#include "metrics/path.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/un.h>

enum { PATH_CAP = CONFIG_PATH_MAX };

int
sock_high(int fd, int floor)
{
	int top = sys_nofile_limit();

	if (top > 1024)
		top = 1024;
	for (int n = top - 1; n > floor; n--) {
		int got;

		if (n == fd || sys_fcntl(n, F_GETFD, 0) != -EBADF)
			continue;
		got = sys_fcntl(fd, F_DUPFD_CLOEXEC, n);
		if (got == n)
			return got;
		/* Another thread took it meanwhile. */
		if (got >= 0)
			sys_close(got);
	}
	return -EMFILE;
}

int
sock_raised(int fd)
{
	int high;

	if (fd < 0)
		return fd;
	high = sock_high(fd, fd);
	sys_close(fd);
	return high;
}

int
sock_new(void)
{
	return sock_raised(
		sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* An address for `path`, which may be longer than sun_path: then through its directory,
 * whose descriptor is stored in *dir (-1: none) and has to be closed. */
static int
address(struct sockaddr_un *sa, const char *path, int *dir)
{
	const char *slash = strrchr(path, '/');
	struct path c = { sa->sun_path, 0, sizeof sa->sun_path, false };
	char *parent;

	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	*dir = -1;
	if (strlen(path) < sizeof sa->sun_path) {
		path_add(&c, path);
		return 0;
	}
	parent = slash ? sys_map(PATH_CAP, 0) : NULL;
	if (!parent)
		return -ENAMETOOLONG;
	memcpy(parent, path, (size_t)(slash - path) + 1);
	*dir = sock_raised(sys_open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
	sys_unmap(parent, PATH_CAP);
	if (*dir < 0)
		return *dir;
	path_add(&c, "/proc/self/fd/");
	path_number(&c, (unsigned)*dir);
	path_add(&c, slash);
	return c.cut ? -ENAMETOOLONG : 0;
}

int
sock_at(int fd, const char *path, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un sa;
	int dir, ret = address(&sa, path, &dir);

	if (!ret)
		ret = call(fd, (struct sockaddr *)&sa, sizeof sa);
	if (dir >= 0)
		sys_close(dir);
	return ret;
}

enum found
sock_look(const char *path)
{
	struct stat st;
	int fd, ret = sys_lstat(path, &st);

	if (ret < 0)
		return ret == -ENOENT ? NOTHING : LIVE_SOCKET;
	if (!S_ISSOCK(st.st_mode))
		return NO_SOCKET;
	fd = sock_new();
	if (fd < 0)
		return LIVE_SOCKET;
	ret = sock_at(fd, path, sys_connect);
	sys_close(fd);
	return ret == -ECONNREFUSED ? DEAD_SOCKET : LIVE_SOCKET;
}
