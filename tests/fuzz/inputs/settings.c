/* The environment: pieces that end in a zero byte, the first byte of each says which variable (or the
 * program's name), the rest is its value. */
#include "base/config.h"
#include "fake_sys.h"
#include "target.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { NR_NAMES = 12, VALUE_MAX = 6000 };
static const char *const names[NR_NAMES] = {
	"STREAM_LOG",
	"STREAM_REQUEST_CHUNK_SIZE",
	"STREAM_RESPONSE_CHUNK_SIZE",
	"STREAM_BUFFER_POOL_ENABLED",
	"STREAM_BUFFER_POOL_MAX_BYTES",
	"STREAM_FLUSH_DELAY_US",
	"STREAM_METRICS_SOCKET",
	"STREAM_METRICS_SOCKET_MODE",
	"STREAM_METRICS_AT_EXIT",
	"STREAM_PROGRAMS",
	"STREAM_ENABLED",
	"STREAM_TEST",
};
enum { REQUEST = 1, RESPONSE, POOL_MAX = 4, DELAY };

static char values[NR_NAMES][VALUE_MAX], program[VALUE_MAX];

static void
set(unsigned which, const uint8_t *value, size_t len)
{
	char *to = which < NR_NAMES ? values[which] : program;

	if (len >= VALUE_MAX)
		len = VALUE_MAX - 1;
	memcpy(to, value, len);
	to[len] = '\0';
}

static void
set_all(const uint8_t *data, size_t len)
{
	memset(values, 0, sizeof values);
	strcpy(program, "server");
	while (len) {
		const uint8_t *end = memchr(data, 0, len);
		size_t piece = end ? (size_t)(end - data) : len;

		if (piece)
			set(data[0] % (NR_NAMES + 1), data + 1, piece - 1);
		piece += end != NULL;
		data += piece;
		len -= piece;
	}
	for (unsigned i = 0; i < NR_NAMES; i++)
		if (values[i][0])
			setenv(names[i], values[i], 1);
		else
			unsetenv(names[i]);
	program_invocation_short_name = program;
}

/* A size as the manual says it, in other words than the library's. */
static uint64_t
size_meant(const char *s, uint64_t least, uint64_t most, uint64_t otherwise)
{
	size_t nr = strspn(s, "0123456789");
	unsigned shift = tolower((unsigned char)s[nr]) == 'k'   ? 10
			 : tolower((unsigned char)s[nr]) == 'm' ? 20
								: 0;
	uint64_t n;

	if (!nr || s[nr + (shift != 0)] != '\0')
		return otherwise;
	errno = 0;
	n = strtoull(s, NULL, 10);
	if (errno == ERANGE || n > UINT64_MAX >> shift)
		return otherwise;
	n <<= shift;
	return n > most || (n && n < least) ? otherwise : n;
}

static void
check_values(void)
{
	const char *delay = values[DELAY];
	size_t digits = strspn(delay, "0123456789");

	MUST(config->request_chunk ==
	     size_meant(values[REQUEST], CONFIG_CHUNK_LEAST, CONFIG_CHUNK_MOST, 32768));
	MUST(config->response_chunk == size_meant(values[RESPONSE], CONFIG_CHUNK_LEAST,
						  CONFIG_CHUNK_MOST, 32768));
	MUST(config->pool_max == size_meant(values[POOL_MAX], 0, INT64_MAX, 256u << 20));
	MUST(config->delay_us ==
	     (delay[digits] ? 500 : size_meant(delay, 0, 1000000, 500)));
	MUST(config->socket_mode <= 0777);
	MUST(config->log_level >= 0 && config->log_level <= 4);
	MUST(memchr(config->programs, 0, sizeof config->programs));
	MUST(memchr(config->program, 0, sizeof config->program));
}

static void
check_place(const char *place, int pid)
{
	static char out[2 * CONFIG_PATH_MAX], small[2 * CONFIG_PATH_MAX];
	int len = config_path(out, sizeof out, place, pid), r;

	if (len < 0)
		return;
	MUST((size_t)len == strlen(out));
	/* In less room the same, or nothing. */
	for (size_t cap = 0; cap < (size_t)len + 3; cap += 1 + cap / 4) {
		memset(small, 'x', sizeof small);
		r = config_path(small, cap, place, pid);
		MUST(r == ((size_t)len < cap ? len : -ENAMETOOLONG));
		MUST(small[cap] == 'x');
	}
}

/* One line for each bad value, and nothing in it that drives a terminal. */
static void
check_lines(void)
{
	bool begins = true;

	for (const char *p = fake.err; *p; p++) {
		MUST(!begins || !strncmp(p, "weir: STREAM_", 13) || strlen(p) < 13);
		MUST(*p == '\n' || ((unsigned char)*p >= 0x20 && *p != 0x7f));
		begins = *p == '\n';
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fake_reset();
	set_all(data, len);
	config_init();
	check_values();
	MUST(strlen(config->socket) < sizeof config->socket);
	MUST(strlen(config->at_exit) < sizeof config->at_exit);
	check_place(config->socket, 1);
	check_place(config->at_exit, INT32_MAX);
	check_lines();
	return 0;
}
