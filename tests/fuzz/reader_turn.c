/* Whose turn it is, and how a step is made: plainly, by a handler, by a cancelled thread. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../raw_call.h"
#include "reader.h"
#include "reader_worker.h"

enum { NO_ONE = 0xff };

/* What the handler of this thread is to make, and where it jumps to. */
static __thread struct reader *interrupted;
static __thread sigjmp_buf back;

/* ---- turns ---- */

static void
give_turn(struct shared *shared, uint32_t to)
{
	__atomic_store_n(&shared->turn, to, __ATOMIC_RELEASE);
	raw_call(SYS_futex, (long)&shared->turn, FUTEX_WAKE, INT_MAX, 0, 0);
}

void
worker_passes(struct shared *shared)
{
	const struct program *p = &shared->program;
	int who = shared->at < p->nr_steps ? p->steps[shared->at].who : 0;

	give_turn(shared, shared->workers[who].state == WORKING ? (uint32_t)who : 0);
}

void
worker_lets_end(struct shared *shared, int who, int how)
{
	shared->workers[who].order = how + 1;
	give_turn(shared, (uint32_t)who);
}

/* False: the program is over. */
static bool
await_turn(struct shared *shared, int me)
{
	for (;;) {
		uint32_t turn = __atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE);

		if (shared->over)
			return false;
		if (turn == (uint32_t)me)
			return true;
		if (shared->program.seen_turns)
			syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, NULL, NULL,
				0);
		else
			raw_call(SYS_futex, (long)&shared->turn, FUTEX_WAIT, (long)turn,
				 0, 0);
	}
}

void
workers_end(struct shared *shared)
{
	waiters_end(shared);
	shared->over = 1;
	give_turn(shared, NO_ONE);
	for (int i = 1; i < MAX_WORKERS; i++) {
		struct worker *w = &shared->workers[i];

		if (w->state != NOBODY && w->is_thread && w->home == 0)
			pthread_join((pthread_t)w->thread, NULL);
		w->state = NOBODY;
	}
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

/* ---- a step ---- */

static void
note_result(struct reader *r)
{
	struct shared *shared = r->shared;

	if (shared->flip == shared->at + 1)
		r->result.value++;
	shared->results[shared->at++] = r->result;
}

static void
finish_step(struct reader *r)
{
	note_result(r);
	worker_passes(r->shared);
}

static void
on_signal(int sig)
{
	(void)sig;
	reader_makes(interrupted);
	if (interrupted->step.how == BY_JUMP)
		siglongjmp(back, 1);
}

static void
make_in_handler(struct reader *r)
{
	const struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	interrupted = r;
	if (!sigsetjmp(back, 1))
		raw_call(SYS_tgkill, getpid(), raw_call(SYS_gettid, 0, 0, 0, 0, 0),
			 SIGUSR1, 0, 0);
}

/* AddressSanitizer does not survive a thread that is cancelled in its first call. */
#ifdef __SANITIZE_ADDRESS__
enum { CAN_CANCEL = 0 };
#else
enum { CAN_CANCEL = 1 };
#endif

static void
on_cancel(void *arg)
{
	struct reader *r = arg;

	r->shared->draining = 0;
	r->result = (struct result){ .value = CANCELED };
	r->shared->workers[r->me].state = GONE;
	finish_step(r);
}

static void
make_cancelled(struct reader *r)
{
	int old;

	pthread_cleanup_push(on_cancel, r);
	pthread_cancel(pthread_self());
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	reader_makes(r);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	pthread_cleanup_pop(0);
}

static void
make_interrupted(struct reader *r)
{
	struct reader inner;

	if (!reader_interrupts(r, &inner)) {
		reader_makes(r);
		return;
	}
	note_result(r);
	*r = inner;
}

static bool
is_call(int op)
{
	return (op > PEER_LAST && op <= DO_EPOLL_WAIT) || op == DO_WRITE ||
	       (op >= DO_SEND && op <= DO_SYSCALL_WRITE);
}

static void
make_step(struct shared *shared, int me)
{
	const struct step *step = &shared->program.steps[shared->at];
	int home = shared->workers[me].home;
	struct reader r = { .shared = shared, .me = me, .step = *step };
	int how = is_call(step->op) ? step->how : PLAINLY;

	r.flow = &shared->flows[step->stream];
	r.hands = &shared->hands[home];
	if (shared->at == shared->program.nr_steps - 1)
		waiters_end(shared);
	if (waiter_forbids(shared, step)) {
		r.result.value = SKIPPED;
		finish_step(&r);
		return;
	}
	if (how == IN_HANDLER || how == BY_JUMP)
		make_in_handler(&r);
	else if (how == CANCELLED && CAN_CANCEL && shared->workers[me].is_thread)
		make_cancelled(&r);
	else if (how == INTERRUPTED)
		make_interrupted(&r);
	else if (how == BLOCKED && waiter_waits(&r))
		return;
	else
		reader_makes(&r);
	finish_step(&r);
}

void
worker_runs(struct shared *shared, int me)
{
	while (await_turn(shared, me) && !shared->workers[me].order &&
	       shared->at < shared->program.nr_steps)
		make_step(shared, me);
}
