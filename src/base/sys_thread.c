/* base/sys: helper threads and their alarms: see sys.h. */
#include "base/log.h"
#include "base/sys.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
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

void
sys_alarm_set(struct sys_alarm *alarm, int64_t deadline_ns)
{
	struct itimerspec when = {
		.it_value = { deadline_ns / 1000000000, deadline_ns % 1000000000 },
	};

	sys_call(SYS_timer_settime, alarm->timer, TIMER_ABSTIME, (long)&when, 0, 0, 0);
}

void
sys_alarm_ring(struct sys_alarm *alarm)
{
	sys_tgkill(sys_getpid(), alarm->tid, ALARM_SIGNAL);
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

static void *
thread_main(void *arg)
{
	struct sys_thread *t = arg;
	void (*run)(void) = t->run;

	sys_call(SYS_prctl, PR_SET_NAME, (long)t->name, 0, 0, 0, 0);
	/* Last touch of *t: who joins may reuse it from here on. */
	__atomic_store_n(&t->tid, sys_gettid(), __ATOMIC_RELEASE);
	run();
	return NULL;
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

int
sys_thread_start(struct sys_thread *t, void (*run)(void), const char *name)
{
	/* libc takes thread-local data out of the stack, and how much the program has of it
	 * nobody tells: where a stack is too small for that (EINVAL), try a larger one. */
	static const size_t room[] = { 64 << 10, 256 << 10, 1 << 20, 8 << 20 };
	static bool told; /* one line a process, whichever thread it was */
	int saved = errno;
	int err = EINVAL;
	sigset_t before;
	pthread_attr_t attr;

	memset(t, 0, sizeof(*t));
	t->run = run;
	strncpy(t->name, name, sizeof(t->name) - 1);
	sys_signals_block(&before);
	if (pthread_attr_init(&attr) == 0) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		for (size_t i = 0; i < sizeof(room) / sizeof(room[0]) && err == EINVAL;
		     i++) {
			pthread_attr_setstacksize(&attr,
						  (size_t)PTHREAD_STACK_MIN + room[i]);
			err = pthread_create(&t->handle, &attr, thread_main, t);
		}
		pthread_attr_destroy(&attr);
	}
	sys_signals_restore(&before);
	errno = saved;
	if (err && !__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
		log_line(LOG_WARN,
			 "no helper thread (error %d): nothing is held, no metrics",
			 err);
	return -err;
}

/* linux/sched/types.h, which cannot be included beside sched.h. */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void
sys_thread_prompt(void)
{
	struct sched_attributes a = { .size = sizeof(a) };

	if (sys_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) != 0)
		return;
	sys_call(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0, 0);
	if (sys_call(SYS_sched_getattr, 0, (long)&a, sizeof(a), 0, 0, 0) < 0 ||
	    a.policy != SCHED_OTHER)
		return;
	a.runtime = 100000; /* ns: the shortest slice there is */
	sys_call(SYS_sched_setattr, 0, (long)&a, 0, 0, 0, 0);
}

/* True: the thread is gone. With `sig` it is told so again and again. */
static bool
wait_for_end(struct sys_thread *t, int sig)
{
	const struct timespec nap = { 0, 50000 };
	int64_t give_up = sys_now_ns() + INT64_C(5000000000);
	int tid, pid = sys_getpid();

	/* pthread_join() returns as soon as the thread's stack is free, a little before the
	 * kernel has taken the thread off its count. So the kernel is asked. */
	do {
		tid = __atomic_load_n(&t->tid, __ATOMIC_ACQUIRE);
		if (tid != 0 && sys_tgkill(pid, tid, sig) == -ESRCH)
			return true;
		sys_call(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
	} while (sys_now_ns() < give_up);
	return false;
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
