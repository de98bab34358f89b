/* Another library that is preloaded behind the one under test, and has to see every call that
 * that one makes natively. It counts them, and calls what comes after it. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void behind_told(char *text, size_t size);

#define CALLS(X) \
	X(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n)) \
	X(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n)) \
	X(ssize_t, recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags)) \
	X(ssize_t, send, (int fd, const void *from, size_t n, int flags), \
	  (fd, from, n, flags)) \
	X(ssize_t, writev, (int fd, const struct iovec *iov, int nr), (fd, iov, nr)) \
	X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), \
	  (fd, msg, flags)) \
	X(ssize_t, sendfile, (int out, int in, off_t *offset, size_t n), \
	  (out, in, offset, n)) \
	X(int, setsockopt, (int fd, int level, int name, const void *to, socklen_t n), \
	  (fd, level, name, to, n))

#define COUNT(type, name, parameters, arguments) \
	static unsigned nr_##name; \
	type name parameters \
	{ \
		static type(*next) parameters; \
\
		if (!next) \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		nr_##name++; \
		return next arguments; \
	}
CALLS(COUNT)

/* "NAME calls since the last time" of each, and begins anew. */
void
behind_told(char *text, size_t size)
{
	size_t at = 0;

#define TELL(type, name, parameters, arguments) \
	at += (size_t)snprintf(text + at, size - at, " " #name " %u", nr_##name); \
	nr_##name = 0;
	CALLS(TELL)
}
