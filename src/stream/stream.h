#ifndef WEIR_STREAM_STREAM_H
#define WEIR_STREAM_STREAM_H
/* stream/stream: what is known of every descriptor number, and the private record of each
 * stream.
 *
 * A number is unknown, plain (asked once: no stream), a file (a plain one that never makes a
 * reader sleep), an epoll instance (stream/interest), a socket (stream type, not connected, or listening) or a stream. Numbers
 * from NR_NUMBERS up, and all of them before stream_init() and after stream_off(), count
 * as plain: every call on them is native.
 *
 * A stream's record is two: the hot cache lines below, and a cold part. Both lie in leaves
 * of 1,024 that are mapped when first needed and never freed or moved, so a racing thread
 * can at worst meet the next user of a number, never freed memory. All of it lies on
 * pages that a fork wipes: a child of any kind starts with unknown numbers only.
 *
 *   writer:  0 <= head <= tail <= cap <= size of the chunk      held = tail - head
 *            held == 0  =>  head = tail = 0
 *            cap != 0   =>  chunk != NULL and owner is the thread whose call took it
 *   reader:  stream/borrow.h
 *
 * head and tail share one word with the lock: its upper 22 bits are the holder's thread
 * number, so what a section did is committed by one instruction that fails when a handler
 * of the same thread settled the section meanwhile (stream/section.h).
 *
 * So is a record under the feet of a call that a signal handler interrupted, when the handler
 * forks and returns in the child: the call goes on there with a record that is all zero (or, if
 * the handler used the number, one that was met anew). Nothing is held in it, no section of it
 * is the caller's, and so the call ends natively. Whatever such a call may still use it asks
 * for by stream_fd() and stream_record(), and looks at a chunk before what says that there is one.
 *
 * Threads: any. Signals: safe. Errors: what cannot be had makes the number plain, or the
 * stream bypassed, counted; never an error for the caller. */
#include "base/config.h"
#include "base/relaxed.h"
#include "base/self.h"
#include "count/region.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NR_SETTLED_BY = 2 };
enum { NR_NUMBERS = 1 << 20, LEAF_BITS = 10, NR_LEAVES = NR_NUMBERS >> LEAF_BITS };

enum kind { KIND_UNKNOWN, KIND_PLAIN, KIND_FILE, KIND_EPOLL, KIND_SOCKET, KIND_STREAM };
enum state { STATE_NONE, STATE_BARE, STATE_LISTENING, STATE_OPEN, STATE_CLOSING };

/* How the socket is set, as far as it rules what may be held. */
enum option {
	OPTION_TCP = 1,     /* TCP or MPTCP; else AF_UNIX */
	OPTION_NODELAY = 2, /* set by the application: stream_ask_push() */
	OPTION_CORK = 4,
	OPTION_NOTSENT = 8,      /* TCP_NOTSENT_LOWAT: never held */
	OPTION_RCVLOWAT = 16,    /* SO_RCVLOWAT above 1 */
	OPTION_NONBLOCK = 32,    /* O_NONBLOCK; */
	OPTION_BLOCK_KNOWN = 64, /* without this one it may be, too */
	OPTION_CLOEXEC = 128
};

/* What becomes of the second write of a turn (stream/evidence.h). */
enum second {
	SECOND_UNKNOWN, /* held, until a reply is released at a condition variable */
	SECOND_GOES,    /* native; */
	SECOND_HELD     /* held for good */
};

struct stream {
	/* The write half, and what both halves share. */
	uint64_t w;         /* L: lock holder << 42 | head << 21 | tail */
	char *chunk;        /* L: NULL none */
	struct record *rec; /* C while open: its counts; never NULL then; stream_record() */
	uint32_t cap;       /* L: how far tail may go; 0: nothing is held */
	uint32_t owner;     /* L: thread whose call took the chunk */
	uint32_t room;      /* L: bytes the kernel is known to take */
	uint32_t epoch; /* A: number of forks when nobody else was last known to have it */
	union {
		struct {
			uint32_t writer; /* A: thread that wrote last, */
			uint32_t turn;   /* A: and its turn then */
		};
		uint64_t writing; /* both: that thread's self.turning */
	};
	int32_t fd;      /* C; stream_fd() */
	uint8_t state;   /* L: enum state */
	uint8_t mode;    /* L: enum mode */
	uint8_t options; /* A: enum option */
	uint8_t tier;    /* L: of the chunk, or the one to begin with */
	union {
		struct {
			uint8_t err; /* L: errno that a flush took, to be given once */
			uint8_t stalled; /* A: a send backpressure episode runs: stall.c */
			uint8_t left; /* A: a piece left since bytes were last read */
			uint8_t nr_writes; /* A: in this turn, at most 2 */
			uint8_t chatty;    /* A: two-bit counter: turns that wrote more
					 * than once */
		};
		uint32_t unquiet; /* 0: none of these, chatty apart */
		uint64_t lively;  /* 0: none of these */
	};

