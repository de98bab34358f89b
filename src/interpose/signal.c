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

static void
may_end(int sig)
{
	if (sig && entry_live()) /* 0 only asks */
		life_quiesce_all(FLUSH_EXIT);
}

/* At its default it ends the process. */
static bool
ends(int sig)
{
	struct sigaction action;

	switch (sig) {
	case SIGCHLD:
	case SIGCONT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		return false;
	}
	return sigaction(sig, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

/* Blocked, such a signal ends the process as soon as it is let in, by a call or by a handler's return: nothing is
 * held any more. Whoever reads it instead, as signalfd(2) does, is told to end as a rule. */
long
entry_signalled(int sig, long r)
{
	int saved = errno;
	sigset_t waits;

	if (!r && sig && entry_live() && sigpending(&waits) == 0 &&
	    sigismember(&waits, sig) == 1 && ends(sig))
		life_shut(FLUSH_EXIT);
	errno = saved;
	return r;
}

static int
sent(int sig, int r)
{
	return (int)entry_signalled(sig, r);
}

int
raise(int sig)
{
	real_ready();
	may_end(sig);
	return sent(sig, real.raise(sig));
}

int
gsignal(int sig)
{
	return raise(sig);
}

int
kill(pid_t pid, int sig)
{
	real_ready();
	if (pid <= 0 || is_self(pid)) /* a group, or everybody: we may be among them */
		may_end(sig);
	return sent(sig, real.kill(pid, sig));
}

int
killpg(pid_t group, int sig)
{
	real_ready();
	may_end(sig);
	return sent(sig, real.killpg(group, sig));
}

int
tgkill(pid_t pid, pid_t tid, int sig)
{
	real_ready();
	if (is_self(pid))
		may_end(sig);
	return sent(sig, real.tgkill(pid, tid, sig));
}

bool entry_cancels;

int
pthread_cancel(pthread_t thread)
{
	real_ready();
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
	real_ready();
	may_end(sig);
	return sent(sig, real.pthread_kill(thread, sig));
}

int
sigqueue(pid_t pid, int sig, const union sigval value)
{
	real_ready();
	if (is_self(pid))
		may_end(sig);
	return sent(sig, real.sigqueue(pid, sig, value));
}

int
pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
	real_ready();
	may_end(sig);
	return sent(sig, real.pthread_sigqueue(thread, sig, value));
}

/* Whose descriptor that is would have to be read in /proc. */
int
pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags)
{
	real_ready();
	may_end(sig);
	return sent(sig, real.pidfd_send_signal(pidfd, sig, info, flags));
}
