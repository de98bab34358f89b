/*
 * faulty.c - a way into the kernel that counts, and in which the k-th call of a kind fails.
 *
 * Linked with the library's own objects into libfaulty.so, which only tests/faults/faults.py
 * preloads. WEIR_FAULTS names a file of a struct table: what is to fail stands in it, and
 * what was called is counted in it, by all processes of a run. Without the file it only
 * passes on. Threads: any. Signals: safe.
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../raw_call.h"
#include "door.h"

#undef dlsym

enum { NR_KINDS = 250, NR_ERRORS = 250, MOST_IOV = 16, SHORT = -1, THREAD = 2000 };

/* What a kind is: the number of the call, and below it which of its uses, or all of them. 0: none. */
#define USES UINT64_C(0xffffffffffff)
#define KIND(nr, use) ((uint64_t)((nr) + 1) << 48 | ((uint64_t)(use)&USES))

struct table {
	uint64_t seed;  /* of a storm */
	uint64_t every; /* one call in so many fails in it; 0: no storm */
	uint64_t kind;  /* else what fails; 0: nothing */
	uint64_t first; /* the first of its calls to fail, from 1 */
	uint64_t last;  /* and the last */
	int64_t error;  /* an errno, or SHORT */
	uint64_t hits;  /* A: calls that failed */
	struct {
		uint64_t kind; /* A */
		uint64_t nr;   /* A: calls so far */
	} calls[NR_KINDS];
	struct {
		uint64_t kind;
		int64_t error;
	} errors[NR_ERRORS]; /* of a storm, one of each kind */
};

static struct table *table;

__attribute__((constructor(101))) static void
find_table(void)
{
	const char *path = getenv("WEIR_FAULTS");
	long fd, map;

	if (!path)
		return;
	fd = raw_call(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0);
	map = raw_call6(SYS_mmap, 0, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED,
			fd, 0);
	raw_call(SYS_close, fd, 0, 0, 0, 0);
	if (map > 0)
		table = (struct table *)map;
}

/* Where one call has several uses, they fail apart. */
static uint64_t
use_of(long nr, long a, long b, long c)
{
	switch (nr) {
	case SYS_getsockopt:
	case SYS_setsockopt:
		return (uint64_t)b << 16 | (uint64_t)c;
	case SYS_fcntl:
	case SYS_ioctl:
		return (uint64_t)b;
	case SYS_recvmsg:
		/* On AF_UNIX what was read ahead is dropped by reading it over itself. */
		if (b && ((const struct msghdr *)b)->msg_flags == FLIGHT_UNDONE)
			return MSG_TRUNC;
		return (uint64_t)c & MSG_PEEK;
	case SYS_membarrier:
	case SYS_prctl:
	case SYS_unshare:
		return (uint64_t)a;
	default:
		return 0;
	}
}

/* The same for a seed, a kind and a number of its calls: 0, or how it fails. */
static int64_t
storm(uint64_t kind, uint64_t nr)
{
	uint64_t x = (table->seed ^ kind) * UINT64_C(0x9e3779b97f4a7c15) + nr;

	x = (x ^ x >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 29) * UINT64_C(0x94d049bb133111eb);
	if ((x ^ x >> 32) % table->every)
		return 0;
	for (int i = 0; i < NR_ERRORS && table->errors[i].kind; i++)
		if (table->errors[i].kind == kind)
			return table->errors[i].error;
	return 0;
}

