/* A call that a handler interrupts at its so-manieth instruction, to make the program's next step: of
 * the library's sections and hot paths every one is met, which a timer would seldom do. The
 * processor traps after each instruction. Elsewhere than on x86-64 the next step comes after. */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "model.h"
#include "reader.h"
#include "reader_worker.h"

enum { TRAP_FLAG = 0x100 };

static __thread struct {
	volatile int left; /* instructions until the handler acts; 0: it does not */
	int calls; /* or system calls, if not 0, and whether behind the last of them */
	bool behind;
	struct reader *inner;
} trap;

/* ---- the trap ---- */

#if defined(__x86_64__)
static void
set_flag(unsigned long set, unsigned long clear)
{
	/* Beyond what a function that calls none may keep below its stack pointer. */
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
			 "pushfq\n\t"
			 "orq %0, (%%rsp)\n\t"
			 "andq %1, (%%rsp)\n\t"
			 "popfq\n\t"
			 "lea 128(%%rsp), %%rsp"
			 :
			 : "r"(set), "r"(~clear)
			 : "memory", "cc");
}

/* What the processor does next; -1: no system call. */
static long
next_call(const ucontext_t *uc)
{
	const unsigned char *at = (const unsigned char *)uc->uc_mcontext.gregs[REG_RIP];

	return at[0] == 0x0f && at[1] == 0x05 ? (long)uc->uc_mcontext.gregs[REG_RAX]
					      : -1;
}

/* A thread that begins here would begin with the flag set, and die of it; before that its maker
 * blocks all signals, and would die of the next trap. */
static bool
makes_thread(long nr)
{
	return nr == SYS_clone || nr == SYS_clone3 || nr == SYS_rt_sigprocmask;
}

static bool
is_time(long nr)
{
	if (!trap.calls)
		return !--trap.left;
	if (nr < 0 || --trap.calls)
		return false;
	if (!trap.behind)
		return true;
	trap.left = 1; /* the next instruction */
	return false;
}

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	long nr = next_call(uc);
	int err = errno;

	(void)sig;
	(void)info;
	if (!trap.left)
		return;
	if (makes_thread(nr)) {
		trap.left = 0;
		uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		return;
	}
	if (!is_time(nr))
		return;
	trap.left = 0;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	trap.inner->shared->nr_interrupted++;
	reader_makes(trap.inner);
	trap.inner = NULL;
	errno = err;
}

void
reader_call_begins(void)
{
	if (trap.left && !trap.inner->begun) {
		trap.inner->begun = 1;
		set_flag(TRAP_FLAG, 0);
	}
}

void
reader_call_ends(void)
{
	if (trap.left)
		set_flag(0, TRAP_FLAG);
	trap.left = 0;
}
#else
void
reader_call_begins(void)
{
}

void
reader_call_ends(void)
{
}
#endif

/* ---- which steps ---- */

static bool
reads(const struct step *s)
{
	return s->op > PEER_LAST && s->op <= DO_SYSCALL_READ;
}

static bool
writes(const struct step *s)
{
	return s->op == DO_WRITE || (s->op >= DO_SEND && s->op <= DO_SYSCALL_WRITE);
}

static bool
waits(const struct step *s)
{
	return s->op >= DO_POLL && s->op <= DO_EPOLL_WAIT;
}

/* Whichever of two reads comes first, both return what they asked for. */
static bool
order_is_free(const struct flow *flow, const struct step *outer,
	      const struct step *inner)
{
	const int known = MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
	int64_t there = model_unread(flow), wanted = inner->n;

	wanted += reads(outer) ? outer->n : 1;
	return !((outer->flags | inner->flags) & ~known && reads(outer)) &&
	       !(inner->flags & ~known) && !flow->peer_urgent && flow->lowat <= 1 &&
	       !flow->peek_off && inner->n > 0 && outer->op != DO_RECVMMSG &&
	       inner->op != DO_RECVMMSG && !flow->inq && there >= wanted;
}

static bool
taken_whole(const struct flow *flow, const struct step *outer, const struct step *inner)
{
	struct flow f = *flow;

	return (!writes(outer) || model_room(&f, outer) == TAKEN_WHOLE) &&
	       (!writes(inner) || model_room(&f, inner) == TAKEN_WHOLE);
}

/* The inner step may come before the outer, in it, or after: all is the same. */
static bool
commute(const struct reader *r, const struct step *inner)
{
	const struct step *outer = &r->step;
	bool one_stream = outer->stream == inner->stream;

	if (waiter_forbids(r->shared, inner) || inner->who != outer->who ||
	    inner->how != PLAINLY || inner->op == DO_DPRINTF ||
	    outer->op == DO_DPRINTF || (waits(outer) && outer->n))
		return false;
	if (inner->op == DO_FORK)
		return !r->shared->workers[r->me].is_thread;
	if (inner->op == DO_DUP)
		return !outer->via;
	if (!reads(inner) && !writes(inner))
		return false;
	if (one_stream && reads(inner) && (reads(outer) || waits(outer)))
		return order_is_free(r->flow, outer, inner);
	if (one_stream)
		return taken_whole(r->flow, outer, inner);
	return taken_whole(r->flow, outer, outer) &&
	       taken_whole(&r->shared->flows[inner->stream], inner, inner);
}

/* Which of two writes comes first is not known, so their bytes are alike. */
static bool
blur(struct flow *flow, const struct step *outer, const struct step *inner)
{
	if (!writes(outer) || !writes(inner) || outer->stream != inner->stream)
		return true;
	if (flow->nr_blurs == MAX_BLURS)
		return false;
	flow->blurs[flow->nr_blurs++] =
		(struct span){ flow->written, flow->written + (uint64_t)outer->n +
						      (uint64_t)inner->n };
	return true;
}

bool
reader_interrupts(struct reader *r, struct reader *inner)
{
	struct shared *shared = r->shared;
	const struct step *next = &shared->program.steps[shared->at + 1];

	if (shared->at + 1 >= shared->program.nr_steps - 1 || !commute(r, next) ||
	    !blur(r->flow, &r->step, next))
		return false;
	*inner = *r;
	inner->step = *next;
	inner->flow = &shared->flows[next->stream];
	inner->nested = 1;
#if defined(__x86_64__)
	{
		const struct sigaction action = { .sa_sigaction = on_trap,
						  .sa_flags = SA_SIGINFO };

		sigaction(SIGTRAP, &action, NULL);
		trap.inner = inner;
		trap.left = r->step.after < AT_CALLS ? r->step.after : 1;
		trap.calls = r->step.after < AT_CALLS
				     ? 0
				     : 1 + (r->step.after - AT_CALLS) / 2;
		trap.behind = (r->step.after - AT_CALLS) % 2;
	}
#endif
	reader_makes(r);
	trap.left = 0;
	if (trap.inner)
		reader_makes(inner);
	trap.inner = NULL;
	if (reads(&r->step) && reads(next) && r->step.stream == next->stream)
		r->result.content = inner->result.content = 0;
	return true;
}
