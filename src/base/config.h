#ifndef WEIR_BASE_CONFIG_H
#define WEIR_BASE_CONFIG_H
/* base/config: the STREAM_ variables, read once before main with secure_getenv,
 * constant afterwards: what the program makes of its environment is for those that it starts.
 *
 * A value that makes no sense costs one line on stderr that names the variable, the
 * value and what is used instead; the default then applies. An empty value is an unset
 * one. Sizes are digits followed by k, K, m, M or nothing; switches are 1/0, on/off,
 * yes/no, true/false.
 *
 * Threads: any, once config_init() has returned. Signals: safe. No malloc, no stdio. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_PATH_MAX = 4096, CONFIG_CHUNK_LEAST = 1024, CONFIG_CHUNK_MOST = 1048576 };

struct config {
	uint32_t request_chunk;  /* bytes; 0 watches that direction only */
	uint32_t response_chunk; /* bytes; likewise */
	uint64_t pool_max;       /* bytes; 0 pools, holds and borrows nothing */
	uint32_t delay_us;       /* 0 holds nothing across calls */
	uint32_t socket_mode;    /* permission bits of the metrics socket */
	int log_level;           /* enum log_level */
	bool enabled;      /* STREAM_ENABLED, and the program is in STREAM_PROGRAMS */
	bool pool_enabled; /* false: each chunk is mapped and unmapped */
	bool test_eager;   /* STREAM_TEST=eager: reads ahead whether it pays or not */
	bool test_direct; /* STREAM_TEST=direct: stream/interest leaves all to the kernel */
	bool test_count; /* STREAM_TEST=count: /metrics.json says how often it paid */
	bool metrics;    /* false: STREAM_METRICS_SOCKET=off */
	uint32_t nr_passed; /* sockets from descriptor 3 on that a service manager opened
			     * for this process: sd_listen_fds(3) */
	char programs[512];            /* STREAM_PROGRAMS as given, for /metrics.json */
	char program[64];              /* program_invocation_short_name */
	char runtime[CONFIG_PATH_MAX]; /* XDG_RUNTIME_DIR where it is an absolute path; else "" */
	char socket[CONFIG_PATH_MAX]; /* for config_path(): %e is expanded, %p and %% are not;
					* "" is the default place */
	char at_exit[CONFIG_PATH_MAX]; /* likewise; "" is none */
};

/* Never NULL: before config_init() it is a disabled configuration. */
extern const struct config *config;

/* Reads the environment. Called once from the library's constructor. */
void config_init(void);

/* Writes `path` with %p replaced by `pid` and %% by %, made absolute against the directory the
 * program started in. Returns the length or -ENAMETOOLONG. Threads: any. Signals: safe. */
int config_path(char *out, size_t cap, const char *path, int pid);
#endif
