/* interpose/spawn: calls that make processes. Their order is always the same: what is held
 * leaves, the streams that the child will have open as well become shared, then the
 * native call. */
#include "interpose/spawn.h"
#include "interpose/entry.h"

#include <string.h>

pid_t
spawn_forked(pid_t pid)
{
	/* The child finds its tables wiped by the kernel. It enters now: a call that a handler
	 * interrupted, and we are in that handler, is to go on with what is true there. */
	if (pid)
		life_fork_parent(pid);
	else if (self.ready)
		self_enter();
	return pid;
}

pid_t
fork(void)
{
	real_ready();
	life_fork_begin();
	return spawn_forked(real.fork());
}

pid_t
_Fork(void)
{
	real_ready();
	life_fork_begin();
	return spawn_forked(real._Fork());
}

pid_t
__fork(void)
{
	return fork();
}

int
forkpty(int *terminal, char *name, const struct termios *settings,
	const struct winsize *size)
{
	pid_t pid;

	real_ready();
	life_fork_begin();
	pid = spawn_forked(real.forkpty(terminal, name, settings, size));
	if (pid > 0)
		entry_made_plain(*terminal);
	return pid;
}

int
daemon(int nochdir, int noclose)
{
	bool counted = process->joined;
	int parent, r;

	real_ready();
	life_fork_begin();
	parent = sys_getpid();
	r = real.daemon(nochdir, noclose);
	if (sys_getpid() == parent) {
		life_fork_parent(-1);
		return r;
	}
	if (self.ready)
		self_enter();
	/* The parent ended inside libc, unseen: the child takes it off the family's count. */
	if (counted)
		region_left((uint32_t)parent, ENDED_EXIT);
	return r;
}

/* Called by vfork.S, in the parent, before libc's vfork. */
__attribute__((visibility("hidden"))) void
before_vfork(void)
{
	real_ready();
	if (__atomic_load_n(&nr_numbers, __ATOMIC_RELAXED))
		life_vfork();
}

bool
spawn_clone_begin(unsigned long flags)
{
	if (flags & CLONE_THREAD && flags & CLONE_SETTLS) {
		interest_end();
		self_never_alone();
		return false;
	}
	if (!(flags & (CLONE_VM | CLONE_FILES))) {
		life_fork_begin();
		return true;
	}
	if (flags & CLONE_VFORK && flags & CLONE_VM &&
	    !(flags & (CLONE_FILES | CLONE_SETTLS))) {
		life_vfork();
		return false;
	}
	/* Two tasks on one memory that share a thread's record, or two tables of descriptors: nothing
	 * the library knows would stay true. Nor may anything thread-local be touched where a child
	 * has brought a place for it that has no room for ours, as Chromium's zygote does. */
	life_off();
	return false;
}

static int
clone_do(int (*run)(void *), void *stack, int flags, void *arg, void *const more[3])
{
	bool forks;
	int pid;

	real_ready();
	forks = spawn_clone_begin((unsigned)flags);
	pid = real.clone(run, stack, flags, arg, more[0], more[1], more[2]);
	/* The child is in run(). */
	if (forks)
		life_fork_parent(pid);
	return pid;
}

int
clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	void *more[3];
	va_list ap;

	va_start(ap, arg);
	for (int i = 0; i < 3; i++)
		more[i] = va_arg(ap, void *);
	va_end(ap);
	return clone_do(run, stack, flags, arg, more);
}

int
__clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	void *more[3];
	va_list ap;

	va_start(ap, arg);
	for (int i = 0; i < 3; i++)
		more[i] = va_arg(ap, void *);
	va_end(ap);
	return clone_do(run, stack, flags, arg, more);
}

int
posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	    const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	int err;

	real_ready();
	life_spawn_begin();
	err = real.posix_spawn(pid, path, actions, attributes, argv, envp);
	life_spawn_end();
	return err;
}

int
posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	     const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	int err;

	real_ready();
	life_spawn_begin();
	err = real.posix_spawnp(pid, file, actions, attributes, argv, envp);
	life_spawn_end();
	return err;
}

/* What the spawn does with the number in its child nobody sees. It is named just before, as a rule: not
 * earlier than it became a stream. */
int
posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int copy)
{
	real_ready();
	if (entry_live() && !metrics_owns(fd))
		life_pass(fd);
	return real.posix_spawn_file_actions_adddup2(actions, fd, copy);
}

/* The gate cannot stay closed: the call sleeps as long as the command runs, and may be cancelled. What
 * the child inherits is shared from here on, so never held. */
static void
before_command(void)
{
	life_spawn_begin();
	life_spawn_end();
	entry_sleep();
}

int
system(const char *command)
{
	real_ready();
	before_command();
	return real.system(command);
}

int
wordexp(const char *words, wordexp_t *result, int flags)
{
	real_ready();
	if (strpbrk(words, "`$") && !(flags & WRDE_NOCMD))
		before_command();
	return real.wordexp(words, result, flags);
}

FILE *
popen(const char *command, const char *mode)
{
	FILE *file;

	real_ready();
	life_spawn_begin();
	file = real.popen(command, mode);
	life_spawn_end();
	if (file && entry_live())
		entry_made_plain(fileno(file));
	return file;
}
