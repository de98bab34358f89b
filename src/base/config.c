#include "base/config.h"

#include "base/log.h"
#include "base/sys.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static struct config the_config = { .log_level = LOG_WARN, .programs = "*" };
const struct config *config = &the_config;

/* Where the program started, if a place is relative; asked once, because it may move. "" is unknown. */
static char start_directory[CONFIG_PATH_MAX];

enum { MOST_PASSED = 256 };

/* Each parser returns false for a bad value and has then changed nothing. */
enum kind {
	SIZE,
	WIDE_SIZE,
	MICROSECONDS,
	MODE,
	SWITCH,
	LEVEL,
	GLOBS,
	PLACE,
	PLACE_OR_OFF,
	TESTS
};

static const struct variable {
	const char *name;
	const char *otherwise; /* the default, as one would write it */
	enum kind kind;
	void *field;
	uint64_t least, most; /* sizes and numbers; a SIZE may also be 0 */
	const char *expected; /* "...=abc is no <expected>: using <default>" */
} variables[] = {
	/* First, so that STREAM_LOG=off silences the complaints about the others. */
	{ "STREAM_LOG", "warn", LEVEL, &the_config.log_level, 0, 0,
	  "level (off, error, warn, info, debug)" },
	{ "STREAM_REQUEST_CHUNK_SIZE", "32768", SIZE, &the_config.request_chunk,
	  CONFIG_CHUNK_LEAST, CONFIG_CHUNK_MOST, "size from 1024 to 1048576 or 0" },
	{ "STREAM_RESPONSE_CHUNK_SIZE", "32768", SIZE, &the_config.response_chunk,
	  CONFIG_CHUNK_LEAST, CONFIG_CHUNK_MOST, "size from 1024 to 1048576 or 0" },
	{ "STREAM_BUFFER_POOL_ENABLED", "1", SWITCH, &the_config.pool_enabled, 0, 0,
	  "switch" },
	{ "STREAM_BUFFER_POOL_MAX_BYTES", "256M", WIDE_SIZE, &the_config.pool_max, 0,
	  INT64_MAX, "size" },
	{ "STREAM_FLUSH_DELAY_US", "500", MICROSECONDS, &the_config.delay_us, 0,
	  1000000, "number from 0 to 1000000" },
	{ "STREAM_METRICS_SOCKET", "", PLACE_OR_OFF, the_config.socket, 0, 0,
	  "path (with %e, %p, %%) or off" },
	{ "STREAM_METRICS_SOCKET_MODE", "0600", MODE, &the_config.socket_mode, 0, 0777,
	  "octal number from 0 to 0777" },
	{ "STREAM_METRICS_AT_EXIT", "", PLACE, the_config.at_exit, 0, 0,
	  "path (with %e, %p, %%)" },
	{ "STREAM_PROGRAMS", "*", GLOBS, the_config.programs, 0, 0,
	  "list of at most 511 bytes" },
	{ "STREAM_ENABLED", "1", SWITCH, &the_config.enabled, 0, 0, "switch" },
	{ "STREAM_TEST", "", TESTS, NULL, 0, 0, "list of eager, count, direct" },
};

/* ---- values ---- */

/* Digits of `base` and nothing else up to `end`; at least one. */
static bool
parse_digits(const char *s, const char *end, unsigned base, uint64_t *out)
{
	uint64_t n = 0;

	if (s == end)
		return false;
	for (; s < end; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (*s < '0' || digit >= base || n > (UINT64_MAX - digit) / base)
			return false;
		n = n * base + digit;
	}
	*out = n;
	return true;
}

static bool
parse_size(const char *s, uint64_t *out)
{
	const char *end = s + strlen(s);
	unsigned shift = 0;
	uint64_t n;

	if (end > s && (end[-1] == 'k' || end[-1] == 'K'))
		shift = 10;
	if (end > s && (end[-1] == 'm' || end[-1] == 'M'))
		shift = 20;
	if (!parse_digits(s, shift != 0 ? end - 1 : end, 10, &n) ||
	    n > UINT64_MAX >> shift)
		return false;
	*out = n << shift;
	return true;
}

