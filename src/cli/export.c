/* weir export: one endpoint for all families of the machine. */
#include "cli/cli.h"
#include "cli/exporter.h"
#include <stdio.h>

static int
run_export(int argc, char **argv)
{
	const char *address = NULL;
	const struct option_value own[] = { { "--listen", &address }, { 0 } };
	struct exporter *exporter;
	int nr = options_read(&verb_export, argc, argv, NULL, own), ret;

	if (nr < 0)
		return -1 - nr;
	if (nr)
		return usage(&verb_export);
	exporter = exporter_new(false);
	ret = serve(address ? address : "127.0.0.1:9464", exporter_answer, exporter);
	exporter_free(exporter);
	return ret;
}

const struct verb verb_export = {
	"export",
	"[--listen ADDR:PORT]",
	"one Prometheus endpoint for all families of the machine",
	"  --listen ADDR:PORT  where to serve; 127.0.0.1:9464 by default\n"
	"\n"
	"Exit status: 0 after SIGINT or SIGTERM, 1 where it cannot listen.\n",
	false,
	run_export
};
