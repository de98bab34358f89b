/*
 * reply: finds where one reply ends in a stream of bytes.
 *
 * Three protocols, chosen by the fields of `struct protocol`: HTTP/1.1 (Content-Length
 * or chunked, status 200 only), replies of a fixed length, and replies that end with a
 * given string. One thread, no allocation, no errno.
 */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stddef.h>

struct protocol {
	const char *until; /* the string a reply ends with, or NULL */
	size_t until_len;
	size_t fixed; /* the length of every reply, or 0; both unset: HTTP/1.1 */
};

enum reply_state {
	REPLY_HEAD,
	REPLY_BODY,
	REPLY_CHUNK_LINE,
	REPLY_CHUNK,
	REPLY_TRAILER
};

struct reply {
	enum reply_state state;
	size_t len;      /* bytes of this reply so far */
	size_t left;     /* of the body or chunk, its line end included */
	size_t matched;  /* bytes of `until` that the last bytes match */
	size_t line_len; /* of the header or chunk line being gathered */
	int chunked;
	int bad;
	char line[256]; /* a longer line is cut: only its beginning matters */
};

/*
 * Takes bytes until the reply is complete or `n` are used up; returns how many were
 * taken and sets *done. After a complete reply, reset *r to zero. r->bad says that the
 * answer was no HTTP/1.1 200.
 */
size_t reply_take(struct reply *r, const struct protocol *proto, const char *p,
		  size_t n, int *done);

#endif
