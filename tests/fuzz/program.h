/*
 * program.h - what fuzz (the conductor) and its reader have in common: programs of steps,
 * the results of steps, and the memory in which both lie.
 *
 * A program runs on one or two new connections. Its steps are the reader's, which reads, writes,
 * waits and multiplies, or the peer's, which fuzz makes in lock step: at such a step the reader
 * tells fuzz through a pipe, and goes on when the peer has done it and all of it has arrived.
 * The reader is up to four workers, threads and processes, that make one step at a time: whose
 * turn it is stands in `turn`. So the result of each step is determined, by the rules of
 * model.h, and is the same natively and under the library.
 *
 * Owns: the layout of struct shared, which a reader inherits as descriptor READER_SHARED. fuzz
 * writes program and peer's fields, the worker whose turn it is the others, never two at once.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors of a reader. */
enum { READER_SHARED = 3, READER_UP = 4, READER_DOWN = 5, READER_FIRST = 6 };

enum transport { TCP, UNIX, NR_TRANSPORTS };

enum {
	MAX_STEPS = 1024,
	MAX_BYTES = 100000, /* that the peer sends in a program: less than any window */
	MAX_READ = 40000,
	MAX_WRITE = 400000,
	MAX_PIECES = 8,
	MAX_STREAMS = 2,
	MAX_WORKERS = 4
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
	DO_CLOSE, /* n: how; the last step of every program closes everything */
	/* Sending: n, flags, pieces, via, as for receiving. */
	DO_SEND,
	DO_WRITE_PLAIN,
	DO_WRITEV,
	DO_PWRITEV2,
	DO_SENDTO,
	DO_SENDMSG,
	DO_SENDMMSG,
	DO_SENDFILE,
	DO_SPLICE,
	DO_DPRINTF,
	DO_SYSCALL_WRITE,
	DO_NODELAY, /* n: the value */
	DO_CORK,
	DO_SNDBUF,
	DO_LINGER, /* SO_LINGER: no time; n: whether */
	/* Many: workers are 0 (the first), 1, 2, 3. */
	DO_THREAD, /* worker n begins */
	DO_FORK,   /* worker n begins, in a process of its own; flags: how */
	DO_END,    /* worker n, of this process or its child, ends; flags: how */
	DO_EXEC,   /* the process is replaced and goes on; n: how */
	DO_SPAWN,  /* a helper writes n bytes; flags: how it is made */
	DO_PASS, /* by SCM_RIGHTS, to itself; n 1: the old number becomes the duplicate */
	DO_DIE, /* worker 0's last; n: how */
	NR_OPS
};

enum { FLAG_UNSEEN = 1 };

/* How a receiving, sending or waiting step is made. */
enum how {
	PLAINLY,
	IN_HANDLER, /* of a signal */
	BY_JUMP,    /* in a handler that leaves by siglongjmp */
	CANCELLED,  /* by a thread that has just been cancelled */
	INTERRUPTED, /* after `after` instructions, by a handler that makes the next step */
	BLOCKED,     /* by a thread that waits in it, while others go on */
	NR_HOWS
};

enum close_how {
	CLOSE_PLAIN,
	CLOSE_RANGE,
	CLOSE_SYSCALL,
	CLOSE_STDIO,
	CLOSE_DUP2, /* of something else onto it */
	CLOSE_DUP3,
	NR_CLOSES
};
/* A step's `after` from here on counts system calls: before and behind the first, the second, ... */
enum { AT_CALLS = 60000 };

enum fork_how { FORK, FORK_UNDERSCORE, FORK_BY_SYSCALL, NR_FORKS };
enum end_how { END_RETURN, END_EXIT, END_UNDERSCORE, END_KILLED, NR_ENDS };
enum exec_how { EXEC_PLAIN, EXEC_FAILS, EXEC_NO_LIBRARY, NR_EXECS };
enum spawn_how {
	SPAWN_POSIX,
	SPAWN_SYSTEM,
	SPAWN_POPEN,
	SPAWN_VFORK,
	SPAWN_FORK,
	SPAWN_NO_LIBRARY,
	NR_SPAWNS
};
enum die_how {
	DIE_EXIT,
	DIE_UNDERSCORE,
	DIE_QUICK,
	DIE_ABORT,
	DIE_RAISE,
	DIE_KILL,
	DIE_EXEC,
	DIE_UNSEEN, /* by a signal that the library does not see: what was held may be gone */
	NR_DIES
};

struct step {
	uint8_t op;
	uint8_t via;
	uint8_t pieces;
	int32_t n;
	int32_t flags;
	uint8_t stream;
	uint8_t who;
	uint8_t how;
	uint16_t after;
};

struct program {
	uint64_t seed;
	int32_t transport;
	int32_t reader_connects; /* otherwise it accepts */
	int32_t nr_streams;
	int32_t writes;     /* and so much that room may be asked for */
	int32_t floods;     /* more may be written than the kernel takes at once */
	int32_t seen_turns; /* workers wait for their turn where the library sees it */
	int32_t nr_steps;
	struct step steps[MAX_STEPS];
};

