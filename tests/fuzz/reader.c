/* The program under test: see reader.h. */
#include "reader.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../raw_call.h"
#include "reader_worker.h"

enum { ALARM_S = 5, ARRIVAL_MS = 2000, WINDOW = 1 << 19, CLOSED = 7 /* TCP_CLOSE */ };

int
reader_fd(const struct reader *r)
{
	const struct hands *hands = r->hands;
	int dup = hands->dup[r->step.stream];

	return r->step.via && dup >= 0 ? dup : hands->fd[r->step.stream];
}

bool
reader_is_tcp(const struct reader *r)
{
	return r->shared->program.transport == TCP;
}

int64_t
reader_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void
reader_buffer_fill(unsigned char *buffer, size_t n)
{
	memset(buffer, 0xa5, n);
}

uint32_t
reader_buffer_sum(const unsigned char *buffer, size_t n)
{
	uint64_t sum = n, word;
	size_t i = 0;

	for (; i + sizeof word <= n; i += sizeof word) {
		memcpy(&word, buffer + i, sizeof word);
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	for (; i < n; i++)
		sum = (sum ^ buffer[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(sum >> 32);
}

void
reader_returned(struct reader *r, long value)
{
	r->result.value = value < 0 ? -errno : (int32_t)value;
}

/* ---- the peer's steps ---- */

static int
any_fd(const struct reader *r)
{
	int fd = r->hands->fd[r->step.stream];

	return fd >= 0 ? fd : r->hands->dup[r->step.stream];
}

/* All that the peer sent, and its end, has come: asked behind the library's back. */
static bool
arrived(const struct reader *r, int op)
{
	struct tcp_info info;
	socklen_t len = sizeof info;

	memset(&info, 0, sizeof info);
	if (raw_call(SYS_getsockopt, any_fd(r), IPPROTO_TCP, TCP_INFO, (long)&info,
		     (long)&len))
		return true;
	if (info.tcpi_state == CLOSED)
		return true;
	if (op == PEER_RESETS)
		return false;
	if (r->flow->peer_ended && info.tcpi_state == 1 /* TCP_ESTABLISHED */)
		return false;
	return info.tcpi_bytes_received >= r->flow->peer_sent;
}

static void
await_arrival(struct reader *r)
{
	int64_t until = reader_now_ns() + ARRIVAL_MS * INT64_C(1000000);

	while (!arrived(r, r->step.op)) {
		if (reader_now_ns() > until) {
			r->shared->late = 1;
			return;
		}
		raw_call(SYS_sched_yield, 0, 0, 0, 0, 0);
	}
}

void
reader_tells(void)
{
	if (raw_call(SYS_write, READER_UP, (long)"", 1, 0, 0) != 1)
		_exit(2);
}

/* The peer's turn. A read of a pipe is a sleep to the library, if it sees it. */
static void
peer_steps(struct reader *r)
{
	char byte;
	long n;

	reader_tells();
	/* The alarm is for what hangs: here it is the peer that is late. */
	do {
		if (r->step.flags & FLAG_UNSEEN)
			n = raw_call(SYS_read, READER_DOWN, (long)&byte, 1, 0, 0);
		else
			n = read(READER_DOWN, &byte, 1);
		if (n < 0 && !(r->step.flags & FLAG_UNSEEN))
			n = -errno;
	} while (n == -EINTR);
	if (n != 1)
		_exit(2);
	r->result = r->shared->peer;
	if (reader_is_tcp(r) && !r->flow->waiter)
		await_arrival(r);
	if (r->step.op == PEER_SENDS || r->flow->peer_ended)
		waiter_returns(r);
	if (reader_is_tcp(r))
		await_arrival(r);
}

/* ---- a program ---- */

void
reader_makes(struct reader *r)
{
	int op = r->step.op;

	if (op <= PEER_LAST)
		peer_steps(r);
	else if (op <= DO_SYSCALL_READ)
		reader_receives(r);
	else if (op <= DO_EPOLL_DELETE)
		reader_waits(r);
	else if (op == DO_WRITE || (op >= DO_SEND && op <= DO_SYSCALL_WRITE))
		reader_sends(r);
	else if (op >= DO_THREAD)
		reader_multiplies(r);
	else
		reader_sets(r);
}

static int
make_socket(int transport)
{
	int fd = socket(transport == TCP ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
	int window = WINDOW;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
	return fd;
}

static int
connect_to(const struct shared *shared)
{
	int fd = make_socket(shared->program.transport);
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = shared->port[0] };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int failed;

	memcpy(un.sun_path, shared->address, sizeof un.sun_path);
	failed = shared->program.transport == TCP
			 ? connect(fd, (struct sockaddr *)&in, sizeof in)
			 : connect(fd, (struct sockaddr *)&un, sizeof un);
	if (failed)
		_exit(3);
	return fd;
}

static int
open_stream(const struct shared *shared)
{
	const struct program *program = &shared->program;
	int on = 1;
	int fd = program->reader_connects
			 ? connect_to(shared)
			 : accept(shared->listeners[program->transport], NULL, NULL);

	if (fd < 0)
		_exit(3);
	/* Nagle's wait for an acknowledgement would make the end a matter of time. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	reader_tells();
	return fd;
}

static void
begin(struct shared *shared)
{
	memset(shared->workers, 0, sizeof shared->workers);
	shared->workers[0] = (struct worker){ .state = WORKING, .pid = getpid() };
	for (int home = 0; home < MAX_WORKERS; home++) {
		shared->hands[home].epoll = -1;
		for (int i = 0; i < MAX_STREAMS; i++)
			shared->hands[home].fd[i] = shared->hands[home].dup[i] = -1;
	}
	for (int i = 0; i < shared->program.nr_streams; i++)
		shared->hands[0].fd[i] = open_stream(shared);
	shared->at = 0;
	shared->over = 0;
	shared->turn = 0;
	worker_passes(shared);
}

static void
finish(struct shared *shared)
{
	workers_end(shared);
	if (shared->hands[0].epoll >= 0)
		close(shared->hands[0].epoll);
	reader_tells();
}

static void
listen_tcp(struct shared *shared)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	int fd = make_socket(TCP);

	if (bind(fd, (struct sockaddr *)&in, sizeof in) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)&in, &len))
		_exit(3);
	shared->port[1] = in.sin_port;
	shared->listeners[TCP] = fd;
}

static void
listen_unix(struct shared *shared)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = make_socket(UNIX);

	memcpy(un.sun_path, shared->reader_address, sizeof un.sun_path);
	if (bind(fd, (struct sockaddr *)&un, sizeof un) || listen(fd, 8))
		_exit(3);
	shared->listeners[UNIX] = fd;
}

static void
on_alarm(int sig)
{
	(void)sig;
}

static void
bound_time(void)
{
	/* Without SA_RESTART: what hangs is interrupted, again and again. */
	const struct itimerval period = { { ALARM_S, 0 }, { ALARM_S, 0 } };

	setitimer(ITIMER_REAL, &period, NULL);
}

static void
begin_process(struct shared *shared)
{
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* What a worker's child leaves behind is this process's to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	listen_tcp(shared);
	listen_unix(shared);
}

static void
serve(struct shared *shared)
{
	const struct itimerval none = { 0 };
	char byte;

	while (read(READER_DOWN, &byte, 1) == 1) {
		bound_time();
		begin(shared);
		worker_runs(shared, 0);
		finish(shared);
		setitimer(ITIMER_REAL, &none, NULL);
	}
}

/* The program that ran here before an exec goes on, and for the first worker the next ones. */
static void
resume(struct shared *shared, int me)
{
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	worker_resumes(shared, me);
	if (me)
		worker_exits(shared, me);
	finish(shared);
	serve(shared);
}

int
main(int argc, char **argv)
{
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
				     MAP_SHARED, READER_SHARED, 0);

	if (shared == MAP_FAILED)
		return 3;
	if (argc == 5 && !strcmp(argv[1], "write"))
		return helper_writes(shared, atoi(argv[2]), atoi(argv[3]),
				     atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "resume")) {
		resume(shared, atoi(argv[2]));
		return 0;
	}
	begin_process(shared);
	reader_tells();
	serve(shared);
	return 0;
}
