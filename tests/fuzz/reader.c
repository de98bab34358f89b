/* The program under test: see reader.h. */
#include "reader.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../raw_call.h"

enum { ALARM_S = 5, ARRIVAL_MS = 2000, WINDOW = 1 << 19, CLOSED = 7 /* TCP_CLOSE */ };

static int listeners[NR_TRANSPORTS];

int
reader_fd(const struct reader *r)
{
	return r->step.via && r->dup >= 0 ? r->dup : r->fd;
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

/* All that the peer sent, and its end, has come: asked behind the library's back. */
static bool
arrived(const struct reader *r, int op)
{
	struct tcp_info info;
	socklen_t len = sizeof info;

	memset(&info, 0, sizeof info);
	if (raw_call(SYS_getsockopt, r->fd, IPPROTO_TCP, TCP_INFO, (long)&info,
		     (long)&len))
		return true;
	if (info.tcpi_state == CLOSED)
		return true;
	if (op == PEER_RESETS)
		return false;
	if (r->shared->peer_ended && info.tcpi_state == 1 /* TCP_ESTABLISHED */)
		return false;
	return info.tcpi_bytes_received >= r->shared->peer_sent;
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

static void
tell(void)
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

	tell();
	if (r->step.flags & FLAG_UNSEEN)
		n = raw_call(SYS_read, READER_DOWN, (long)&byte, 1, 0, 0);
	else
		n = read(READER_DOWN, &byte, 1);
	if (n != 1)
		_exit(2);
	r->result = r->shared->peer;
	if (r->shared->program.transport == TCP)
		await_arrival(r);
}

/* ---- a program ---- */

static void
make_step(struct reader *r)
{
	if (r->step.op <= PEER_LAST)
		peer_steps(r);
	else if (r->step.op <= DO_SYSCALL_READ)
		reader_receives(r);
	else if (r->step.op <= DO_EPOLL_DELETE)
		reader_waits(r);
	else
		reader_sets(r);
}

static int
make_socket(int transport)
{
	int fd = socket(transport == TCP ? AF_INET : AF_UNIX,
			SOCK_STREAM | SOCK_CLOEXEC, 0);
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

static void
run(struct shared *shared)
{
	const struct program *program = &shared->program;
	struct reader r = { .shared = shared, .dup = -1, .epoll = -1 };
	int on = 1;

	r.fd = program->reader_connects
		       ? connect_to(shared)
		       : accept(listeners[program->transport], NULL, NULL);
	if (r.fd < 0)
		_exit(3);
	/* Nagle's wait for an acknowledgement would make the end a matter of time. */
	setsockopt(r.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	tell();
	for (int i = 0; i < program->nr_steps; i++) {
		shared->at = i;
		r.step = program->steps[i];
		memset(&r.result, 0, sizeof r.result);
		make_step(&r);
		if (shared->flip == i + 1)
			r.result.value++;
		shared->results[i] = r.result;
	}
	if (r.epoll >= 0)
		close(r.epoll);
	shared->at = program->nr_steps;
	tell();
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
	listeners[TCP] = fd;
}

static void
listen_unix(const struct shared *shared)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = make_socket(UNIX);

	memcpy(un.sun_path, shared->reader_address, sizeof un.sun_path);
	if (bind(fd, (struct sockaddr *)&un, sizeof un) || listen(fd, 8))
		_exit(3);
	listeners[UNIX] = fd;
}

static void
on_alarm(int sig)
{
	(void)sig;
}

int
main(void)
{
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
				     MAP_SHARED, READER_SHARED, 0);
	/* Without SA_RESTART: what hangs is interrupted, again and again. */
	const struct itimerval period = { { ALARM_S, 0 }, { ALARM_S, 0 } }, none = { 0 };
	struct sigaction action = { .sa_handler = on_alarm };
	char byte;

	if (shared == MAP_FAILED)
		return 3;
	sigaction(SIGALRM, &action, NULL);
	listen_tcp(shared);
	listen_unix(shared);
	tell();
	while (read(READER_DOWN, &byte, 1) == 1) {
		setitimer(ITIMER_REAL, &period, NULL);
		run(shared);
		setitimer(ITIMER_REAL, &none, NULL);
	}
	return 0;
}
