#include "stream/room.h"
#include "pool/pool.h"
#include <linux/sock_diag.h>

/* An AF_UNIX send up to this size is one buffer, taken whole while anything is free. */
enum { UNIX_BUFFER = 32768 };

/* How much the kernel is known to take in one flush, from SO_MEMINFO. */
void
room_ask(struct stream *s)
{
	uint32_t mem[SK_MEMINFO_VARS], used, free;
	socklen_t len = sizeof(mem);

	relaxed_set(s->room, 0);
	if (sys_getsockopt(stream_fd(s), SOL_SOCKET, SO_MEMINFO, mem, &len) < 0)
		return;
	used = mem[SK_MEMINFO_WMEM_QUEUED] > mem[SK_MEMINFO_WMEM_ALLOC]
		       ? mem[SK_MEMINFO_WMEM_QUEUED]
		       : mem[SK_MEMINFO_WMEM_ALLOC];
	if (used >= mem[SK_MEMINFO_SNDBUF])
		return;
	free = mem[SK_MEMINFO_SNDBUF] - used;
	if (relaxed(s->options) & OPTION_TCP) {
		relaxed_set(s->room, free > ROOM_OVERHEAD ? free - ROOM_OVERHEAD : 0);
	} else {
		uint32_t one = mem[SK_MEMINFO_SNDBUF] / 2 - 64;

		if (one > UNIX_BUFFER)
			one = UNIX_BUFFER;
		relaxed_set(s->room, free / 2 > one ? free / 2 : one);
	}
}

static uint32_t
limit(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t
room_cap(const struct stream *s, unsigned tier)
{
	return limit(limit((uint32_t)tier_size(tier), stream_chunk(s)),
		     relaxed(s->room));
}
