/* Gives a target the inputs that are kept, without libFuzzer: each as it is, cut short, and with a
 * byte changed here and there.
 *
 * Usage: TARGET [FILE or DIRECTORY...]; without any, corpus/TARGET beside the sources. */
#include "target.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST = 1 << 16, CUTS = 16, CHANGES = 64, MOST_S = 10 };

static unsigned nr_files, nr_inputs;

/* In memory of just that size. */
static void
give(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	MUST(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	nr_inputs++;
}

static void
give_neighbours(uint8_t *data, size_t len)
{
	uint32_t random = (uint32_t)len + 1;

	for (size_t i = 0; i < CUTS; i++)
		give(data, len * i / CUTS);
	for (unsigned i = 0; len && i < CHANGES; i++) {
		uint8_t *at, was;

		random = random * 1664525 + 1013904223;
		at = &data[(random >> 8) % len];
		was = *at;
		*at = (uint8_t)(random >> 24);
		give(data, len);
		*at = was;
	}
}

static void
replay_file(const char *path)
{
	static uint8_t data[LONGEST];
	FILE *file = fopen(path, "rb");
	size_t len;

	if (!file) {
		perror(path);
		exit(1);
	}
	len = fread(data, 1, sizeof data, file);
	fclose(file);
	printf("# %s\n", path);
	fflush(stdout); /* what a crash leaves behind */
	alarm(MOST_S);
	give(data, len);
	give_neighbours(data, len);
	alarm(0);
	nr_files++;
}

static void
replay(const char *path)
{
	struct stat st;
	struct dirent *entry;
	char inside[4096];
	DIR *dir;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	dir = opendir(path);
	MUST(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
			replay_file(inside);
		}
	closedir(dir);
}

int
main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	const char *source = getenv("WEIR_SOURCE");
	char corpus[4096];

	snprintf(corpus, sizeof corpus, "%s/tests/fuzz/inputs/corpus/%s",
		 source ? source : ".", name);
	if (argc < 2)
		replay(corpus);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (!nr_files) {
		printf("not ok - %s: no input\n", name);
		return 1;
	}
	printf("ok - %s: %u files, %u inputs\n", name, nr_files, nr_inputs);
	return 0;
}
