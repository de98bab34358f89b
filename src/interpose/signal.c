/* interpose/signal: signals that the process may be sending itself. One of them may end it on
 * the spot, so what is held leaves first. */
#include "interpose/entry.h"
#include "stream/writer.h"

/* To the kernel the number of any of our threads names the process as well. */
static bool
is_self(pid_t pid)
{
	int ours;

	if (!entry_live())
		return false;
	ours = sys_getpid();
	return pid == ours || sys_tgkill(ours, pid, 0) >= 0;
}

enum effect { IS_HANDLED, MAY_STOP, ENDS };

/* What the signal does to the process. */
static enum effect
effect_of(int sig)
{
	struct sigaction action;

	if (sigaction(sig, NULL, &action) < 0)
		return MAY_STOP; /* one of libc's own */
	if (action.sa_handler != SIG_DFL)
		return IS_HANDLED;
	switch (sig) {
	case SIGCHLD:
	case SIGCONT:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		return MAY_STOP;
	}
	return ENDS;
}

/* One that ends the process: what other threads are told is written meanwhile has to be. For a handler nothing is
 * done: what it calls is seen; and a collector of garbage sends one to thread after thread, each of which then waits
 * for it, maybe in the middle of what we would have to wait for. */
bool
entry_signal_begin(int sig)
{
	enum effect effect;

	interest_unsure();         /* by signalfd(2) */
	if (!sig || !entry_live()) /* 0 only asks */
		return false;
	effect = effect_of(sig);
	if (effect == ENDS)
		life_shut(FLUSH_EXIT);
	else if (effect == MAY_STOP)
		life_quiesce_all(FLUSH_EXIT);
	return effect == ENDS;
}

/* Blocked, such a signal ends the process as soon as it is let in, by a call or by a handler's return: nothing is
 * held any more; nor where it waits for another thread, which nobody can ask, or is on its way to one. Whoever
 * reads it instead, as signalfd(2) does, is told to end as a rule. */
long
entry_signal_end(int sig, bool shut, bool ours, long r)
{
	int saved = errno;
	sigset_t waits;
	bool ending = ours || (shut && sigpending(&waits) == 0 &&
			       sigismember(&waits, sig) == 1);

	if (shut && (r || !ending))
		life_open();
	errno = saved;
	return r;
}

int
raise(int sig)
{
	bool shut;

	real_ready();
	shut = entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, true, real.raise(sig));
}

int
gsignal(int sig)
{
	return raise(sig);
}

int
kill(pid_t pid, int sig)
{
	bool shut;

	real_ready();
	/* a group, or everybody: we may be among them */
	shut = (pid <= 0 || is_self(pid)) && entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, pid > 0, real.kill(pid, sig));
}

int
killpg(pid_t group, int sig)
{
	bool shut;

	real_ready();
	shut = entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, false, real.killpg(group, sig));
}

int
tgkill(pid_t pid, pid_t tid, int sig)
{
	bool shut;

	real_ready();
	shut = is_self(pid) && entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, true, real.tgkill(pid, tid, sig));
}

bool entry_cancels;

int
pthread_cancel(pthread_t thread)
{
	real_ready();
	__atomic_store_n(&real_direct, false, __ATOMIC_RELAXED);
	if (!__atomic_exchange_n(&entry_cancels, true, __ATOMIC_SEQ_CST)) {
		turn_cool();
		/* What is hot already cools once its thread has nothing to append to or to
		 * take from. */
		if (entry_live())
			life_quiesce_all(FLUSH_ORDER);
	}
	return real.pthread_cancel(thread);
}

int
pthread_kill(pthread_t thread, int sig)
{
	bool shut;

	real_ready();
	shut = entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, true, real.pthread_kill(thread, sig));
}

int
sigqueue(pid_t pid, int sig, const union sigval value)
{
	bool shut;

	real_ready();
	shut = is_self(pid) && entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, true, real.sigqueue(pid, sig, value));
}

int
pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
	bool shut;

	real_ready();
	shut = entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, true,
				     real.pthread_sigqueue(thread, sig, value));
}

/* Whose descriptor that is would have to be read in /proc. */
int
pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags)
{
	bool shut;

	real_ready();
	shut = entry_signal_begin(sig);
	return (int)entry_signal_end(sig, shut, false,
				     real.pidfd_send_signal(pidfd, sig, info, flags));
}
