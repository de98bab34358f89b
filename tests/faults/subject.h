/*
 * subject.h - the programs whose library meets faults: plain libc servers and a client.
 *
 *   subject PROGRAM CONNECTIONS [ARG...]
 *
 * A server says "port N" on stdout, 0 for an AF_UNIX one at the path ARG, serves so many connections, and ends. Whatever a call answers that is
 * not what a healthy system answers is said there as "E call ERRNO" and ends it with status 3.
 *
 * A request is REQUEST_HEAD bytes "%07d %07d\n", its number and how long a reply it asks for, and
 * number % 50 bytes of body; one that asks for 0 is the last of its connection. A reply is
 * "%07d:" and so many bytes. Byte i of either body is pattern(number, i). Requests are read
 * and replies written in small pieces; what is beyond them, in one.
 */
#ifndef FAULTS_SUBJECT_H
#define FAULTS_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

enum {
	REQUEST_HEAD = 16,
	REPLY_HEAD = 8,
	PIECE = 61,
	NR_PIECES = 6,
	NR_PATTERN = 4093
};

struct request {
	int number, len;
};

char pattern(int number, size_t i);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says which call failed with what errno, and ends the program. */
void fail(const char *call) __attribute__((noreturn));
void *room(size_t n);

/* All n bytes of a blocking stream, at most `piece` a call; false: its end, before the first. */
bool get(int fd, void *buf, size_t n, size_t piece);
void put(int fd, const void *buf, size_t n);

/* The whole request; false: its stream is at its end. Wrong bytes are a failure. */
bool get_request(int fd, struct request *request);
void put_request(int fd, const struct request *request);
void put_reply(int fd, const struct request *request);
/* Wrong bytes are a failure. */
void get_reply(int fd, const struct request *request);

/* A listening TCP socket, its port said. */
int listen_tcp(int flags);
int accept_one(int listener);
/* Replies to all requests of a connection, and closes it. */
void serve_one(int fd);

int run_epoll(int nr);
int run_threads(int nr);
int run_client(int nr, int port);

#endif
