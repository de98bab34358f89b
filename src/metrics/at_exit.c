#include "metrics/at_exit.h"
#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "metrics/json.h"
#include "metrics/path.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Mapped: too much for a small thread's stack. */
struct work {
	char path[CONFIG_PATH_MAX];
	char fresh[CONFIG_PATH_MAX + 32];
	struct snapshot snap;
	struct out text;
};

static void
complain(const char *path, int err)
{
	log_line(LOG_WARN, "STREAM_METRICS_AT_EXIT: %s cannot be written (errno %d)",
		 path, -err);
	count_internal(INTERNAL_DIRECTORY);
}

/* 0, or why the file cannot be made. Cuts w->fresh down to the directory. */
static int
look_at_place(struct work *w)
{
	struct stat st;
	char *slash;
	int ret = config_path(w->path, sizeof w->path, config->at_exit,
			      region_first_pid());

	if (ret < 0)
		return ret;
	if (sys_lstat(w->path, &st) >= 0 && S_ISDIR(st.st_mode))
		return -EISDIR;
	memcpy(w->fresh, w->path, sizeof w->path);
	slash = strrchr(w->fresh, '/');
	if (!slash)
		return -EINVAL;
	slash[slash == w->fresh] = '\0';
	return (int)sys_call(SYS_faccessat, AT_FDCWD, (long)w->fresh, W_OK | X_OK, 0, 0,
			     0);
}

void
at_exit_check(void)
{
	struct work *w = config->at_exit[0] ? sys_map(sizeof *w, 0) : NULL;
	int ret;

	if (!w)
		return;
	ret = look_at_place(w);
	if (ret < 0)
		complain(w->path[0] ? w->path : config->at_exit, ret);
	sys_unmap(w, sizeof *w);
}

static int
write_all(int fd, const struct out *text)
{
	for (size_t at = 0; at < text->len;) {
		ssize_t nr = sys_write(fd, text->text + at, text->len - at);

		if (nr < 0 && nr != -EINTR)
			return (int)nr;
		at += nr > 0 ? (size_t)nr : 0;
	}
	return 0;
}

static int
write_file(struct work *w)
{
	struct path fresh = { w->fresh, 0, sizeof w->fresh, false };
	int fd, ret = config_path(w->path, sizeof w->path, config->at_exit,
				  region_first_pid());

	if (ret < 0)
		return ret;
	if (!snapshot_take(&w->snap, false))
		return -ENOMEM;
	json_metrics(&w->text, &w->snap);
	if (w->text.failed)
		return -ENOMEM;
	if (w->text.len > sys_file_limit())
		return -EFBIG;
	path_add(&fresh, w->path);
	path_add(&fresh, ".");
	path_number(&fresh, (unsigned)sys_getpid());
	path_add(&fresh, ".new");
	sys_unlink(w->fresh);
	fd = sys_open(w->fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0644);
	if (fd < 0)
		return fd;
	ret = write_all(fd, &w->text);
	sys_close(fd);
	if (ret >= 0)
		ret = sys_rename(w->fresh, w->path);
	if (ret < 0)
		sys_unlink(w->fresh);
	return ret;
}

void
at_exit_write(void)
{
	struct work *w =
		config->at_exit[0] && region_get() ? sys_map(sizeof *w, 0) : NULL;
	int ret;

	if (!w)
		return;
	ret = write_file(w);
	if (ret < 0)
		complain(w->path[0] ? w->path : config->at_exit, ret);
	out_free(&w->text);
	snapshot_free(&w->snap);
	sys_unmap(w, sizeof *w);
}
