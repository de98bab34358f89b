#ifndef WEIR_TESTS_FAKE_SYS_H
#define WEIR_TESTS_FAKE_SYS_H
/* fake_sys: the whole of base/sys.h, scripted. A test links it instead of src/base/sys.c when
 * a rare answer of the kernel is the point: a short count, EAGAIN, the k-th call failing.
 *
 * Sockets are records of this file and no descriptors. The clock stands still unless a test
 * moves it or the library sleeps, which moves it to the end of the sleep at once. Memory is
 * really mapped; threads and wakes are only recorded. One thread at a time. */
#include "base/sys.h"
#include <stdbool.h>

enum { FAKE_FDS = 1100, FAKE_SCRIPT = 32, FAKE_OPTIONS = 24 };

/* The calls that are counted and can be made to fail. */
enum fake_call {
	FAKE_FLY,
	FAKE_SENDMSG,
	FAKE_RECVMSG,
	FAKE_POLL,
	FAKE_GETSOCKOPT,
	FAKE_SETSOCKOPT,
	FAKE_FCNTL,
	FAKE_MAP,
	FAKE_WIPE,
	FAKE_WRITE,
	FAKE_FUTEX_WAIT,
	FAKE_ALARM_SET,
	FAKE_ALARM_RING,
	FAKE_THREAD,
	FAKE_TGKILL,
	FAKE_GETPID,
	NR_FAKE_CALLS
};

struct fake_option {
	int level, name, value;
	bool set;
};

struct fake_fd {
	bool open;
	int domain; /* AF_INET, AF_INET6 or AF_UNIX; 0: no socket, sends say ENOTSOCK */
	uint64_t cookie; /* fake_socket() gives each its own; 0: asking fails */
	int flags;       /* what F_GETFL answers */
	char *sent;      /* what sys_fly and sys_sendmsg took, in order */
	size_t nr_sent;
	size_t room;   /* bytes it takes before EAGAIN; SIZE_MAX at first */
	char *arrived; /* what sys_recvmsg gives, see fake_arrive() */
	size_t nr_arrived;
	struct epoll_event interest; /* of the one epoll instance there is, */
	bool interests;              /* if it waits for this one */
	bool eof;                    /* then 0 and not EAGAIN behind what has arrived */
	short revents;               /* what sys_poll reports of it, where asked for */
	uint32_t meminfo[9]; /* the answer to SO_MEMINFO; a send charges what it took to
	                       * wmem_queued (SK_MEMINFO_WMEM_QUEUED is [5]) if `charge` */
	bool charge;
	struct fake_option option[FAKE_OPTIONS];
	const void *tcp_info; /* the answer to TCP_INFO; NULL: all zero */
	size_t tcp_info_len;
	long script[FAKE_SCRIPT]; /* see fake_script() */
	unsigned nr_script, at_script;
	/* What was done to it, in order: "nodelay=1 send=43 nodelay=0 ". A send that failed is
	 * "send=-11 ". Cut when full. */
	char trace[512];
};

extern struct fake {
	struct fake_fd fd[FAKE_FDS];
	int64_t now_ns, wall_ms;
	int pid, tid, uid;
	unsigned calls[NR_FAKE_CALLS]; /* since fake_reset() */
	void (*thread)(void); /* the last thread started; NULL: none, or joined */
	char thread_name[16];
	uint32_t *waited; /* the last word waited for, and until when */
	int64_t deadline_ns;
	int64_t alarm_ns;       /* what the alarm was last set to */
	void (*on_sleep)(void); /* called in each futex wait and poll that would sleep */
	/* Called in each sys_fly, before it takes anything (false), and when what it took has been
	 * stored but it has not returned: where a signal handler may come. */
	void (*on_fly)(bool taken);
	void (*on_swallow)(bool taken); /* the same of sys_swallow */
	void (*on_epoll)(bool done);    /* the same of sys_epoll_ctl */
	void (*on_tcp_info)(
		void); /* after each such answer: where another thread may come */
	void (*on_getfl)(void);       /* the same after F_GETFL, */
	void (*on_getpeername)(void); /* and getpeername */
	char err[2048];               /* what was written to descriptor 2 */
	bool err_is_socket;
} fake;

void fake_reset(void); /* forgets everything; call it in each test's setup */

/* Makes `fd` a fake stream socket: takes everything, has 1 MiB of send buffer free. */
struct fake_fd *fake_socket(int fd, int domain);

/* The next sends on the socket, one after the other: a count is the most the call takes, a
 * negative errno its failure. When used up, sends succeed again (as `room` allows). */
void fake_script(struct fake_fd *f, long result);

/* The k-th of the calls of that kind from now on (1 is the next) fails with errno `err`. */
void fake_fail(enum fake_call call, unsigned k, int err);

void fake_arrive(struct fake_fd *f, const void *bytes, size_t len);
void fake_option(struct fake_fd *f, int level, int name, int value);
#endif
