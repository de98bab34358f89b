/*
 * net: the few socket helpers that the bench programs share.
 *
 * An address is "HOST:PORT" (numeric IPv4) or the path of a Unix socket. Failures end
 * the program with one line on stderr: these are test programs, each started by a
 * script that reads their exit code.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Prints `what` with errno's text and exits 1. */
void die(const char *what) __attribute__((noreturn));

/* A blocking stream socket connected to the address. */
int net_connect(const char *address);

/*
 * Listens and prints the address on stdout as one line. For "HOST:0" that is where the
 * kernel's choice of port is seen.
 */
int net_listen(const char *address);

/* Writes all, blocking. */
void net_send_all(int fd, const char *p, size_t len);

static inline uint64_t
now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
