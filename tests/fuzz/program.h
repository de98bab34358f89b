/*
 * program.h - what fuzz (the conductor) and its reader have in common: programs of steps,
 * the results of steps, and the memory in which both lie.
 *
 * A program runs on one new connection. Its steps are the reader's, which reads, waits and
 * writes, or the peer's, which fuzz makes in lock step: at such a step the reader tells fuzz
 * through a pipe, and goes on when the peer has done it and all of it has arrived. So the
 * result of each step is determined, and is the same natively and under the library.
 *
 * Owns: the layout of struct shared, which a reader inherits as descriptor READER_SHARED. fuzz
 * writes program and peer's fields, the reader its own, never both at once: the pipe decides
 * whose turn it is.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Descriptors of a reader. */
enum { READER_SHARED = 3, READER_UP = 4, READER_DOWN = 5, READER_FIRST = 6 };

enum transport { TCP, UNIX, NR_TRANSPORTS };

enum {
	MAX_STEPS = 1024,
	MAX_BYTES = 100000, /* that the peer sends in a program: less than any window */
	MAX_READ = 40000,
	MAX_PIECES = 8
};

enum op {
	/* The peer's: n bytes in `pieces` sends; FLAG_UNSEEN: the reader waits for it where
	 * the library does not see it sleep. */
	PEER_SENDS,
	PEER_SENDS_URGENT,
	PEER_READS,       /* takes all that the reader wrote */
	PEER_HALF_CLOSES, /* shutdown(SHUT_WR) */
	PEER_CLOSES,      /* drained; so it is an end, no reset */
	PEER_RESETS,      /* TCP: SO_LINGER 0; AF_UNIX: not drained */
	PEER_LAST = PEER_RESETS,
	/* Receiving: n, flags, pieces; via: 0 the stream, 1 its duplicate. */
	DO_READ,
	DO_READV,
	DO_PREADV2,
	DO_RECV,
	DO_RECVFROM,
	DO_RECVFROM_NAME,
	DO_RECVMSG,
	DO_RECVMSG_NAME,
	DO_RECVMSG_CONTROL,
	DO_RECVMMSG,
	DO_SYSCALL_READ,
	/* Waiting: n is the time in ms, flags the events. */
	DO_POLL,
	DO_PPOLL,
	DO_SELECT,
	DO_PSELECT,
	DO_EPOLL_WAIT,
	DO_EPOLL_SET, /* adds or modifies: flags are the events */
	DO_EPOLL_DELETE,
	/* Setting and asking: n is the value. */
	DO_RCVLOWAT,
	DO_RCVTIMEO,
	DO_PEEK_OFF,
	DO_OOBINLINE,
	DO_INQ, /* TCP_INQ: what is left comes as a control message */
	DO_NONBLOCK_FCNTL,
	DO_NONBLOCK_IOCTL,
	DO_FIONREAD,
	DO_ATMARK,
	DO_ERROR, /* SO_ERROR */
	DO_SHUTDOWN,
	/* The rest. */
	DO_WRITE,
	DO_COMPUTE, /* n us in which the library sees nothing: the keeper acts */
	DO_DUP,     /* n: how */
	DO_CLOSE_DUP,
	DO_CLOSE, /* the last step of every program */
	NR_OPS
};

enum { FLAG_UNSEEN = 1 };

struct step {
	uint8_t op;
	uint8_t via;
	uint8_t pieces;
	int32_t n;
	int32_t flags;
};

struct program {
	uint64_t seed;
	int32_t transport;
	int32_t reader_connects; /* otherwise it accepts */
	int32_t nr_steps;
	struct step steps[MAX_STEPS];
};

enum { SKIPPED = -1000000 }; /* a result: the call would have waited for ever */

struct result {
	int32_t value; /* what the call returned, or -errno; or SKIPPED */
	int32_t slept; /* a time-out that expired was waited for */
	uint32_t content; /* a sum of the whole buffer, also of what must not have changed */
	int32_t more[3]; /* by the step: msg_flags, events, a length */
};

struct shared {
	struct program program;
	/* fuzz's. */
	uint64_t peer_sent;  /* in this program */
	int32_t peer_urgent; /* urgent bytes of those */
	int32_t peer_ended;  /* half-closed, closed or reset */
	int32_t late;        /* something did not arrive in time: nothing is compared */
	struct result peer;
	char address[108]; /* AF_UNIX; both listen: fuzz where the reader connects */
	uint16_t port[2];  /* of fuzz's listener and the reader's, network order */
	char reader_address[108];
	/* The reader's. */
	int32_t flip; /* the self-check: this step's result is told wrong */
	int32_t at;   /* the step it is about to make */
	uint64_t written;
	struct result results[MAX_STEPS];
	struct result end; /* fuzz's: how the connection ended, and all that came */
};

/* What the peer sends: byte `at` of the stream of a program. */
static inline unsigned char
program_byte(uint64_t seed, uint64_t at)
{
	uint64_t x = (seed * 1000003 + at) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned char)(x >> 56);
}

void program_generate(struct program *p, uint64_t seed, enum transport transport);

/* One line of text each, in a buffer of `cap` bytes. */
void program_spell(char *out, size_t cap, const struct step *step);
void program_spell_result(char *out, size_t cap, const struct step *step,
			  const struct result *result);

#endif