static bool
parse_number(const struct variable *v, const char *value, uint64_t *out)
{
	uint64_t n;
	bool good;

	if (v->kind == MICROSECONDS || v->kind == MODE)
		good = parse_digits(value, value + strlen(value),
				    v->kind == MODE ? 8 : 10, &n);
	else
		good = parse_size(value, &n);
	if (!good || n > v->most)
		return false;
	if (n < v->least && !(v->kind == SIZE && n == 0))
		return false;
	*out = n;
	return true;
}

static bool
parse_switch(const char *value, bool *out)
{
	static const char *const words[] = { "0",  "1",   "off",   "on",
					     "no", "yes", "false", "true" };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(value, words[i]) == 0) {
			*out = i % 2 != 0;
			return true;
		}
	return false;
}

static bool
parse_level(const char *value, int *out)
{
	static const char *const words[] = { "off", "error", "warn", "info", "debug" };

	for (int i = 0; i < (int)(sizeof(words) / sizeof(words[0])); i++)
		if (strcmp(value, words[i]) == 0) {
			*out = i;
			return true;
		}
	return false;
}

static bool
append(char *out, size_t cap, size_t *len, char c)
{
	if (*len + 1 >= cap)
		return false;
	out[(*len)++] = c;
	out[*len] = '\0';
	return true;
}

/* %e is known now and never changes. %p stays for config_path(), which is told the pid of the
 * family's first process, and so does %%, which must not turn into a word before that. */
static bool
parse_place(const char *value, char *out)
{
	char place[CONFIG_PATH_MAX];
	size_t len = 0;
	bool good = true;

	place[0] = '\0';
	for (; *value != '\0' && good; value++) {
		if (*value != '%') {
			good = append(place, sizeof(place), &len, *value);
			continue;
		}
		value++;
		if (*value == 'e') {
			for (const char *c = the_config.program; *c != '\0'; c++) {
				good = good && append(place, sizeof(place), &len, *c);
				if (*c == '%')
					good = good &&
					       append(place, sizeof(place), &len, '%');
			}
		} else if (*value == 'p' || *value == '%') {
			good = append(place, sizeof(place), &len, '%') &&
			       append(place, sizeof(place), &len, *value);
		} else {
			return false;
		}
	}
	if (good)
		memcpy(out, place, len + 1);
	return good;
}

/* Words that only the library's own tests know. */
static bool
parse_tests(const char *value)
{
	bool eager = false, count = false, direct = false;

	while (*value != '\0') {
		size_t len = strcspn(value, ",");

		if (len == 5 && strncmp(value, "eager", len) == 0)
			eager = true;
		else if (len == 5 && strncmp(value, "count", len) == 0)
			count = true;
		else if (len == 6 && strncmp(value, "direct", len) == 0)
			direct = true;
		else
			return false;
		value += len + (value[len] == ',');
	}
	the_config.test_eager = eager;
	the_config.test_count = count;
	the_config.test_direct = direct;
	return true;
}

static bool
parse(const struct variable *v, const char *value)
{
	uint64_t n;

	switch (v->kind) {
	case SIZE:
	case MICROSECONDS:
	case MODE:
		if (!parse_number(v, value, &n))
			return false;
		*(uint32_t *)v->field = (uint32_t)n;
		return true;
	case WIDE_SIZE:
		return parse_number(v, value, v->field);
	case SWITCH:
		return parse_switch(value, v->field);
	case LEVEL:
		return parse_level(value, v->field);
	case GLOBS:
		n = strlen(value) + 1;
		if (n > sizeof(the_config.programs))
			return false;
		memcpy(v->field, value, n);
		return true;
	case PLACE_OR_OFF:
		if (strcmp(value, "off") == 0) {
			the_config.metrics = false;
			return parse_place("", v->field);
		}
		return parse_place(value, v->field);
	case PLACE:
		return parse_place(value, v->field);
	case TESTS:
		return parse_tests(value);
	}
	return false;
}

/* ---- the program ---- */

