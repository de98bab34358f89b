/* interpose/stdio: what libc itself does to a descriptor, the library cannot see. So a stream that gets
 * a FILE, or is given to the threads of POSIX's asynchronous I/O, is left alone, and a FILE's close is a
 * close. */
#include "interpose/descriptor.h"
#include "interpose/entry.h"
#include "stream/writer.h"

static void
leave(int fd)
{
	real_ready();
	life_quiesce(fd, FLUSH_SHARE);
	stream_leave(fd);
}

FILE *
fdopen(int fd, const char *mode)
{
	leave(fd);
	return real.fdopen(fd, mode);
}

void
backtrace_symbols_fd(void *const *addresses, int nr, int fd)
{
	leave(fd);
	real.backtrace_symbols_fd(addresses, nr, fd);
}

/* Also of libc's threads that call the program back. */
static void
leave_to_threads(int fd)
{
	leave(fd);
	interest_end();
}

int
aio_read(struct aiocb *request)
{
	leave_to_threads(request->aio_fildes);
	return real.aio_read(request);
}

int
aio_write(struct aiocb *request)
{
	leave_to_threads(request->aio_fildes);
	return real.aio_write(request);
}

int
lio_listio(int mode, const aio_request requests[], int nr, struct sigevent *event)
{
	for (int i = 0; i < nr; i++)
		if (requests[i])
			leave(requests[i]->aio_fildes);
	real_ready();
	interest_end(); /* without requests, too, a thread calls back */
	return real.lio_listio(mode, requests, nr, event);
}

/* The FILE's descriptor before libc closes it; -1: it has none, or nothing may be touched. */
static int
file_begin(FILE *file)
{
	int saved = errno;
	int fd = file && entry_live() ? fileno(file) : -1;

	errno = saved;
	if (fd >= 0)
		stream_close_begin(fd);
	return fd;
}

static void
file_end(int fd)
{
	if (fd >= 0)
		stream_close_end(fd);
}

int
fclose(FILE *file)
{
	int fd, r;

	real_ready();
	fd = file_begin(file);
	r = real.fclose(file);
	file_end(fd);
	return r;
}

FILE *
freopen(const char *path, const char *mode, FILE *file)
{
	int fd;

	real_ready();
	fd = file_begin(file);
	file = real.freopen(path, mode, file);
	file_end(fd);
	return file;
}

FILE *
freopen64(const char *path, const char *mode, FILE *file)
{
	int fd;

	real_ready();
	fd = file_begin(file);
	file = real.freopen64(path, mode, file);
	file_end(fd);
	return file;
}

int
fcloseall(void)
{
	real_ready();
	life_quiesce_all(FLUSH_ORDER);
	return real.fcloseall();
}

/* What dprintf printed reached the kernel by itself, after what was held. */
static int
printed(int fd, int r)
{
	struct stream *s = stream_at(fd);

	if (s && r)
		writer_sent(s, r < 0 ? 0 : (size_t)r, entry_raw(r));
	return r;
}

int
vdprintf(int fd, const char *format, va_list args)
{
	real_ready();
	entry_order(fd);
	return printed(fd, real.vdprintf(fd, format, args));
}

int
dprintf(int fd, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vdprintf(fd, format, args);
	va_end(args);
	return r;
}

int
__vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
	real_ready();
	entry_order(fd);
	return printed(fd, real.__vdprintf_chk(fd, flag, format, args));
}

int
__dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = __vdprintf_chk(fd, flag, format, args);
	va_end(args);
	return r;
}