	/* The read half: stream/borrow, stream/reader. */
	uint64_t r;           /* L: epoch << 42 | next << 21 | end; end == 0: nothing is
			      * borrowed */
	char *borrow;         /* L: the chunk borrowed into; NULL none */
	uint32_t reader;      /* L: thread that borrowed */
	uint32_t taken;       /* L: how much of the borrow the kernel has given up */
	int32_t nr_readers;   /* A: native reads under way */
	uint32_t reads;       /* A: how often bytes were read */
	uint32_t borrowed_at; /* L: `reads` when the borrow was made */
	uint32_t small;      /* C: shorter reads may be served from a borrow; 0: none */
	uint16_t skip;       /* A: eligible reads that are to stay native, */
	uint16_t backoff;    /* A: and how many there were the last time */
	uint8_t borrow_tier; /* L: of `borrow`, or the one to begin with */
	uint8_t more;        /* L: the last peek filled the chunk */
	uint8_t filled;      /* A: the last read was small and filled its buffer */
	uint8_t awaited;     /* A: bytes were read since it was last released */
	uint8_t proven; /* A: the kernel took the last write or flush whole: may hold */
	uint8_t unborrowable; /* A: reads are left alone for good */
	uint8_t role;         /* C: enum role */
	uint8_t second;       /* A: enum second */
	uint32_t open; /* L: stream_open() of its number while the state is STATE_OPEN, else 0 */
	uint32_t uncut[2]; /* C: by direction: fewer bytes are no more than a chunk of its record; 0: it has
			    * none */
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct stream, r) == 64 && sizeof(struct stream) == 128,
	       "one cache line a half");

/* Of TCP_INFO, in microseconds; and whether the network would have taken more than there was. */
struct stall_clocks {
	uint64_t busy_us, rwnd_us, sndbuf_us;
	bool starved;
};

struct stream_cold {
	int64_t first_ns; /* L: when the first held byte was taken, */
	uint64_t first_call; /* L: and how many calls its record had counted as held before that */
	int64_t borrow_ns; /* L: when the borrow was made */
	uint64_t cookie;   /* C: SO_COOKIE */
	/* Of stream/stall, whoever has made `stalled` SHARES: over all episodes of the stream. */
	struct record *stall_rec; /* whose they are counted in: the number may have
					 * another stream by now */
	int64_t stall_start_ns;   /* of the episode that runs, */
	uint64_t stall_busy_us;   /* and tcpi_busy_time then */
	int64_t stall_seen_ns;    /* when the clocks were read, */
	struct stall_clocks stall_seen; /* and what they said */
	uint64_t stall_ns;              /* ended episodes */
	uint64_t stall_grown_ns[CAUSE_UNKNOWN], stall_given_ns[NR_CAUSES];
	uint32_t spawn_epoch; /* C: number of spawns when it was made */
	int32_t listener;     /* C: descriptor it was accepted from; -1 none */
	uint64_t listener_cookie;
	int32_t other; /* A: 1 + the number of its other end, of stream/pair; 0: not ours */
	uint32_t look_reads; /* of the keeper: `reads` at its last look, */
	bool looked, waits;  /* of the keeper: there was one; bytes were waiting then */
	bool parted; /* A: a read has met the end, or an error, or the other end here was
		      * closed or shut: the peer may be gone */
	uint32_t lister; /* A: thread whose list has it; 0: perhaps none */
	/* A: stream/section.h: threads of which it waits for an interrupted section; 0 none. Outlives
	 * the stream. */
	uint32_t settled_by[NR_SETTLED_BY];
	char *grown;         /* L: a larger chunk that it is being given, */
	uint32_t grown_tier; /* L: and its tier */
	uint32_t spare_tier; /* L: the tier of */
	char *spare;         /* L: a chunk that the section has in hand meanwhile */
	uint32_t option_sets; /* A: process->nr_option_sets when NODELAY and CORK were asked */
	uint32_t ended; /* L: process->nr_ended when it was last seen that the peer is there */
};

