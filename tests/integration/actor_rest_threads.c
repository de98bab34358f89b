/* Threads, handlers, jumps and cancellation among small reads: no byte twice, none lost. */
#include "actor_rest.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Records of eight bytes, always read whole: so each tells which one it is. */
enum { RECORD = 8, MOST_RECORDS = 100000 };

static int stream;
static atomic_uchar seen[MOST_RECORDS];
static atomic_int nr_bad;

/* True while there are records. */
static int
read_record(void)
{
	char bytes[RECORD];
	ssize_t n = read(stream, bytes, RECORD);
	int number = n == RECORD ? rest_record(bytes) : -1;

	if (number >= 0 && number < MOST_RECORDS)
		atomic_fetch_add(&seen[number], 1);
	else if (n != 0 && !(n < 0 && errno == EINTR))
		atomic_fetch_add(&nr_bad, 1);
	return n != 0;
}

/* "right": each of the records once, save `may_lack` that a jump may have thrown away. */
static int
judge(int records, int may_lack)
{
	int lacking = 0, twice = 0;

	for (int i = 0; i < records; i++) {
		lacking += seen[i] == 0;
		twice += seen[i] > 1;
	}
	say("~lacking %d", lacking);
	if (twice || nr_bad || lacking > may_lack)
		say("%d twice, %d bad, %d lacking", twice, nr_bad, lacking);
	else
		say("right");
	return 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int turn;

static void *
reads_unsynchronised(void *unused)
{
	(void)unused;
	while (read_record())
		;
	return NULL;
}

/* With synchronisation even reads of odd sizes come in order. */
static int
read_three(void)
{
	char bytes[3];
	ssize_t n = read(stream, bytes, sizeof bytes);

	rest_expect(bytes, n);
	return n > 0;
}

static void *
reads_in_lock(void *unused)
{
	int more;

	(void)unused;
	do {
		pthread_mutex_lock(&lock);
		more = read_three();
		pthread_mutex_unlock(&lock);
	} while (more);
	return NULL;
}

/* Several reads each, handed on by a variable that no library sees. */
static void *
reads_in_turn(void *me)
{
	int mine = (int)(intptr_t)me, more = 1;

	while (more) {
		while (atomic_load(&turn) % 2 != mine)
			raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
		for (int i = 0; i < 5 && more; i++)
			more = read_three();
		atomic_fetch_add(&turn, 1);
	}
	return NULL;
}

/* rest-threads HOW RECORDS */
static int
threads_read(int fd, char **args)
{
	void *(*reads)(void *) = reads_unsynchronised;
	pthread_t other;

	stream = fd;
	if (!strcmp(args[0], "lock"))
		reads = reads_in_lock;
	if (!strcmp(args[0], "turn"))
		reads = reads_in_turn;
	rest_let_peer_act();
	pthread_create(&other, NULL, reads, (void *)1);
	reads((void *)0);
	pthread_join(other, NULL);
	if (reads == reads_unsynchronised)
		return judge(atoi(args[1]), 0);
	say("at %zu", rest_at);
	return 0;
}

static sigjmp_buf away;
static volatile sig_atomic_t may_jump, nr_jumps;
static atomic_int storm_ends;
static pid_t main_thread;

static void
read_in_handler(int sig)
{
	int saved = errno;

	(void)sig;
	read_record();
	errno = saved;
}

static void
jump(int sig)
{
	(void)sig;
	if (!may_jump)
		return;
	/* The mask is set back before the stack is: a handler that comes in between must not jump, too, or the stack of a
	 * slow program grows with each signal. */
	may_jump = 0;
	nr_jumps = nr_jumps + 1;
	siglongjmp(away, 1);
}

/* Signals at any point of main's code, by calls that no library sees. */
static void *
storm(void *unused)
{
	(void)unused;
	while (!atomic_load(&storm_ends)) {
		raw_call(SYS_tgkill, getpid(), main_thread, SIGUSR2, 0, 0);
		for (volatile int i = 0; i < 3000; i++)
			;
	}
	return NULL;
}

static pthread_t
storm_begins(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t thread;

	main_thread = gettid();
	sigaction(SIGUSR2, &action, NULL);
	pthread_create(&thread, NULL, storm, NULL);
	return thread;
}

static void
storm_end(pthread_t thread)
{
	atomic_store(&storm_ends, 1);
	pthread_join(thread, NULL);
}

/* rest-handler RECORDS: a handler reads from the stream that it interrupts a read of. */
static int
threads_handler(int fd, char **args)
{
	pthread_t thread;

	stream = fd;
	rest_let_peer_act();
	thread = storm_begins(read_in_handler);
	while (read_record())
		;
	storm_end(thread);
	return judge(atoi(args[0]), 0);
}

/* rest-jumps RECORDS: each jump may throw one record away, as natively. */
static int
threads_jumps(int fd, char **args)
{
	static volatile int more = 1;
	pthread_t thread;

	stream = fd;
	rest_let_peer_act();
	thread = storm_begins(jump);
	while (more) {
		sigsetjmp(away, 1);
		may_jump = 1;
		more = read_record();
		may_jump = 0;
	}
	storm_end(thread);
	say("~jumps %d", (int)nr_jumps);
	return judge(atoi(args[0]), nr_jumps);
}

/* rest-jump-asleep: out of a small read that sleeps; what comes then is not lost. */
static int
threads_jump_asleep(int fd, char **args)
{
	enum { QUEUE = 4000, MORE = 400 };
	struct sigaction action = { .sa_handler = jump };
	struct itimerval once = { .it_value = { .tv_usec = 30000 } };
	char bytes[3];

	(void)args;
	sigaction(SIGALRM, &action, NULL);
	rest_take_few(fd, QUEUE);
	rest_take(fd, (QUEUE - FEW) / 4, 4);
	may_jump = 1;
	if (sigsetjmp(away, 1) == 0) {
		setitimer(ITIMER_REAL, &once, NULL);
		result("read", read(fd, bytes, sizeof bytes));
	}
	may_jump = 0;
	rest_let_peer_act();
	rest_take(fd, 4, 3);
	rest_take_all(fd, QUEUE + MORE);
	return 0;
}

enum { READERS = 20, MOST_EACH = 390 };

/* In a read, if main is in time. */
static void *
reads_until_cancelled(void *begun)
{
	while (atomic_fetch_add((atomic_int *)begun, 1) < MOST_EACH)
		read_record();
	for (;;) {
		pthread_testcancel();
		raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
	}
	return NULL;
}

/* rest-cancel RECORDS: readers are cancelled one after the other, main reads the rest. */
static int
threads_cancel(int fd, char **args)
{
	int cancelled = 0;

	stream = fd;
	rest_let_peer_act();
	for (int i = 0; i < READERS; i++) {
		atomic_int begun = 0;
		pthread_t thread;
		void *end;

		pthread_create(&thread, NULL, reads_until_cancelled, &begun);
		while (atomic_load(&begun) < 50)
			raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
		pthread_cancel(thread);
		pthread_join(thread, &end);
		cancelled += end == PTHREAD_CANCELED;
	}
	say("cancelled %d", cancelled);
	while (read_record())
		;
	return judge(atoi(args[0]), cancelled);
}

const struct command rest_threads_commands[] = {
	{ "rest-threads", threads_read, STREAM },
	{ "rest-handler", threads_handler, STREAM },
	{ "rest-jumps", threads_jumps, STREAM },
	{ "rest-jump-asleep", threads_jump_asleep, STREAM },
	{ "rest-cancel", threads_cancel, STREAM },
	{ 0 },
};
