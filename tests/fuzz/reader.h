/*
 * reader.h - the program under test: it makes the steps of a program on one connection and
 * writes down what each call returned. Plain libc; it never knows whether a library is
 * preloaded.
 *
 * Owns: the connection and all that belongs to it, struct reader. One thread.
 * A call that would wait for ever, by the reader's own count of what is there, is not made,
 * or made with MSG_DONTWAIT: since that count is the same in both runs, so is the
 * decision.
 */
#ifndef FUZZ_READER_H
#define FUZZ_READER_H

#include "program.h"

struct reader {
	struct shared *shared;
	int fd, dup, epoll; /* -1: none */
	int nonblock, nodelay;
	int64_t rcvtimeo_ns; /* 0: none */
	int lowat, peek_off;
	int shut;          /* SHUT_RD was done */
	int nr_timeouts;   /* that were waited for: not more than a few */
	uint64_t received; /* bytes that are not there any more */
	struct step step;
	struct result result;
};

/* What a step is made on: the stream or its duplicate. */
int reader_fd(const struct reader *r);

int64_t reader_now_ns(void);

/* A pattern, behind which a buffer of at least MAX_READ bytes can be seen to be unchanged. */
void reader_buffer_fill(unsigned char *buffer, size_t n);
uint32_t reader_buffer_sum(const unsigned char *buffer, size_t n);

void reader_receives(struct reader *r);
void reader_waits(struct reader *r);
void reader_sets(struct reader *r);

/* The result of a call that returned `value` and set errno. */
void reader_returned(struct reader *r, long value);

#endif