/* The look-up. NULL: no stream (or not to be touched now): call natively. Everything but a
 * known, undisturbed number goes the slow way. */
extern uint32_t nr_numbers HIDDEN;          /* A: 0: off; NR_NUMBERS */
extern uint8_t number_kind[] HIDDEN;        /* A: enum kind */
extern struct stream *stream_leaf[] HIDDEN; /* A */

struct stream *stream_meet(int fd);

static inline struct stream *
stream_at(int fd)
{
	unsigned n = (unsigned)fd;

	if (n >= __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED))
		return NULL;
	switch (__atomic_load_n(&number_kind[n], __ATOMIC_RELAXED)) {
	case KIND_PLAIN:
	case KIND_FILE:
		return NULL;
	case KIND_STREAM:
		if (__builtin_expect(self.ready, 1))
			return &quick(
				stream_leaf[n >> LEAF_BITS])[n & ((1 << LEAF_BITS) - 1)];
	}
	return stream_meet(fd);
}

/* 0 of no number. Of a negative one that is 2^31 less it is the same: then the native call fails. */
static inline uint32_t
stream_open(int fd)
{
	return 2 * (uint32_t)fd + 1;
}

/* The same where this thread's last call on an even number, or on an odd one, named it too; else NULL.
 * Servers name the same stream several times in a row. */
static inline struct stream *
stream_last(int fd)
{
	struct stream *s = self.last[(unsigned)fd % 2];

	return s && quick(s->open) == stream_open(fd) ? s : NULL;
}

/* The same without a call: NULL where stream_at() would have to ask, or this thread has no tally of
 * its own. */
static inline struct stream *
stream_quick(int fd)
{
	unsigned n = (unsigned)fd;
	struct stream *leaf, *s = stream_last(fd);

	if (s)
		return s;
	/* Before stream_init() and after stream_off() none is open. */
	if (n >= NR_NUMBERS || !self.tally)
		return NULL;
	leaf = quick(stream_leaf[n >> LEAF_BITS]);
	s = &leaf[n & ((1 << LEAF_BITS) - 1)];
	if (!leaf || !quick(s->open))
		return NULL;
	self.last[n % 2] = s;
	return s;
}

/* The number is known to be no stream and no socket, so the native call will do. It may be asked anywhere: before
 * stream_init() none is known, and what a vfork child asks or stores of its parent's plain numbers is harmless. */
static inline bool
number_is_plain(int fd)
{
	unsigned n = (unsigned)fd;
	uint8_t kind;

	if (n >= NR_NUMBERS)
		return false;
	kind = __atomic_load_n(&number_kind[n], __ATOMIC_RELAXED);
	return kind == KIND_PLAIN || kind == KIND_FILE;
}

/* The same without asking: NULL unless the number is known to be a stream. */
struct stream *stream_known(int fd);
struct stream_cold *stream_cold(const struct stream *s);

/* Where the counts of a stream without a record go. */
extern struct record stream_uncounted HIDDEN;

/* Its counts; never NULL. */
static inline struct record *
stream_record(const struct stream *s)
{
	struct record *rec = __atomic_load_n(&s->rec, __ATOMIC_RELAXED);

	return __builtin_expect(rec != NULL, 1) ? rec : &stream_uncounted;
}

/* Its number; where a fork has wiped it, told by where it lies. */
int stream_find(const struct stream *s);

static inline int
stream_fd(const struct stream *s)
{
	int fd = __atomic_load_n(&s->fd, __ATOMIC_RELAXED);

	return __builtin_expect(fd != 0, 1) ? fd : stream_find(s);
}

/* Chunk size of the sent direction in bytes, and of the received one; 0: watched only. */
static inline uint32_t
stream_chunk(const struct stream *s)
{
	return s->role == ROLE_CONNECTED ? config->request_chunk
					 : config->response_chunk;
}