enum {
	SKIPPED = -1000000, /* a result: the call would have waited for ever, */
	FREE = -1000001, /* it was a short write or none where there may be no room, */
	CANCELED = -1000002 /* or the thread was cancelled in it */
};

/* Of what the peer found at its end of a stream, more[2]. A reset discards what the kernel has not
 * sent yet, which is little unless it was told to wait. */
enum { NO_RESET, RESET, RESET_WAITING };

struct result {
	int32_t value; /* what the call returned, or -errno; or one of the above */
	int32_t slept; /* a time-out that expired was waited for */
	uint32_t content; /* a sum of the whole buffer, also of what must not have changed */
	int32_t more[3]; /* by the step: msg_flags, events, a length */
};

/* Bytes from one place to before another. */
struct span {
	uint64_t from, to;
};

enum { MAX_BLURS = 64 };

/* One connection, as all that have it open know it. */
struct flow {
	/* fuzz's. */
	uint64_t peer_sent;  /* in this program */
	int32_t peer_urgent; /* urgent bytes of those */
	int32_t peer_ended;  /* half-closed, closed or reset */
	int32_t peer_failed; /* a send of it did: it knows of a reset */
	/* The reader's. */
	uint64_t written;
	uint64_t received; /* bytes that are not there any more */
	uint64_t load; /* what was asked to be written since the peer last took all */
	int64_t rcvtimeo_ns; /* 0: none */
	int32_t lowat, peek_off, nonblock;
	int32_t shut;        /* SHUT_RD was done */
	int32_t small;       /* the send buffer is */
	int32_t slow;        /* the kernel was told to wait for more */
	int32_t nr_timeouts; /* that were waited for: not more than a few */
	int32_t may_lose;    /* its last holder was killed */
	int32_t inq;         /* TCP_INQ was set */
	int32_t waiter;      /* 1 + the worker that waits inside a call */
	int32_t guessed;     /* what a write took was no promise */
	int32_t nr_blurs;    /* where it is not known which of two writes came first, */
	struct span blurs[MAX_BLURS]; /* all bytes are alike */
};

/* What a process has open. */
struct hands {
	int32_t fd[MAX_STREAMS], dup[MAX_STREAMS], epoll; /* -1: none */
};

enum worker_state {
	NOBODY,
	WORKING,
	WAITING /* inside a call */,
	GONE /* not yet joined */
};

struct worker {
	int32_t state;
	int32_t home; /* index of its process's hands */
	int32_t is_thread;
	int32_t maker; /* home of the process that made it */
	int32_t order; /* how to end, + 1 */
	pid_t pid;
	uint64_t thread;
};

struct shared {
	struct program program;
	/* fuzz's. */
	int32_t late; /* something did not arrive in time: nothing is compared */
	struct result peer;
	char address[108]; /* AF_UNIX; both listen: fuzz where the reader connects */
	uint16_t port[2];  /* of fuzz's listener and the reader's, network order */
	char reader_address[108];
	int32_t flip; /* the self-check: this step's result is told wrong */
	/* The reader's. */
	int32_t at; /* the step it is about to make */
	uint32_t turn, over;
	int32_t listeners[NR_TRANSPORTS];
	int32_t draining; /* the peer is to take what comes: a worker writes more than fits */
	int32_t dying; /* the reader ends by a step */
	/* Steps, in all programs. */
	uint64_t nr_interrupted, nr_blocked;
	struct flow flows[MAX_STREAMS];
	struct hands hands[MAX_WORKERS];
	struct worker workers[MAX_WORKERS];
	struct result results[MAX_STEPS];
	struct result end[MAX_STREAMS]; /* fuzz's: how it ended, and what had come */
};

/* What the peer sends: byte `at` of a stream of a program. */
static inline unsigned char
program_byte(uint64_t seed, uint64_t at)
{
	uint64_t x = (seed * 1000003 + at) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned char)(x >> 56);
}

static inline uint64_t
program_forth(const struct program *p, int stream)
{
	return p->seed + (uint64_t)stream * 7919;
}

/* What the reader writes: never 0, so that it can be printed. */
static inline unsigned char
program_back(const struct shared *shared, int stream, uint64_t at)
{
	const struct flow *flow = &shared->flows[stream];

	for (int i = 0; i < flow->nr_blurs; i++)
		if (at >= flow->blurs[i].from && at < flow->blurs[i].to)
			return 'x';
	return program_byte(~program_forth(&shared->program, stream), at) | 1;
}

void program_generate(struct program *p, uint64_t seed, enum transport transport);

/* One line of text each, in a buffer of `cap` bytes. */
void program_spell(char *out, size_t cap, const struct step *step);
void program_spell_result(char *out, size_t cap, const struct step *step,
			  const struct result *result);

#endif
