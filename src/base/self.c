#include "base/self.h"
#include <signal.h>
#include <sys/syscall.h>

enum { GENERATION_CLAIMED = 0xffffffffu };

__thread struct self self __attribute__((tls_model("initial-exec")));
void (*self_new_process)(void);
void (*self_vfork_over)(void);

union process_page process_page __attribute__((aligned(PROCESS_PAGE)));

/* Of libc: sys/single_threaded.h, which older ones lack. */
extern char __libc_single_threaded __attribute__((weak));
static const char no;
const char *self_alone = &no;

/* In ordinary memory, so that a child's number differs from its parent's. */
static uint32_t generations;

void
self_never_alone(void)
{
	__atomic_store_n(&self_alone, &no, __ATOMIC_RELAXED);
}

bool
self_init(void)
{
	bool wiped = sys_wipe_on_fork(&process_page, sizeof(process_page)) >= 0;

	process->generation = ++generations;
	if (&__libc_single_threaded)
		self_alone = &__libc_single_threaded;
	/* A filter that was there before us may refuse even these: threads would all be one. */
	return wiped && sys_getpid() > 0 && sys_gettid() > 0;
}

/* The child's other threads, if it has made any before its first entry, wait here. */
static void
new_process(void)
{
	uint32_t none = 0;
	unsigned spins = 0;

	if (!__atomic_compare_exchange_n(&process->generation, &none, GENERATION_CLAIMED,
					 false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		while (__atomic_load_n(&process->generation, __ATOMIC_ACQUIRE) ==
		       GENERATION_CLAIMED)
			lock_wait(&spins);
		return;
	}
	self.tid = (uint32_t)sys_gettid();
	self.ready = true; /* what the callback calls may enter again */
	if (self_new_process)
		self_new_process();
	__atomic_store_n(&process->generation, ++generations, __ATOMIC_RELEASE);
}

/* A handler's frames lie below those of what it interrupted, by at least the signal frame; 1 KiB
 * is less than that on every processor. Not so on a stack of their own: ask. */
enum { SIGNAL_FRAME = 1024 };

bool
self_left(uintptr_t sp)
{
	stack_t now = { 0 };

	if ((uintptr_t)__builtin_frame_address(0) + SIGNAL_FRAME <= sp)
		return false;
	return sys_call(SYS_sigaltstack, 0, (long)&now, 0, 0, 0, 0) < 0 ||
	       !(now.ss_flags & SS_ONSTACK);
}

bool
self_enter(void)
{
	uint32_t generation;

	if (self.vfork_pid) {
		if (sys_getpid() != self.vfork_pid)
			return false;
		self.vfork_pid = 0;
		self.ready = true;
		if (self_vfork_over)
			self_vfork_over();
	}
	generation = __atomic_load_n(&process->generation, __ATOMIC_ACQUIRE);
	if (generation == 0 || generation == GENERATION_CLAIMED) {
		if (self.ready && generation == GENERATION_CLAIMED)
			return true; /* self_new_process() itself, or what it calls */
		new_process();
		generation = process->generation;
	}
	if (self.generation != generation) {
		self = (struct self){
			.tid = (uint32_t)sys_gettid(),
			.generation = generation,
			.turn = self.turn + 1,
			.ready = true,
		};
	}
	self.ready = true;
	return true;
}
