/* base/sys: helper threads and their alarms: see sys.h. */
#include "base/libc.h"
#include "base/log.h"
#include "base/self.h"
#include "base/sys.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* One that nobody sends, and that as no real-time signal needs no queue. */
enum { ALARM_SIGNAL = SIGSTKFLT };

/* struct sigevent as the kernel has it; libc's hides the thread. */
struct event {
	uint64_t value;
	int signal, notify, tid;
	char pad[44];
};
_Static_assert(sizeof(struct event) == 64, "as in asm-generic/siginfo.h");

int
sys_alarm_make(struct sys_alarm *alarm)
{
	struct event event = { .signal = ALARM_SIGNAL, .notify = SIGEV_THREAD_ID };
	int timer = -1, r;

	alarm->tid = event.tid = sys_gettid();
	r = (int)sys_call(SYS_timer_create, CLOCK_MONOTONIC, (long)&event, (long)&timer,
			  0, 0, 0);
	alarm->timer = r < 0 ? -1 : timer;
	return r;
}

int
sys_alarm_set(struct sys_alarm *alarm, int64_t deadline_ns)
{
	struct itimerspec when = {
		.it_value = { deadline_ns / 1000000000, deadline_ns % 1000000000 },
	};

	return (int)sys_call(SYS_timer_settime, alarm->timer, TIMER_ABSTIME,
			     (long)&when, 0, 0, 0);
}

void
sys_alarm_ring(struct sys_alarm *alarm)
{
	int r = sys_tgkill(sys_getpid(), alarm->tid, ALARM_SIGNAL);

	if (r < 0 && r != -ESRCH) /* by a filter, of which a timer's signals are free */
		sys_alarm_set(alarm, 1);
}

void
sys_alarm_end(struct sys_alarm *alarm)
{
	if (alarm->timer >= 0)
		sys_call(SYS_timer_delete, alarm->timer, 0, 0, 0, 0, 0);
}

/* A signal that came before the call is pending, and ends it at once. */
void
sys_alarm_wait(struct sys_alarm *alarm, const uint32_t *word, uint32_t value,
	       int64_t until_ns)
{
	uint64_t signals = UINT64_C(1) << (ALARM_SIGNAL - 1);
	int64_t ns = until_ns ? until_ns - sys_now_ns() : 0;
	struct timespec timeout = { ns / 1000000000, ns % 1000000000 };

	(void)alarm;
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value || ns < 0)
		return;
	sys_call(SYS_rt_sigtimedwait, (long)&signals, 0,
		 (long)(until_ns ? &timeout : NULL), sizeof(signals), 0, 0);
}

