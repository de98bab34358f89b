#include "metrics/names.h"

const char *const way_names[] = { "request", "response" };
const char *const role_names[] = { "accepted", "connected" };
const char *const family_names[] = { "inet", "inet6", "unix" };
const char *const mode_names[] = { "managed", "observed", "bypassed" };
const char *const flush_names[] = { "full",  "turn",  "sleep",    "delay", "large",
				    "order", "close", "shutdown", "share", "exit" };
const char *const bypass_names[] = { "no_record", "memory",         "thread",
				     "shared",    "foreign_reader", "seccomp",
				     "io_uring",  "zerocopy",       "urgent",
				     "dup",       "other" };
const char *const ending_names[NR_ENDINGS] = { "exit", "killed", "exec" };
const char *const cause_names[] = { "peer", "network", "local", "unknown" };
const char *const discard_names[] = { "reset", "exit" };
const char *const internal_names[] = { "memory", "thread", "descriptor", "directory",
				       "socket", "region", "refused" };
const char *const operation_names[] = { "read", "write" };
const char *const error_names[] = { "ECONNRESET", "EPIPE", "ETIMEDOUT", "other" };
const char *const tier_names[] = { "4096",   "8192",   "16384",  "32768",  "65536",
				   "131072", "262144", "524288", "1048576" };
