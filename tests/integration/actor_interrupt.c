/* A signal handler forks in the middle of writes and reads, and the interrupted call goes on in
 * both processes; in some children the handler has used the same stream before, or another one.
 * Round after round on a stream of its own, for a fork ends what the library does to the streams
 * that were there. What came is judged here: it says "sound" or what is wrong. */
#include "actor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 8, MOST = 1 << 17, ROUNDS = 200, AFTER = 20, AHEAD = 8192, OTHERS = 5 };

static int stream, peer, other[2];
static volatile sig_atomic_t forked, in_child;
static volatile int child_status;
static const char *kind;
static atomic_int *child_read; /* 1 + the number that the child's read got */
static int round_nr;

static char came[MOST * RECORD];
static size_t nr_came;

static void
make_record(char *to, char who, int nr)
{
	to[0] = who;
	for (int i = 6; i > 0; i--, nr /= 10)
		to[i] = (char)('0' + nr % 10);
	to[7] = ';';
}

/* -1: torn. */
static int
number(const char *at)
{
	int nr = 0;

	for (int i = 1; i < 7; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -1;
		nr = nr * 10 + at[i] - '0';
	}
	return at[7] == ';' ? nr : -1;
}

static void
write_record(char who, int nr)
{
	char record[RECORD];

	make_record(record, who, nr);
	if (write(stream, record, RECORD) != RECORD)
		result("write", -1);
}

static pid_t
make_child(void)
{
	if (!strcmp(kind, "fork"))
		return fork();
	if (!strcmp(kind, "_Fork"))
		return _Fork();
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The library gives a child figures of its own as it first uses a stream: so it has some when it
 * comes back to a call that began without. */
static void
use_another(void)
{
	char record[RECORD];

	for (int i = 0; i < OTHERS; i++)
		if (write(other[0], "another;", RECORD) != RECORD ||
		    read(other[1], record, RECORD) != RECORD)
			result("another", -1);
}

/* The parent waits: so what the child does comes before the rest of the interrupted call. */
static void
fork_here(int sig)
{
	int saved = errno, status = 0;
	pid_t pid = make_child();

	(void)sig;
	if (pid == 0) {
		in_child = 1;
		if (!child_read && round_nr % 3 == 0)
			write_record('h', 0);
		if (round_nr % 3 == 1)
			use_another();
	} else {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		child_status = status;
		forked = 1;
	}
	errno = saved;
}

static void
connect_tcp(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	peer = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(peer, (struct sockaddr *)&addr, len) < 0)
		result("loopback", -1);
	stream = accept(listener, NULL, NULL);
	close(listener);
}

static void
connect_round(void)
{
	int pair[2];

	if (round_nr % 2) {
		connect_tcp();
	} else if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
		result("socketpair", -1);
	} else {
		stream = pair[0];
		peer = pair[1];
	}
	forked = in_child = 0;
}

/* Once, some time within the next millisecond. */
static void
alarm_soon(void)
{
	struct itimerval once = { .it_value.tv_usec = 50 + rand() % 900 };

	setitimer(ITIMER_REAL, &once, NULL);
}

static void
block_alarm(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(how, &set, NULL);
}

static void
start(pthread_t *thread, void *(*run)(void *))
{
	block_alarm(SIG_BLOCK);
	pthread_create(thread, NULL, run, NULL);
	block_alarm(SIG_UNBLOCK);
}

static int
wrong(const char *what, int nr)
{
	say("round %d: %s %d", round_nr, what, nr);
	return 1;
}

/* By raw calls here: the library is to see one side only. */
static void *
take_all(void *nothing)
{
	long r;

	nr_came = 0;
	while (nr_came < sizeof came &&
	       (r = raw_call(SYS_read, peer, (long)came + (long)nr_came,
			     (long)(sizeof came - nr_came), 0, 0)) > 0)
		nr_came += (size_t)r;
	return nothing;
}