void
sys_signals_block(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

void
sys_signals_restore(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---- threads that libc does not know ---- */

/* A. The kernel's word that a thread is gone, on which wait_for_end() goes, is none to the language, nor to
 * ThreadSanitizer: what the thread wrote is there for who has seen this grow. */
static uint32_t nr_ended;

/* linux/sched/types.h, which cannot be included beside sched.h. */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* Of thread `tid`, 0 for the caller. */
static void
schedule_promptly(int tid)
{
	struct sched_attributes a = { .size = sizeof(a) };

	if (sys_call(SYS_sched_getattr, tid, (long)&a, sizeof(a), 0, 0, 0) < 0)
		return;
	if (a.policy == SCHED_OTHER)
		a.runtime = 100000; /* ns: the shortest slice there is */
	else if (a.policy == SCHED_FIFO || a.policy == SCHED_RR)
		a.priority++; /* one of the same would wait until its maker sleeps */
	else
		return;
	sys_call(SYS_sched_setattr, tid, (long)&a, 0, 0, 0, 0);
}

/* The guard is a page of any size. What helpers do fits into the stack several times; around what they
 * have of thread-local data libc may look for its own, which is all 0. */
enum { GUARD = 64 << 10, STACK = 128 << 10, AROUND = 16 << 10, TP_ALIGN = 64 };

#ifdef __has_feature
#define SANITIZED (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#else
#define SANITIZED 0
#endif

#if SANITIZED || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#include <dlfcn.h>

/* They want each thread made by pthread_create(), and theirs: not by the one that we export. */
static void *
thread_main(void *arg)
{
	struct sys_thread *t = arg;

	sys_call(SYS_prctl, PR_SET_NAME, (long)t->name, 0, 0, 0, 0);
	__atomic_store_n(&t->tid, sys_gettid(), __ATOMIC_RELEASE);
	if (t->prompt) {
		sys_call(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0, 0);
		schedule_promptly(0);
	}
	t->run();
	__atomic_fetch_add(&nr_ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

static int
make(struct sys_thread *t)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	pthread_t handle;
	int r;

	*(void **)&create = dlsym(RTLD_DEFAULT, "pthread_create");
	r = -create(&handle, NULL, thread_main, t);

	if (!r)
		pthread_detach(handle);
	return r;
}
#else
static char *
thread_pointer(void)
{
#ifdef __x86_64__
	char *tp;

	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
#else
	return __builtin_thread_pointer();
#endif
}

static int
thread_main(void *arg)
{
	struct sys_thread *t = arg;
	uint64_t all = ~UINT64_C(0);

	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all), 0, 0);
	sys_call(SYS_prctl, PR_SET_NAME, (long)t->name, 0, 0, 0, 0);
	if (t->prompt)
		sys_call(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0, 0);
	t->run();
	__atomic_fetch_add(&nr_ended, 1, __ATOMIC_RELEASE);
	return 0;
}

/* One mapping: guard, stack, and the surroundings of a thread pointer from which the code finds `self`
 * where it finds the caller's. Returns the pointer; NULL: no memory. */
static char *
lay_out(struct sys_thread *t)
{
	char *mine = thread_pointer(), *tp;
	ptrdiff_t at = (char *)&self - mine;
	size_t below = (at < 0 ? (size_t)-at : 0) + AROUND;
	size_t above = (at > 0 ? (size_t)at + sizeof(self) : 0) + AROUND;

	t->len = GUARD + STACK + below + TP_ALIGN + above;
	t->area = sys_map(t->len, 0);
	if (!t->area)
		return NULL;
	sys_call(SYS_mprotect, (long)t->area, GUARD, PROT_NONE, 0, 0, 0);
	tp = (char *)t->area + GUARD + STACK + below;
	tp += -(uintptr_t)tp % TP_ALIGN;
#ifdef __x86_64__
	/* The System V ABI, processor supplement: it points to itself. Behind that both libcs have a second
	 * pointer to it, and at 40 and 48 what guards stacks and pointers. */
	((void **)tp)[0] = ((void **)tp)[2] = tp;
	memcpy(tp + 40, mine + 40, 16);
#endif
	return tp;
}

static void
unmap(struct sys_thread *t)
{
	sys_unmap(t->area, t->len);
	t->area = NULL;
}

static int
make(struct sys_thread *t)
{
	char *tp = lay_out(t);
	int tid;

	if (!tp)
		return -ENOMEM;
	tid = libc_clone(thread_main, (char *)t->area + GUARD + STACK,
			 CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
				 CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS,
			 t, NULL, tp, NULL);
	if (tid < 0) {
		tid = -errno;
		unmap(t);
		return tid;
	}
	__atomic_store_n(&t->tid, tid, __ATOMIC_RELEASE);
	if (t->prompt)
		schedule_promptly(
			tid); /* by the maker: it may have no processor until then */
	return 0;
}
#endif

/* True: the thread is gone. With `sig` it is told so again and again. */
static bool
wait_for_end(struct sys_thread *t, int sig)
{
	const struct timespec nap = { 0, 50000 };
	int64_t give_up = sys_now_ns() + INT64_C(5000000000);
	int tid, pid = sys_getpid(), r;

	do {
		tid = __atomic_load_n(&t->tid, __ATOMIC_ACQUIRE);
		r = tid != 0 ? sys_tgkill(pid, tid, sig) : 0;
		if (r == -ESRCH) {
			(void)__atomic_load_n(&nr_ended, __ATOMIC_ACQUIRE);
			return true;
		}
		if (r < 0 && r != -EAGAIN)
			return false; /* refused by a filter: nobody can tell */
		sys_call(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
	} while (sys_now_ns() < give_up);
	return false;
}

static uint32_t has_started; /* A: generation of the last process that did */

bool
sys_thread_any(void)
{
	return __atomic_load_n(&has_started, __ATOMIC_RELAXED) == process->generation;
}

int
sys_thread_start(struct sys_thread *t, void (*run)(void), const char *name, bool prompt)
{
	static bool told; /* one line a process, whichever thread it was */
	int saved = errno, err;

	/* One that ended by itself, or the parent's, of which a child has the memory alone. */
	if (t->area && (t->generation != process->generation || wait_for_end(t, 0)))
		sys_unmap(t->area, t->len);
	memset(t, 0, sizeof(*t));
	t->run = run;
	t->prompt = prompt && sys_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) == 0;
	t->generation = process->generation;
	__atomic_store_n(&has_started, process->generation, __ATOMIC_RELAXED);
	strncpy(t->name, name, sizeof(t->name) - 1);
	err = make(t);
	errno = saved;
	if (err && !__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
		log_line(LOG_WARN,
			 "no helper thread (error %d): nothing is held, no metrics",
			 -err);
	return err;
}

void
sys_thread_join(struct sys_thread *t)
{
	wait_for_end(t, 0);
}

static void
interrupted(int sig)
{
	(void)sig;
}

void
sys_thread_end(struct sys_thread *t, int sig)
{
	struct sigaction ours = { .sa_handler = interrupted }, before;

	if (sigaction(sig, &ours, &before) < 0)
		return;
	/* A signal still on its way would meet the old action. */
	if (wait_for_end(t, sig))
		sigaction(sig, &before, NULL);
}

void
sys_signal_let(int sig, bool in)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(in ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}
