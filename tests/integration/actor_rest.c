/* What all commands of actor_rest_*.c need. */
#include "actor_rest.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

size_t rest_at;

void
rest_arrived(int fd, size_t total)
{
	int unread = 0;

	while (ioctl(fd, FIONREAD, &unread) == 0 && (size_t)unread < total)
		sched_yield();
}

static char
byte_at(size_t position)
{
	size_t number = position / 8;

	if (position % 8 == 7)
		return ';';
	for (size_t i = position % 8; i < 6; i++)
		number /= 10;
	return (char)('0' + number % 10);
}

void
rest_expect(const char *bytes, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != byte_at(rest_at + (size_t)i)) {
			say("wrong at %zu: %.8s", rest_at + (size_t)i, bytes + i);
			_exit(96);
		}
	}
	rest_at += n > 0 ? (size_t)n : 0;
}

void
rest_take(int fd, int times, size_t n)
{
	char bytes[64];

	for (int i = 0; i < times; i++) {
		ssize_t got = read(fd, bytes, n);

		if (got != (ssize_t)n)
			result("a small read", got);
		rest_expect(bytes, got);
	}
}

void
rest_take_few(int fd, size_t total)
{
	rest_arrived(fd, total);
	rest_take(fd, FEW / 3, 3);
}

void
rest_take_all(int fd, size_t total)
{
	char bytes[1000];

	while (rest_at < total) {
		ssize_t n = read(fd, bytes, sizeof bytes);

		if (n <= 0) {
			result("read", n);
			break;
		}
		rest_expect(bytes, n);
	}
	say("at %zu", rest_at);
}

int
rest_record(const char *bytes)
{
	int number = 0;

	for (int i = 0; i < 7; i++) {
		if (bytes[i] < '0' || bytes[i] > '9')
			return -1;
		number = number * 10 + bytes[i] - '0';
	}
	return bytes[7] == ';' ? number : -1;
}

void
rest_let_peer_act(void)
{
	char byte;

	note_time("peer");
	while (raw_call(SYS_read, 0, (long)&byte, 1, 0, 0) == -EINTR)
		;
}