static bool
program_is_listed(void)
{
	const char *globs = the_config.programs;
	char glob[sizeof(the_config.programs)];

	for (;;) {
		size_t len = strcspn(globs, ",");

		memcpy(glob, globs, len);
		glob[len] = '\0';
		if (fnmatch(glob, the_config.program, 0) == 0)
			return true;
		if (globs[len] == '\0')
			return false;
		globs += len + 1;
	}
}

static const char *
instead_of_nothing(enum kind kind)
{
	return kind == PLACE_OR_OFF ? "the default place" : "none";
}

static void
read_variable(const struct variable *v)
{
	const char *value = secure_getenv(v->name);

	if (value != NULL && *value != '\0' && parse(v, value))
		return;
	parse(v, v->otherwise);
	if (value != NULL && *value != '\0')
		log_line(LOG_WARN, "%s=%s is no %s: using %s", v->name, value,
			 v->expected,
			 *v->otherwise != '\0' ? v->otherwise
					       : instead_of_nothing(v->kind));
}

/* The protocol of sd_listen_fds(3): LISTEN_FDS is meant for the process LISTEN_PID. */
static uint32_t
passed_sockets(void)
{
	const char *nr = secure_getenv("LISTEN_FDS"), *pid;
	uint64_t fds, whose;

	if (nr == NULL || (pid = secure_getenv("LISTEN_PID")) == NULL ||
	    !parse_digits(nr, nr + strlen(nr), 10, &fds) ||
	    !parse_digits(pid, pid + strlen(pid), 10, &whose) ||
	    whose != (uint64_t)sys_getpid())
		return 0;
	return fds > MOST_PASSED ? MOST_PASSED : (uint32_t)fds;
}

static void
read_runtime_dir(void)
{
	const char *dir = secure_getenv("XDG_RUNTIME_DIR");
	size_t len = dir != NULL && *dir == '/' ? strlen(dir) : 0;

	if (len >= sizeof(the_config.runtime))
		len = 0;
	if (len > 0)
		memcpy(the_config.runtime, dir, len);
	the_config.runtime[len] = '\0';
}

static bool
is_relative(const char *place)
{
	return place[0] != '\0' && place[0] != '/';
}

static void
ask_directory(void)
{
	/* The kernel's answer is absolute, or begins with "(unreachable)". */
	if (sys_call(SYS_getcwd, (long)start_directory, sizeof(start_directory), 0, 0,
		     0, 0) < 0 ||
	    start_directory[0] != '/')
		start_directory[0] = '\0';
}

void
config_init(void)
{
	const char *name = program_invocation_short_name;

	/* Each variable fills its field, so nothing is cleared: most of this nobody ever looks at. */
	strncpy(the_config.program, name != NULL ? name : "",
		sizeof(the_config.program) - 1);
	the_config.metrics = true;
	the_config.nr_passed = passed_sockets();
	read_runtime_dir();
	for (unsigned i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		read_variable(&variables[i]);
		if (variables[i].kind == LEVEL)
			log_set_level((enum log_level)the_config.log_level);
	}
	the_config.enabled = the_config.enabled && program_is_listed();
	start_directory[0] = '\0';
	if (is_relative(the_config.socket) || is_relative(the_config.at_exit))
		ask_directory();
}

int
config_path(char *out, size_t cap, const char *path, int pid)
{
	char digits[12];
	unsigned nr = 0;
	size_t len = 0;
	bool fits = cap > 0;

	if (fits)
		out[0] = '\0';
	do {
		digits[nr++] = (char)('0' + pid % 10);
		pid /= 10;
	} while (pid > 0);
	if (path[0] != '/' && start_directory[0] != '\0') {
		for (const char *c = start_directory; *c != '\0'; c++)
			fits = fits && append(out, cap, &len, *c);
		fits = fits && append(out, cap, &len, '/');
	}
	for (; *path != '\0'; path++) {
		if (path[0] == '%' && path[1] == 'p') {
			for (unsigned i = nr; i-- > 0;)
				fits = fits && append(out, cap, &len, digits[i]);
			path++;
			continue;
		}
		if (path[0] == '%' && path[1] == '%')
			path++;
		fits = fits && append(out, cap, &len, *path);
	}
	return fits ? (int)len : -ENAMETOOLONG;
}
