#ifndef WEIR_COUNT_REGION_H
#define WEIR_COUNT_REGION_H
/* count/region: the family's shared memory: counts and descriptions, nothing that decides
 * anything. One shared anonymous mapping, made at the first listening socket or stream and
 * inherited by every process forked later. No pointer, lock, index or length in it is read
 * back by the data path, save the count of a stream's holders: a hostile member can falsify what is
 * shown, never what is sent; and have a stream that two processes share held as if it were one's.
 *
 * Every counter only grows, for ever, through every reuse of its record; a record keeps a
 * copy of its values at open.
 *   a stream's own figure = now - at open        a total = sum over all records, open or not
 * So a close folds nothing, a SIGKILL loses nothing, and totals cannot fall. One process
 * writes a record: a forked child that uses an inherited stream opens a record of its own
 * with the same cookie, and the snapshot adds the two.
 *
 * Threads: any. Signals: safe (a handler that interrupted region_open gets NULL). All adds
 * are relaxed atomics unless the field says otherwise. Errors: NULL or false means no memory
 * or no record left; the caller passes through and counts. */
#include "base/relaxed.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* The closed sets of the metrics, in the order in which they are shown. */
enum dir { RECEIVED, SENT, NR_DIRS };
enum role { ROLE_ACCEPTED, ROLE_CONNECTED, NR_ROLES };
enum family { FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, NR_FAMILIES };
enum mode { MODE_MANAGED, MODE_OBSERVED, MODE_BYPASSED, NR_MODES };
enum flush_reason {
	FLUSH_FULL,
	FLUSH_TURN,
	FLUSH_SLEEP,
	FLUSH_DELAY,
	FLUSH_LARGE,
	FLUSH_ORDER,
	FLUSH_CLOSE,
	FLUSH_SHUTDOWN,
	FLUSH_SHARE,
	FLUSH_EXIT,
	NR_FLUSHES
};
enum bypass_reason {
	BYPASS_NO_RECORD,
	BYPASS_MEMORY,
	BYPASS_THREAD,
	BYPASS_SHARED,
	BYPASS_FOREIGN_READER,
	BYPASS_SECCOMP,
	BYPASS_IO_URING,
	BYPASS_ZEROCOPY,
	BYPASS_URGENT,
	BYPASS_DUP,
	BYPASS_OTHER,
	NR_BYPASSES
};
enum cause { CAUSE_PEER, CAUSE_NETWORK, CAUSE_LOCAL, CAUSE_UNKNOWN, NR_CAUSES };
enum discard_reason { DISCARD_RESET, DISCARD_EXIT, NR_DISCARDS };
enum internal_error {
	INTERNAL_MEMORY,
	INTERNAL_THREAD,
	INTERNAL_DESCRIPTOR,
	INTERNAL_DIRECTORY,
	INTERNAL_SOCKET,
	INTERNAL_REGION,
	INTERNAL_REFUSED,
	NR_INTERNALS
};
/* How a process left the family. ENDED_KILLED: nobody saw it leave, and it is gone. */
enum ending { ENDED_EXIT, ENDED_KILLED, ENDED_EXEC, NR_ENDINGS };
enum operation { OP_READ, OP_WRITE, NR_OPS };
enum error_kind {
	ERROR_ECONNRESET,
	ERROR_EPIPE,
	ERROR_ETIMEDOUT,
	ERROR_OTHER,
	NR_ERRORS
};

/* Upper bounds of the histograms; one bucket more than bounds, the last is +Inf. */
enum {
	NR_SIZE_BOUNDS = 8,
	NR_HOLD_BOUNDS = 8,
	NR_EPISODE_BOUNDS = 6,
	NR_AGE_BOUNDS = 6
};
extern const uint32_t size_bounds[NR_SIZE_BOUNDS]; /* bytes */
extern const uint64_t hold_bounds_ns[NR_HOLD_BOUNDS];
extern const uint64_t episode_bounds_ns[NR_EPISODE_BOUNDS];
extern const uint64_t age_bounds_ns[NR_AGE_BOUNDS]; /* weir_stream_duration_seconds */

/* One direction of a stream. A native call that moved bytes counts for both sides at once; so
 *   calls of the application := native_calls + held_calls + app_calls, bytes likewise
 *   calls to the kernel      := native_calls + kernel_calls, bytes likewise
 *   chunks                   := native_calls + chunks
 * At every snapshot, for either direction, with kernel_bytes and discarded read before the others:
 *   pending := app_bytes + held_bytes - kernel_bytes - discarded >= 0     (never stored) */
struct flow {
	uint64_t native_calls; /* A: calls made as they are, that moved bytes */
	uint64_t native_bytes; /* A: bytes of those */
	uint64_t held_calls; /* L: plain adds by who may change the chunk: calls it answered */
	uint64_t held_bytes; /* L: bytes of those */
	uint64_t kernel_calls; /* A: other system calls on the stream's data, refusals too */
	uint64_t kernel_bytes; /* A: bytes of those */
	uint64_t chunks; /* A: of those, ceil(bytes / chunk) a transfer; of a native call what
			  * is above one */
	uint64_t discarded;     /* A: accepted, but the peer was gone */
	uint64_t app_calls;     /* A: other calls of the application */
	uint64_t app_bytes;     /* A: bytes of those */
} __attribute__((aligned(64))); /* what is counted often is one cache line */