/* All of main's records in their order; the interrupted one may have been written by both. */
static int
judge_written(int nr)
{
	int next = 0, twice = 0, nr_child = 0, nr_handler = 0;

	if (nr_came % RECORD)
		return wrong("cut: bytes", (int)nr_came);
	for (const char *at = came; at < came + nr_came; at += RECORD) {
		int n = number(at);

		if (n < 0)
			return wrong("torn after", next);
		if (*at == 'c')
			nr_child++;
		else if (*at == 'h')
			nr_handler++;
		else if (n == next)
			next++;
		else if (n != next - 1 || twice++ || !nr_child)
			return wrong("out of order", n);
	}
	if (next != nr)
		return wrong("lost after", next);
	if (nr_child != 2 || nr_handler != !(round_nr % 3))
		return wrong("records of the child:", nr_child);
	return 0;
}

static int
write_round(void)
{
	pthread_t taker;
	int nr = 0;

	connect_round();
	start(&taker, take_all);
	alarm_soon();
	for (int left = AFTER; left > 0 && nr < MOST - AFTER; left -= forked) {
		write_record('m', nr++);
		if (in_child) {
			write_record('c', 0);
			write_record('c', 1);
			_exit(0);
		}
	}
	while (!forked)
		;
	close(stream);
	pthread_join(taker, NULL);
	close(peer);
	return child_status ? wrong("child", child_status) : judge_written(nr);
}

static atomic_int nr_read, stop;

/* Keeps the reader in records, though never so many that one is cut by a full buffer. */
static void *
feed(void *nothing)
{
	char batch[64][RECORD];
	int nr = 0;

	while (!atomic_load(&stop)) {
		if ((nr - atomic_load(&nr_read)) * RECORD > AHEAD)
			continue;
		for (int i = 0; i < 64; i++)
			make_record(batch[i], 'f', nr++);
		raw_call(SYS_write, peer, (long)batch, sizeof batch, 0, 0);
	}
	return nothing;
}

/* Each record once; the one that the child's read got may be missing, or have been read before. */
static int
read_records(void)
{
	int next = 0, missing = -1;

	for (int left = AFTER; left > 0; left -= forked) {
		char record[RECORD];
		ssize_t r = read(stream, record, RECORD);
		int n = r == RECORD ? number(record) : -1;

		if (in_child) {
			atomic_store(child_read, n + 1);
			_exit(0);
		}
		if (n == next + 1 && missing < 0)
			missing = next++;
		if (n != next)
			return wrong("read out of order:", n);
		atomic_store(&nr_read, ++next);
	}
	if (!atomic_load(child_read) || child_status)
		return wrong("child", child_status);
	if (missing >= 0 && missing != atomic_load(child_read) - 1)
		return wrong("lost:", missing);
	return 0;
}

static int
read_round(void)
{
	pthread_t feeder;
	int bad;

	connect_round();
	atomic_store(child_read, 0);
	atomic_store(&nr_read, 0);
	atomic_store(&stop, 0);
	start(&feeder, feed);
	alarm_soon();
	bad = read_records();
	atomic_store(&stop, 1);
	pthread_join(feeder, NULL);
	close(stream);
	close(peer);
	return bad;
}

static int
each_round(int (*run)(void), char **args)
{
	struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };

	kind = args[0];
	sigaction(SIGALRM, &action, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, other) < 0)
		result("socketpair", -1);
	for (round_nr = 0; round_nr < ROUNDS; round_nr++)
		if (run())
			return 1;
	say("sound");
	return 0;
}

static int
fork_in_writes(int fd, char **args)
{
	(void)fd;
	return each_round(write_round, args);
}

static int
fork_in_reads(int fd, char **args)
{
	(void)fd;
	child_read = mmap(NULL, sizeof *child_read, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return each_round(read_round, args);
}

const struct command interrupt_commands[] = {
	{ "handler-forks-in-writes", fork_in_writes, NOTHING },
	{ "handler-forks-in-reads", fork_in_reads, NOTHING },
	{ 0 },
};