/* How this call is to fail: an errno, SHORT, or 0. */
static int64_t
failure(uint64_t kind)
{
	int64_t error = 0;
	uint64_t nr;
	int i = 0;

	for (; i < NR_KINDS; i++) {
		uint64_t none = 0;

		if (__atomic_load_n(&table->calls[i].kind, __ATOMIC_RELAXED) == kind)
			break;
		if (__atomic_compare_exchange_n(&table->calls[i].kind, &none, kind,
						false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    none == kind)
			break;
	}
	if (i == NR_KINDS)
		return 0;
	nr = __atomic_add_fetch(&table->calls[i].nr, 1, __ATOMIC_RELAXED);
	if (table->every)
		error = storm(kind, nr);
	else if ((kind == table->kind || (kind | USES) == table->kind) &&
		 nr >= table->first && nr <= table->last)
		error = table->error;
	if (error)
		__atomic_fetch_add(&table->hits, 1, __ATOMIC_RELAXED);
	return error;
}

/* The message with half of its bytes, at least one. `iov` has room for MOST_IOV. */
static struct msghdr
halved(const struct msghdr *msg, struct iovec *iov)
{
	struct msghdr half = *msg;
	size_t left = 0, nr = 0;

	if (msg->msg_iovlen > MOST_IOV)
		return half;
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		left += msg->msg_iov[i].iov_len;
	for (left = (left + 1) / 2; left; nr++) {
		iov[nr] = msg->msg_iov[nr];
		if (iov[nr].iov_len > left)
			iov[nr].iov_len = left;
		left -= iov[nr].iov_len;
	}
	half.msg_iov = iov;
	half.msg_iovlen = nr;
	return half;
}

static long
short_call(long nr, long a, long b, long c, long d, long e, long f)
{
	struct iovec iov[MOST_IOV];
	struct mmsghdr one = { 0 };
	long ret;

	switch (nr) {
	case SYS_read:
	case SYS_write:
		return raw_call6(nr, a, b, (c + 1) / 2, d, e, f);
	case SYS_sendmsg:
		one.msg_hdr = halved((const struct msghdr *)b, iov);
		return raw_call6(nr, a, (long)&one.msg_hdr, c, d, e, f);
	case SYS_recvmsg:
		one.msg_hdr = halved((const struct msghdr *)b, iov);
		ret = raw_call6(nr, a, (long)&one.msg_hdr, c, d, e, f);
		((struct msghdr *)b)->msg_flags = one.msg_hdr.msg_flags;
		return ret;
	case SYS_sendmmsg:
		one.msg_hdr = halved(&((struct mmsghdr *)b)->msg_hdr, iov);
		ret = raw_call6(nr, a, (long)&one, c, d, e, f);
		((struct mmsghdr *)b)->msg_len = one.msg_len;
		return ret;
	default:
		return raw_call6(nr, a, b, c, d, e, f);
	}
}

long
sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	int64_t error = table ? failure(KIND(nr, use_of(nr, a, b, c))) : 0;

	if (!error)
		return raw_call6(nr, a, b, c, d, e, f);
	/* Without a descriptor it is only a question whether the call is to be had. */
	if (error == SHORT)
		return a < 0 ? raw_call6(nr, a, b, c, d, e, f)
			     : short_call(nr, a, b, c, d, e, f);
	/* What the kernel does as well: the number is free all the same; the connection is no
	 * more. */
	if (nr == SYS_close)
		raw_call(nr, a, 0, 0, 0, 0);
	if (error == EPIPE || error == ECONNRESET || error == ETIMEDOUT)
		raw_call(SYS_shutdown, a, SHUT_RDWR, 0, 0, 0);
	return -error;
}

static int (*libc_clone)(int (*)(void *), void *, int, void *, ...);

static int
faulty_clone(int (*run)(void *), void *stack, int flags, void *arg, void *ptid,
	     void *tls, void *ctid)
{
	int64_t error = table ? failure(KIND(THREAD, 0)) : 0;

	if (error) {
		errno = (int)error;
		return -1;
	}
	return libc_clone(run, stack, flags, arg, ptid, tls, ctid);
}

void *
faulty_dlsym(void *handle, const char *name)
{
	void *found = dlsym(handle, name), *ours;

	if (strcmp(name, "clone") != 0)
		return found;
	*(void **)&libc_clone = found;
	*(__typeof__(faulty_clone) **)&ours = faulty_clone;
	return ours;
}