/* What seldom changes; kept apart so that its pages stay untouched while unused. */
struct flow_rare {
	uint64_t stall_events; /* A */
	uint64_t stall_ns; /* A: of all episodes, of the running one what was found out */
	uint64_t stall_since_ns; /* A: begin of the running episode, CLOCK_MONOTONIC; 0 none */
	uint64_t running_ns; /* A: what of stall_ns is the running episode's; STALL_MOVES */
	uint64_t cause_ns[NR_CAUSES]; /* A */
	uint64_t flushes[NR_FLUSHES]; /* A */
};

/* Of running_ns: for some instructions, in which stall_ns gets its share. 0: nothing of the running
 * episode is in there yet. */
enum { STALL_MOVES = 1 };

struct region_addr {
	uint32_t len; /* 0: none */
	union {
		struct sockaddr sa;
		char bytes[112]; /* sockaddr_un at most */
	};
};

enum record_state {
	RECORD_UNUSED,
	RECORD_OPENING,
	RECORD_OPEN,
	RECORD_CLOSED,
	RECORD_CLAIMED
};
enum { RECORD_STATE_BITS = 3 };

struct record {
	struct flow flow[NR_DIRS];
	struct flow flow_at_open[NR_DIRS];
	struct flow_rare rare[NR_DIRS];
	struct flow_rare rare_at_open[NR_DIRS];
	uint32_t state; /* A: enum record_state, and while CLAIMED or OPENING the pid above the
			 * low bits; stored with release after the rest */
	int32_t pid, fd;
	uint8_t role, family, mode, bypass;
	uint8_t blocked; /* A: enum cause of the running episode */
	uint8_t again; /* one more record of a stream that the family has counted already:
			* its opening and closing are no events of their own */
	uint32_t chunk[NR_DIRS];
	uint32_t holder; /* A: 1 + the entry of holders[] that closes it; 0: its process does */
	uint64_t cookie, inode;
	int64_t waiting_ns; /* A: since when a write is under way that may wait; 0 none */
	uint64_t opened_ns,
		closed_ns; /* CLOCK_MONOTONIC; region_open() sets the first */
	uint64_t closed_seq; /* number of the close in the family: what is readable, and how long */
	struct region_addr local, peer;
};

/* Size histograms, one tally a thread. A thread that has its own adds without a lock prefix
 * (tally_add); never reset, handed on to the next thread. */
enum size_histogram {
	SIZE_APP_READ,
	SIZE_KERNEL_READ,
	SIZE_APP_WRITE,
	SIZE_KERNEL_WRITE,
	NR_SIZES,
	/* Of a native call both are one; the snapshot tells them apart again. */
	SIZE_NATIVE_READ = NR_SIZES,
	SIZE_NATIVE_WRITE,
	NR_TALLIED
};
enum { NR_SIZE_BITS = 32 }; /* no call moves 2 GiB */
struct tally {
	uint64_t count[NR_TALLIED][NR_SIZE_BITS]; /* by size_bits() */
};

struct pool_count { /* A: one tier of one process; the first three are gauges */
	uint64_t buffers, in_use, peak, hits, misses, exhausted;
};

enum { MEMBER_BORN = 0x80000000u };

struct member {           /* one process of the family: count/member.h */
	uint32_t pid;     /* A: 0 free; MEMBER_BORN + its maker's thread: being made */
	uint32_t claims;  /* A: how often the slot was taken */
	uint32_t locks;   /* A: odd: its process holds the byte of the slot */
	uint32_t left;    /* A: 0, or 1 + enum ending: it has said that it goes */
	uint32_t unseen;  /* A: children of it that were forked unseen */
	uint64_t left_ns; /* A: when; one that leaves to exec may come back */
	uint64_t holds;   /* A: bits it has in holders[], at least */
	uint64_t pid_ns;  /* A: of which pid namespace `pid` is; 0 unknown */
	struct pool_count pool[9];
	uint64_t accept_queue, accept_limit; /* A: gauges: of its fullest TCP listener */
};

/* Who has a stream open that a fork has copied: count/holder.h. */
enum { NR_MEMBERS = 1024 };
struct holder {
	uint32_t used; /* A: 0 free */
	uint32_t nr; /* A: processes that have it open; now and then more, never less */
	uint32_t passed; /* A: and others, of which nobody knows */
	uint32_t record; /* of who counted the stream */
	uint64_t cookie;
	uint64_t slots[NR_MEMBERS / 64]; /* A: one bit a process */
};

