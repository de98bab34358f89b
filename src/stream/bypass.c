#include "stream/borrow.h"
#include "stream/flush.h"
#include "stream/pair.h"
#include "stream/section.h"
#include "stream/share.h"
#include "stream/table.h"

/* In ordinary memory: a child leaves alone what its parent does. */
static uint32_t bypass_new; /* A */

uint32_t
stream_bypass_of_new(void)
{
	return relaxed(bypass_new);
}

void
stream_bypass(int fd, enum bypass_reason why)
{
	struct stream *s = stream_known(fd);

	if (!s || relaxed(s->mode) == MODE_BYPASSED || !self_ready())
		return;
	section_enter(s);
	relaxed_set(s->mode, MODE_BYPASSED); /* nothing is held from here on */
	section_leave(s);
	stream_drain(s, FLUSH_ORDER);
	if (region_get())
		count_add(&region_get()->totals.bypassed[why], 1);
	stream_record(s)->bypass = (uint8_t)why;
	__atomic_store_n(&stream_record(s)->mode, (uint8_t)MODE_BYPASSED,
			 __ATOMIC_RELEASE);
}

void
stream_bypass_all(enum bypass_reason why)
{
	if (!self_ready())
		return;
	relaxed_set(bypass_new, 1u + why);
	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; relaxed(stream_leaf[i]) && j < LEAF_LEN; j++)
			stream_bypass((int)(i << LEAF_BITS) + j, why);
}

void
stream_shut(int fd)
{
	struct stream *s = table_socket(fd);

	if (!s)
		return;
	section_enter(s);
	stream_option(fd, OPTION_NOTSENT, true);
	section_leave(s);
}

void
stream_bypass_reads(int fd, enum bypass_reason why)
{
	struct stream *s = table_socket(fd);

	if (!s || __atomic_exchange_n(&s->unborrowable, 1, __ATOMIC_SEQ_CST) ||
	    relaxed(s->state) != STATE_OPEN || relaxed(s->mode) != MODE_MANAGED)
		return;
	borrow_settle(s);
	count_add(&region_get()->totals.bypassed[why], 1);
}

void
stream_leave(int fd)
{
	struct stream *s = table_socket(fd), *other = s ? pair_other(s) : NULL;

	if (!s)
		return;
	if (other) /* nobody sees what looks at the duplicate */
		stream_bypass(stream_fd(other), BYPASS_DUP);
	stream_bypass(fd, BYPASS_DUP);
	share_for_good(s); /* a socket not yet connected will not be held when it is */
}
