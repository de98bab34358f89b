/*
 * actor.h - the program under test: plain libc, one command per scenario.
 *
 * What it says goes to the log by a raw system call that no preloaded library sees, so
 * that saying something flushes nothing. put() makes exactly one write(2).
 */
#ifndef INTEGRATION_ACTOR_H
#define INTEGRATION_ACTOR_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../raw_call.h"
#include "protocol.h"

/* What main does before it calls the command. */
enum opening {
	TURN,   /* make the stream and take a turn on it: fd is the stream */
	STREAM, /* make the stream */
	NOTHING /* the command does it, with actor_open() and actor_turn(); fd is -1 */
};

struct command {
	const char *name;
	int (*run)(int fd, char **args); /* args: NULL-ended; result: main's */
	enum opening opening;
};

/* Each ends with a NULL name. */
extern const struct command end_commands[], replace_commands[], copy_commands[],
	fork_commands[], descriptor_commands[], order_commands[], reuse_commands[],
	error_commands[], big_commands[], sleep_commands[], signal_commands[],
	limit_commands[], number_commands[], many_commands[], interrupt_commands[],
	share_commands[], rest_others_commands[], rest_calls_commands[],
	rest_threads_commands[], libc_commands[], pair_commands[], full_commands[],
	interleave_commands[], epoll_commands[], behind_commands[];

/* This program, for exec. */
extern char actor_path[];
/* argv[1] and argv[2], for an exec of the same actor. */
extern char *actor_kind, *actor_address;

int actor_open(void);
void actor_turn(int fd);

/* Reads one request of the peer, a line. */
void actor_request(int fd);
/* Runs a command by name, as main does. */
int actor_run(char **args);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "~WORD nanoseconds": when something happens. */
void note_time(const char *word);
/* Says the call's result: "NAME rc" or "NAME -1 ERRNO-NAME". */
long result(const char *name, long rc);
/* One write; says so if it is not whole. */
void put(int fd, const char *text);
/* Uses the processor without any call the library could act in. */
void spin_ms(int ms);
/* SCM_RIGHTS with one byte over a socket: sendmsg's result; and the descriptor, or -1. */
long actor_send_descriptor(int over, int fd);
int actor_receive_descriptor(int over);
/* Blocks in read of the control pipe until the harness wakes us. */
void wait_for_harness(void);
int64_t actor_now_ns(void);

#endif