struct totals { /* A: family-wide counts that belong to no single stream */
	uint64_t opened[NR_ROLES], closed[NR_ROLES];
	uint64_t bypassed[NR_BYPASSES];
	uint64_t errors[NR_OPS][NR_ERRORS];
	uint64_t deferred;
	uint64_t internal[NR_INTERNALS];
	uint64_t discarded[NR_DISCARDS];
	uint64_t hold[NR_HOLD_BOUNDS + 1], hold_ns;
	uint64_t episode[NR_EPISODE_BOUNDS + 1], episode_ns;
	uint64_t age[NR_AGE_BOUNDS + 1], age_ns;
	uint64_t borrows,
		poor_borrows; /* peeks, and those that served less than two reads */
	uint64_t watched_ns; /* when somebody last asked for metrics, CLOCK_MONOTONIC; 0 never */
	uint64_t shown_ns; /* when the last snapshot was taken: running episodes count that far */
	uint64_t stood_ns; /* when the last process that stands by, or was ended so, began */
	uint64_t vacant_ns; /* when somebody last saw that nobody stands by to serve */
	uint64_t ended[NR_ENDINGS];
	uint64_t nr_ended; /* all of these: where region.ended goes on */
	uint64_t live;     /* processes that joined and have not ended by themselves */
	uint64_t closes;   /* records closed, copies included: gives closed_seq */
};

enum { NR_TALLIES = 1024, NR_HOLDERS = 16384, KEPT_CLOSED = 1024, KEPT_ENDED = 256 };

struct region {
	uint32_t nr_records, nr_members,
		nr_tallies; /* C; readers of an untrusted region use the
						      * private copies, region_nr_x() */
	uint64_t started_ns, started_wall_ms; /* C */
	uint32_t records_used; /* A: high-water marks: above them all is 0, */
	uint32_t members_used, tallies_used, holders_used; /* A: and reading it would
							    * cost pages */
	struct totals totals;
	struct member members[NR_MEMBERS];
	uint64_t ended[KEPT_ENDED]; /* A: a ring: pid, and above it enum ending; 0 none */
	uint32_t tally_owner[NR_TALLIES]; /* A: pid, 0 free */
	struct tally tallies[NR_TALLIES]; /* 0 is shared by the threads that found none free */
	struct holder holders[NR_HOLDERS];
	struct record records[];
};

/* Maps the region on first call; later calls answer what the first did. false: no memory. */
bool region_init(void);

/* Where it is mapped, and in the low bits how large. */
enum { REGION_SHIFT_MASK = 31 };
extern uintptr_t region_word __attribute__((visibility("hidden")));

/* NULL before region_init(), with which the load pairs, and where there was no memory. */
static inline struct region *
region_get(void)
{
	uintptr_t word = __atomic_load_n(&region_word, __ATOMIC_ACQUIRE);

	return (struct region *)(word & ~(uintptr_t)REGION_SHIFT_MASK);
}

uint32_t region_nr_records(void); /* the private truth of how many records are mapped */
int region_first_pid(
	void); /* likewise, of the process that mapped it; its own without a region */

/* A record for a stream of this process; NULL: none left, or a handler that interrupted
 * region_open(). The caller fills in fd, family, mode, bypass, again, chunk, cookie, inode and
 * the addresses, then publishes; state, pid, role and opened_ns are set. A record keeps its role
 * through every reuse, so that totals by role are sums over records. Prefers fresh records
 * and those closed longest ago, so that the last KEPT_CLOSED closed ones stay readable while
 * others can be had. `tid`: the caller's thread. */
struct record *region_open(enum role role, uint32_t tid);
void region_publish(struct record *rec);
void region_close(struct record *rec, int64_t now_ns, uint32_t tid);

/* Its process is gone, or has closed it: an episode that runs has ended. */
void record_end_stalls(struct record *rec);
void record_no_stall(struct record *rec); /* it has ended, and is counted */

/* A tally of the caller's own, or (*shared = true) the common one: then adds are atomic. */
struct tally *region_tally_get(bool *shared);
void region_tally_put(struct tally *t);

static inline void
count_add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t
count_load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Of two that were read at different moments, or made smaller by a hostile member: never below 0. */
static inline uint64_t
count_less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* For a counter with one writing thread at a time. */
static inline void
count_add_own(uint64_t *counter, uint64_t n)
{
	plain_add(counter, n);
}

/* A tally's index: one less than the number of bits that count `len` bytes from 0 on, and the same
 * for all lengths up to the first bound. All bounds are powers of two. */
static inline unsigned
size_bits(uint64_t len)
{
	return (63 - (unsigned)__builtin_clzll((len - (len != 0)) | 63)) % NR_SIZE_BITS;
}

/* Which bucket of the histogram that is: the first bound not below. */
unsigned size_bucket(unsigned bits);
unsigned bucket_ns(const uint64_t *bounds, unsigned nr, uint64_t ns);

/* Send backpressure: what is known of the running episode (of no look so far: what a snapshot has
 * shown, at least), and that one of so long has ended. What was counted never falls. */
uint64_t count_running(struct record *rec, uint64_t ns); /* what is counted of it */
void count_episode(uint64_t ns);
enum error_kind error_kind(int err); /* positive errno */
void count_internal(enum internal_error what);
void count_error(enum operation op,
		 int err); /* positive errno; EAGAIN and EINTR are none */
#endif
