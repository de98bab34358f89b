/* weir run: starts a program with the library, or says why that cannot work. */
#include "cli/cli.h"
#include "cli/launch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
refuse(const char *what, const char *why)
{
	complain("run: %s %s", what, why);
}

/* ---- options ---- */

static bool
is_chunk(const char *value)
{
	long bytes;

	return launch_chunk(value, &bytes);
}

static bool
is_delay(const char *value)
{
	long us;

	return launch_delay(value, &us);
}

static bool
is_socket(const char *value)
{
	for (const char *s = strchr(value, '%'); s; s = strchr(s + 2, '%'))
		if (s[1] != 'e' && s[1] != 'p' && s[1] != '%')
			return false;
	return *value;
}

/* Options that set variables: of a value, or of one that is fixed. */
static const struct setting {
	const char *option;
	bool (*is_good)(const char *value);
	const char *wanted; /* what a good value is; or the fixed one */
	const char *variables[2];
} settings[] = { { "--chunk",
		   is_chunk,
		   "0, or a size from 1024 to 1M",
		   { "STREAM_REQUEST_CHUNK_SIZE", "STREAM_RESPONSE_CHUNK_SIZE" } },
		 { "--request-chunk",
		   is_chunk,
		   "0, or a size from 1024 to 1M",
		   { "STREAM_REQUEST_CHUNK_SIZE" } },
		 { "--response-chunk",
		   is_chunk,
		   "0, or a size from 1024 to 1M",
		   { "STREAM_RESPONSE_CHUNK_SIZE" } },
		 { "--no-pool", NULL, "0", { "STREAM_BUFFER_POOL_ENABLED" } },
		 { "--observe",
		   NULL,
		   "0",
		   { "STREAM_REQUEST_CHUNK_SIZE", "STREAM_RESPONSE_CHUNK_SIZE" } },
		 { "--delay",
		   is_delay,
		   "microseconds from 0 to 1000000",
		   { "STREAM_FLUSH_DELAY_US" } },
		 { "--socket",
		   is_socket,
		   "a path, or off; %e, %p and %% are its only words",
		   { "STREAM_METRICS_SOCKET" } },
		 { 0 } };

static void
set(const struct setting *s, const char *value)
{
	for (int i = 0; i < 2 && s->variables[i]; i++)
		if (setenv(s->variables[i], value, 1) < 0)
			have(NULL);
}

static const struct setting *
setting_of(const char *word, size_t len)
{
	for (const struct setting *s = settings; s->option; s++)
		if (strlen(s->option) == len && strncmp(s->option, word, len) == 0)
			return s;
	return NULL;
}

/* Takes one option. The number of words it had; 0 after a complaint. */
static int
take_option(char **argv)
{
	size_t len = strcspn(argv[0], "=");
	const struct setting *s = setting_of(argv[0], len);
	const char *value = argv[0][len] ? argv[0] + len + 1 : argv[1];
	int words = argv[0][len] ? 1 : 2;

	if (!s) {
		refuse(argv[0], "is no option; see weir help run");
		return 0;
	}
	if (!s->is_good) {
		if (argv[0][len]) {
			refuse(s->option, "takes no value");
			return 0;
		}
		set(s, s->wanted);
		return 1;
	}
	if (!value || !s->is_good(value)) {
		complain("run: %s %s: this must be %s", s->option,
			 value ? value : "(nothing)", s->wanted);
		return 0;
	}
	set(s, value);
	return words;
}

/* ---- the verb ---- */

static int
run_run(int argc, char **argv)
{
	struct program program;
	struct text preload = { 0 };
	int i = 1, ret;

	while (i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0) {
		int words;

		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			help(&verb_run);
			return END_FINE;
		}
		words = take_option(argv + i);
		if (!words)
			return END_REFUSED;
		i += words;
	}
	i += i < argc && strcmp(argv[i], "--") == 0;
	if (i >= argc) {
		usage(&verb_run);
		return END_REFUSED;
	}
	ret = launch_look("run", argv[i], &program);
	if (ret == END_FINE) {
		launch_preload(true, &preload);
		if (setenv("LD_PRELOAD", text_string(&preload), 1) < 0)
			have(NULL);
		ret = launch_exec("run", program.path, argv + i);
	}
	text_fini(&preload);
	program_fini(&program);
	return ret;
}

const struct verb verb_run = {
	"run",
	"[--chunk N] [--request-chunk N] [--response-chunk N] [--no-pool] [--observe]\n"
	"                [--delay US] [--socket PATH] [--] COMMAND [ARGUMENT...]",
	"start a server under the library",
	"Sets the library's variables, adds the library to LD_PRELOAD and executes the\n"
	"command in its own place, or refuses where that cannot work: a static, Go,\n"
	"set-user-ID or file-capability program, another libc, a library that is not\n"
	"there.\n"
	"\n"
	"  --chunk N            size of the chunks of both directions: 1024 to 1M (K and M\n"
	"                       may be used); 0 watches and gathers nothing\n"
	"  --request-chunk N    of what accepted sockets receive\n"
	"  --response-chunk N   of what accepted sockets send\n"
	"  --no-pool            allocate each chunk when it is needed\n"
	"  --observe            watch only: the same as --chunk 0\n"
	"  --delay US           the longest that a byte may be held: 0 to 1000000\n"
	"  --socket PATH        the metrics socket; %e is the program, %p its pid; or off\n"
	"\n"
	"Other variables of the library are taken from the environment: libweir(8). WEIR_LIB\n"
	"names another library than the installed one.\n"
	"\n"
	"Exit status: the command's; 125 where weir refuses, 126 where the command cannot\n"
	"be executed, 127 where there is none.\n",
	true,
	run_run
};
