/* weir export: one endpoint for all families of the machine. */
#include "cli/cli.h"
#include "cli/export/exporter.h"
#include "cli/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0 or -errno: `body` in the file that `path` names, which nobody sees in part: it is written
 * beside it and takes its place. */
static int
replace_file(const char *path, const char *body)
{
	struct text beside = { 0 };
	FILE *file = NULL;
	int fd, error = 0;

	text_add(&beside, "%s.XXXXXX", path);
	fd = mkostemp(beside.at, O_CLOEXEC);
	if (fd >= 0)
		file = fdopen(fd, "w");
	/* Whoever collects it is another user. */
	if (!file || fchmod(fd, 0644) < 0 || fputs(body, file) == EOF ||
	    fflush(file) == EOF || fsync(fd) < 0)
		error = -errno;
	if (file)
		fclose(file);
	if (!error && rename(beside.at, path) < 0)
		error = -errno;
	if (error && fd >= 0)
		unlink(beside.at);
	text_fini(&beside);
	return error;
}

static int
write_once(struct exporter *exporter, const char *path)
{
	struct stat st;
	char *body;
	int error;

	/* A device or a pipe would be replaced by a file. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		complain("%s: this is no file; --textfile replaces a file as a whole",
			 path);
		return END_FAILED;
	}
	body = exporter_text(exporter);
	error = replace_file(path, body);
	free(body);
	if (error)
		complain("%s: cannot be written: %s", path, strerror(-error));
	return error ? END_FAILED : END_FINE;
}

static int
run_export(int argc, char **argv)
{
	const char *address = NULL, *textfile = NULL;
	bool per_family = false;
	const struct option_value own[] = { { "--listen", &address, NULL },
					    { "--textfile", &textfile, NULL },
					    { "--per-family", NULL, &per_family },
					    { 0 } };
	int nr = options_read(&verb_export, argc, argv, NULL, own), ret;
	struct exporter *exporter;
	struct service service;

	if (nr < 0)
		return -1 - nr;
	if (nr || (address && textfile))
		return usage(&verb_export);
	exporter = exporter_new(per_family);
	service = (struct service){ exporter_answer, exporter_begin, exporter };
	if (textfile)
		ret = write_once(exporter, textfile);
	else
		ret = serve(address ? address : "127.0.0.1:9464", &service);
	exporter_free(exporter);
	return ret;
}

const struct verb verb_export = {
	"export",
	"[--listen ADDR:PORT | --textfile FILE] [--per-family]",
	"one Prometheus endpoint for all families of the machine",
	"  --listen ADDR:PORT  where to serve; 127.0.0.1:9464 by default. [::1]:9464 for an\n"
	"                      IPv6 address, 0.0.0.0:9464 or [::]:9464 for all of them\n"
	"  --textfile FILE     write the metrics to a file once, for node_exporter's textfile\n"
	"                      collector, which wants a name that ends in .prom\n"
	"  --per-family        each family's metrics, with the labels program, pid and socket\n"
	"\n"
	"Exit status: 0, also after SIGINT or SIGTERM; 1 where it cannot listen or write.\n",
	false,
	run_export
};
