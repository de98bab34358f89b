#ifndef WEIR_BASE_SELF_H
#define WEIR_BASE_SELF_H
/* base/self: what the library knows of the calling thread (thread-local, at most 512 bytes)
 * and of the process (on pages that any kind of fork wipes).
 *
 * self.ready is the one flag every entry tests first: it is false while something unusual
 * is true of the thread (not set up yet, a vfork child may be running on its memory), and
 * self_enter() sorts it out.
 *
 * Threads: own record only. Signals: safe. */
#include "base/lock.h"
#include "base/relaxed.h"
#include "base/sys.h"
#include <stdbool.h>
#include <stdint.h>

/* Of our own variables in a header, which the compiler takes for somebody else's otherwise. */
#define HIDDEN __attribute__((visibility("hidden")))

struct stream;
struct thread;
struct tally;

/* A section that a handler of ours has settled and that has not resumed yet. One for each level
 * of handlers that turned to another stream. */
enum { NR_SETTLED = 3 };
struct settled {
	struct stream *stream; /* NULL: none */
	uintptr_t sp;          /* where on the stack it began */
};

struct self {
	/* What every append looks at, on one cache line. */
	struct stream *hot; /* O: whose hold this thread began last; NULL none. Then it has a
				* record and a tally, and nothing else is awaited */
	struct stream *hot_read; /* O: the same of the borrow it began last */
	struct thread *thread;   /* O: NULL until the first hold or borrow */
	struct tally *tally; /* O: NULL until the first count, where none was left, and
			      * while `ready` is false: the quick ways look here only */
	struct stream *inside; /* O: the stream whose lock this thread took last; whether it still
				* holds it, the stream's own word tells */
	uintptr_t inside_sp; /* O: where on the stack that section, or an append, began */
	int32_t hot_fd;      /* O: its descriptor */
	int32_t hot_read_fd; /* O: that of `hot_read` */
	union {
		struct {
			uint32_t tid; /* O: kernel thread number; 0 until the first slow entry */
			uint32_t turn; /* O: grows by one at each sleep */
		};
		uint64_t turning; /* both */
	};
	union {
		struct {
			int32_t awaited; /* O: 1 + the descriptor a peer waits on; 0 none */
			int32_t cond_fd; /* O: 1 + descriptor awaited at the last sleep on
					  * a condition variable; 0 none, */
		};
		uint64_t owing; /* 0: neither */
	};
	/* O: of the last quick calls on even and on odd numbers, while `tally` is there; NULL none.
	 * Two: a proxy's calls name its two streams in turn. */
	struct stream *last[2];
	uint32_t nr_settled; /* O: entries of settled[] in use, at least */
	union {
		struct {
			uint32_t nr_owed; /* O: entries in our list of held and borrowed streams; now
					   * and then more than it has, never 0 where it has some */
			uint32_t interests; /* O: 1: stream/interest has something to do before a
					     * sleep */
		};
		uint64_t owed; /* 0: neither */
	};
	bool ready; /* O: false: self_enter() must look first */
	bool streak; /* O: stream/interest: something was owed ever since it last asked */
	bool wrote; /* O: a stream was written to, or borrowed from, since the last sleep */
	uint8_t cond_streak; /* O: condition-variable sleeps in a row that a write followed */
	bool cond_kept; /* O: the awaited stream was kept back at the last of them */
	int16_t cond_skip; /* O: at so many more none is; below 0: since so many it may be, */
	int16_t cond_backoff; /* O: and how many they were at first */

