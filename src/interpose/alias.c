/* interpose/alias: other spellings of the same calls, which old or fortified programs import.
 * Where the fortified one would refuse, libc's own is called and ends the program; otherwise it
 * does what the plain name does. */
#include "interpose/entry.h"

ssize_t
__read_chk(int fd, void *buf, size_t n, size_t room)
{
	real_ready();
	if (n > room)
		return real.__read_chk(fd, buf, n, room);
	return read(fd, buf, n);
}

ssize_t
__recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
	real_ready();
	if (n > room)
		return real.__recv_chk(fd, buf, n, room, flags);
	return recv(fd, buf, n, flags);
}

ssize_t
__recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags,
	       struct sockaddr *addr, socklen_t *len)
{
	real_ready();
	if (n > room)
		return real.__recvfrom_chk(fd, buf, n, room, flags, addr, len);
	return recvfrom(fd, buf, n, flags, addr, len);
}

int
__poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room)
{
	real_ready();
	if (room / sizeof(*fds) < nr)
		return real.__poll_chk(fds, nr, timeout, room);
	return poll(fds, nr, timeout);
}

int
__ppoll_chk(struct pollfd *fds, nfds_t nr, const struct timespec *timeout,
	    const sigset_t *mask, size_t room)
{
	real_ready();
	if (room / sizeof(*fds) < nr)
		return real.__ppoll_chk(fds, nr, timeout, mask, room);
	return ppoll(fds, nr, timeout, mask);
}

ssize_t
__read(int fd, void *buf, size_t n)
{
	return read(fd, buf, n);
}

ssize_t
__write(int fd, const void *buf, size_t n)
{
	return write(fd, buf, n);
}

ssize_t
__send(int fd, const void *buf, size_t n, int flags)
{
	return send(fd, buf, n, flags);
}

int
__connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return connect(fd, addr, len);
}

int
__close(int fd)
{
	return close(fd);
}

int
__poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	return poll(fds, nr, timeout);
}

int
__select(int nr, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	return select(nr, in, out, except, timeout);
}

int
__dup2(int fd, int to)
{
	return dup2(fd, to);
}

pid_t
__wait(int *status)
{
	return wait(status);
}

pid_t
__waitpid(pid_t pid, int *status, int options)
{
	return waitpid(pid, status, options);
}

int
__nanosleep(const struct timespec *time, struct timespec *left)
{
	return nanosleep(time, left);
}

int
__sigsuspend(const sigset_t *mask)
{
	return sigsuspend(mask);
}

int
aio_read64(struct aiocb64 *request)
{
	return aio_read((struct aiocb *)request);
}

int
aio_write64(struct aiocb64 *request)
{
	return aio_write((struct aiocb *)request);
}

int
lio_listio64(int mode, struct aiocb64 *const requests[], int nr, struct sigevent *event)
{
	return lio_listio(mode, (struct aiocb *const *)requests, nr, event);
}