static inline uint32_t
stream_chunk_received(const struct stream *s)
{
	return s->role == ROLE_CONNECTED ? config->response_chunk
					 : config->request_chunk;
}

void stream_init(void); /* from the constructor; makes numbers known */
void stream_off(void);  /* from now on every call is native, for good */

/* A number was made: whatever was known of it is forgotten. */
void stream_forget(int fd); /* by a call that may have made anything */
/* The socket with this cookie turned out to be closed; not if the number is known as another by now. */
void stream_forget_socket(int fd, uint64_t cookie);
void stream_made_plain(int fd); /* open, pipe, eventfd, ... : certainly no stream */
void stream_made_socket(int fd, int domain, int type, int protocol); /* socket() */
void stream_made_pair(int fd, int type); /* socketpair(), each end */
void stream_listening(int fd);           /* listen() succeeded */
void
stream_passed(void); /* before a fork: a service manager's sockets that listen, if any */
void stream_accepted(int fd, int listener, int flags); /* accept4's flags; 0 */
void stream_connected(int fd); /* connect() succeeded or is in progress */

/* A plain number is about to be closed, or has been made anew as one. It stays plain when it is
 * closed: whoever makes a stream of it says so. */
static inline void
number_stays_plain(int fd)
{
	__atomic_store_n(&number_kind[fd], KIND_PLAIN, __ATOMIC_RELAXED);
}

/* close(fd): quiesce, then CLOSING (every call native); after the native close the number is
 * unknown, unless it was reused meanwhile. NULL-safe. */
void stream_close_begin(int fd);
void stream_close_end(int fd);

/* The process ends: whoever has made its records counts them as closed; what is still written is
 * counted, too. */
void stream_ended(void);

/* Its sending side is about to be shut: from here on a write fails at once, so nothing is held, as with
 * TCP_NOTSENT_LOWAT. What is held is yet to be flushed. */
void stream_shut(int fd);

/* The number has a duplicate from now on, or libc itself reads and writes it (dup, fdopen, aio_read). */
void stream_leave(int fd);

/* Leaves the stream alone for good, what is held having been flushed. */
void stream_bypass(int fd, enum bypass_reason why);
/* Only what is read of it: urgent data is about, or it peeks in a way of its own. Also of a socket
 * that listens, for those that are accepted from it. Counted once. */
void stream_bypass_reads(int fd, enum bypass_reason why);
void
stream_bypass_all(enum bypass_reason why); /* now and later: nothing is held any more */
uint32_t stream_bypass_of_new(void); /* 1 + why, if that was called; 0: it was not */

/* setsockopt, fcntl and ioctl succeeded: what they set is remembered from the call itself. No
 * number but a socket's has options; O_NONBLOCK of any tells whether a read of it sleeps. */
void stream_option(int fd, enum option option, bool on);

/* TCP_NODELAY and TCP_CORK, which servers set for each reply, are asked where they matter, if they
 * were set on any socket since the last time. */
static inline void
stream_push_options_set(void)
{
	if (self_is_alone())
		quick_count(&process->nr_option_sets);
	else
		__atomic_fetch_add(&process->nr_option_sets, 1, __ATOMIC_RELAXED);
}

void stream_ask_push(struct stream *s);
void stream_nonblock(int fd, bool on);
/* O_NONBLOCK may be about to be cleared: from here on nobody relies on it. */
void stream_nonblock_ends(int fd);
void stream_room_changed(int fd); /* SO_SNDBUF */
bool stream_may_block(int fd); /* the same of any number: a listener, a bare socket */

bool stream_ask_blocking(struct stream *s);

/* Known not to block; nobody is asked. */
static inline bool
stream_never_blocks(const struct stream *s)
{
	return quick(s->options) & OPTION_NONBLOCK;
}

static inline bool
stream_blocking(struct stream *s) /* asks once */
{
	uint8_t options = quick(s->options);

	if (options & OPTION_BLOCK_KNOWN)
		return !(options & OPTION_NONBLOCK);
	return stream_ask_blocking(s);
}

/* After a native read of a plain number might sleep (a pipe, a tty; not a file, not O_NONBLOCK). */
bool stream_plain_sleeps(int fd);
#endif