	uint32_t generation; /* O: of the process when this record was filled */
	uint32_t cond_reads; /* O: and its count of reads then */
	uint32_t born; /* O: of a fork under way: what it tells its child (count/member.h), */
	uint32_t walk;     /* O: and its parent (stream/share) */
	int32_t vfork_pid; /* O: our pid while a vfork child may be running; 0 none */
	int64_t call_start_ns; /* O: when the native write under way began, 0 not timed */
	struct settled settled[NR_SETTLED]; /* O: stream/section.h */
	int64_t overdue_ns; /* O: until then nothing in our list is older than half the delay */
	uintptr_t listing_sp; /* O: where our list of held streams is being changed; 0 not */
	uint32_t flight_head;  /* O: the stream's head when the flight was armed */
	uint32_t flight_held;  /* O: and how much of the flight was held */
	struct stream *flying; /* O: whose bytes are in `flight`; NULL none */
	size_t *flight_own; /* O: in the flying frame: caller's own bytes that went with it */
	bool flight_counted;  /* O: the flight is in the counts */
	bool flight_settles;  /* O: it is no send, but takes bytes that were read, */
	uint64_t flight_r;    /* O: of the borrow with this word */
	bool pushing;         /* O: TCP_NODELAY is set for the flight only */
	struct flight flight; /* O: the one message this thread may have under way */
};
_Static_assert(sizeof(struct self) <= 512, "thread-local data of at most 512 bytes");

extern __thread struct self self HIDDEN __attribute__((tls_model("initial-exec")));

enum { NR_CONNECTED = 16 };

/* What is known of the process. Wiped in a child: generation 0 says "new process". */
struct process {
	uint32_t generation; /* never 0 once set up, differs from the parent's */
	uint32_t gate;       /* A: above 0: nothing new is held */
	uint32_t nr_stalled; /* A: streams with an episode of backpressure: stream/stall */
	uint32_t nr_threads; /* A: thread records in use so far: stream/turn */
	uint32_t nr_owing; /* A: of those, that list a stream as held or borrowed; now and
			      * then more, never less */
	uint32_t nr_option_sets; /* A: how often options that rule a push were set, of any */
	uint32_t nr_ended; /* A: how often the program has heard of a child's end */
	bool joined;       /* L: counted as a member of the family */
	bool ended;        /* A: exit has begun */
	/* Of stream/pair: */
	bool pairs;                      /* A: there are, or were, some */
	uint32_t nr_connected;           /* A: streams that were connected, */
	int32_t connected[NR_CONNECTED]; /* A: and the last of them */
	struct lock heirs;               /* of what a fork copies: stream/share */
	struct lock lock; /* of all that happens once a process: threads, keeper, joining */
};
enum { PROCESS_PAGE = 4096 };
extern union process_page { /* wiped in a child of any fork */
	struct process process;
	char page[PROCESS_PAGE];
} process_page HIDDEN;
static struct process *const process = &process_page.process;

/* Where libc says (not 0) that the program has one thread; else where a 0 stands. */
extern const char *self_alone HIDDEN;

/* True: this is the program's only thread, and what only its threads write nobody else writes now: to
 * add there one instruction without a lock will do, which a handler cannot cut in two. */
static inline bool
self_is_alone(void)
{
	return *self_alone;
}

/* The program makes threads that libc does not know of. */
void self_never_alone(void);

/* Once, from the constructor. False: a fork would not be noticed, or threads not be told apart, so
 * nothing may be begun. */
bool self_init(void);

/* True: the code of this thread that ran at stack address `sp` has been left by longjmp. False:
 * it may yet go on (we are a handler that interrupted it), or we cannot tell. Not to be asked
 * of a frame that is known to be the caller's own. Does a system call. */
bool self_left(uintptr_t sp);

/* The slow entry: fills the thread's record and notices that this is a child of a fork
 * (then calls self_new_process). False: a vfork child is running on our memory: touch
 * nothing, call natively. */
bool self_enter(void);

/* True if the caller may go on; the quick form of self_enter() for every entry. Does not
 * notice a forked child: that is for the entries that find an empty table or start a hold. */
static inline bool
self_ready(void)
{
	return __builtin_expect(self.ready, 1) || self_enter();
}

/* Set by stream/life: called in a process that finds itself new, and in the parent when its
 * vfork child is gone. */
extern void (*self_new_process)(void);
extern void (*self_vfork_over)(void);
#endif
