#include "stream/life.h"
#include "base/self.h"
#include "stream/flush.h"
#include "stream/interest.h"
#include "stream/keeper.h"
#include "stream/pair.h"
#include "stream/share.h"
#include "stream/stall.h"
#include "stream/turn.h"

static void (*on_family)(void), (*on_child)(void);

static void
join(uint32_t born)
{
	region_join(born);
	relaxed_set(process->joined, true);
}

static void
leave(enum ending how)
{
	if (relaxed(process->joined))
		region_leave(how);
	relaxed_set(process->joined, false);
}

/* A child of any kind of fork, at its first entry. */
static void
new_process(void)
{
	uint32_t born = self.born;

	self.born = 0;
	if (!region_get() || !nr_numbers)
		return;
	join(born);
	if (!born)
		share_unseen();
	if (on_child)
		on_child();
}

void
life_init(void (*family)(void), void (*child)(void))
{
	turn_init();
	on_family = family;
	on_child = child;
	self_new_process = new_process;
	self_vfork_over = life_spawn_end;
}

bool
life_join(void)
{
	bool first;

	if (relaxed(process->joined))
		return true;
	if (!region_init())
		return false;
	if (!lock_take(&process->lock, self.tid))
		return true; /* a handler: the code it interrupted is joining */
	first = !relaxed(process->joined);
	if (first)
		join(0);
	lock_give(&process->lock);
	if (first && on_family)
		on_family();
	return true;
}

void
life_jump(void)
{
	if (!self.ready)
		return;
	section_settle();
	pool_jumped(self.tid);
	if (__atomic_load_n(&process->lock.word, __ATOMIC_RELAXED) == self.tid)
		lock_give(&process->lock);
	if (__atomic_load_n(&process->heirs.word, __ATOMIC_RELAXED) == self.tid)
		lock_give(&process->heirs);
}

void
life_quiesce_owing(int fd, enum flush_reason reason)
{
	struct stream *s = stream_known(fd);

	if (!s)
		return;
	if ((stream_held(s) || relaxed(s->borrow)) && self_enter())
		stream_drain(s, reason);
	pair_quiesce(s, reason);
}

/* Another thread may have looked at the gate just before it was closed, and be about to hold: its
 * section is waited for. */
static void
quiesce_listed(int fd, void *reason)
{
	struct stream *s = stream_known(fd);

	if (!s)
		return;
	if (w_holder(stream_word(s))) {
		section_enter(s);
		section_leave(s);
	}
	if (stream_held(s) || relaxed(s->borrow))
		stream_drain(s, *(const enum flush_reason *)reason);
}

void
life_quiesce_all(enum flush_reason reason)
{
	if (!self_enter())
		return;
	section_settle();
	interest_end();
	turn_each(quiesce_listed, &reason);
}

void
life_shut(enum flush_reason reason)
{
	if (!self_enter())
		return;
	__atomic_fetch_add(&process->gate, 1,
			   __ATOMIC_SEQ_CST); /* pairs with a hold's fence */
	life_quiesce_all(reason);
}

void
life_open(void)
{
	if (self_ready())
		__atomic_fetch_sub(&process->gate, 1, __ATOMIC_RELEASE);
}

void
life_fork_begin(void)
{
	if (!self_enter())
		return;
	if (!relaxed(process->joined) && nr_numbers)
		stream_passed();
	life_shut(FLUSH_SHARE);
	if (!relaxed(process->joined))
		return;
	self.born = region_bear();
	self.walk = share_fork(self.born);
}

void
life_fork_parent(int pid)
{
	if (!self_enter())
		return;
	/* The gate was closed all the while. */
	if (pid >= 0)
		share_forked(self.born, self.walk);
	region_born(self.born, pid);
	self.born = 0;
	life_open();
}

void
life_spawn_begin(void)
{
	if (!self_enter())
		return;
	life_shut(FLUSH_SHARE);
}

void
life_spawn_end(void)
{
	if (self_ready())
		share_spawned();
	life_open();
}

void
life_vfork(void)
{
	if (!self_enter())
		return; /* a vfork inside a vfork child */
	life_shut(FLUSH_SHARE);
	share_spawned();
	self.vfork_pid = sys_getpid();
	self.ready = false;
	self.hot = self.hot_read = NULL;
	if (self.tally)
		region_tally_put(self.tally);
	self.tally = NULL;
	self.last[0] = self.last[1] = NULL;
}

void
life_vfork_passes(int fd)
{
	share_pass(fd);
}

void
life_exec_begin(void)
{
	if (!self_enter())
		return;
	life_shut(FLUSH_EXIT);
	/* Its running episodes of backpressure lasted as long as is known when it is gone. */
	if (stall_any())
		stall_look_episodes();
	share_exec();
	leave(ENDED_EXEC);
}

void
life_exec_failed(void)
{
	if (!self_enter())
		return;
	if (region_get())
		join(0);
	life_open();
}

bool
life_exit(void)
{
	bool last;

	if (!self_enter() ||
	    __atomic_exchange_n(&process->ended, true, __ATOMIC_ACQ_REL))
		return false;
	life_shut(FLUSH_EXIT);
	if (!relaxed(process->joined))
		return false;
	stream_ended();
	last = region_leave(ENDED_EXIT) == 0;
	relaxed_set(process->joined, false);
	return last;
}

void
life_seccomp(void)
{
	if (!self_enter())
		return;
	life_shut(FLUSH_EXIT);
	stream_bypass_all(BYPASS_SECCOMP);
	keeper_stop(true);
	leave(ENDED_EXIT); /* now: its end will make no system call of ours */
	stream_off();
}

void
life_off(void)
{
	if (!nr_numbers || !self_enter())
		return;
	life_shut(FLUSH_SHARE);
	stream_off();
}

void
life_single_thread(void)
{
	if (!self_enter())
		return;
	life_quiesce_all(FLUSH_ORDER);
	keeper_stop(false);
}

void
life_pass(int fd)
{
	life_quiesce(fd, FLUSH_SHARE);
	share_pass(fd);
	stream_bypass(fd, BYPASS_SHARED);
}
