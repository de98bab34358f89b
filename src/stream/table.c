#include "stream/table.h"
#include "count/region.h"
#include "stream/stall.h"

struct leaf {
	struct stream hot[LEAF_LEN];
	struct stream_cold cold[LEAF_LEN];
};

uint32_t nr_numbers;
uint8_t number_kind[NR_NUMBERS] __attribute__((aligned(4096)));
struct stream *stream_leaf[NR_LEAVES];
static bool kinds_wiped; /* by a fork, from now on */

void
stream_init(void)
{
	__atomic_store_n(&nr_numbers, NR_NUMBERS, __ATOMIC_RELEASE);
}

void
stream_off(void)
{
	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; relaxed(stream_leaf[i]) && j < LEAF_LEN; j++) {
			struct stream *s = &stream_leaf[i][j];

			/* Nobody would see the end of what holds it up. */
			if (relaxed(s->state) == STATE_OPEN)
				stall_close(s);
			table_state(s, STATE_NONE);
		}
	__atomic_store_n(&nr_numbers, 0, __ATOMIC_RELEASE);
}

/* The leaf's memory outlives a fork, its contents do not: a child uses it again. */
static struct leaf *
leaf_make(unsigned i)
{
	struct stream *none = NULL;
	struct leaf *leaf;

	if (!relaxed(kinds_wiped)) {
		if (sys_wipe_on_fork(number_kind, sizeof(number_kind)) < 0)
			return NULL;
		relaxed_set(kinds_wiped, true);
	}
	leaf = sys_map(sizeof(*leaf), 0);
	if (!leaf)
		return NULL;
	if (sys_wipe_on_fork(leaf, sizeof(*leaf)) < 0) {
		sys_unmap(leaf, sizeof(*leaf));
		return NULL;
	}
	if (!__atomic_compare_exchange_n(&stream_leaf[i], &none, leaf->hot, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		sys_unmap(leaf, sizeof(*leaf));
		leaf = (struct leaf *)none;
	}
	return leaf;
}

struct stream *
table_record_make(int fd)
{
	struct leaf *leaf = leaf_make((unsigned)fd >> LEAF_BITS);

	if (leaf)
		return &leaf->hot[fd & (LEAF_LEN - 1)];
	count_internal(INTERNAL_MEMORY);
	return NULL;
}

int
stream_find(const struct stream *s)
{
	for (unsigned i = 0; i < NR_LEAVES; i++) {
		const struct stream *hot = relaxed(stream_leaf[i]);

		if (hot && s >= hot && s < hot + LEAF_LEN)
			return (int)(i << LEAF_BITS) + (int)(s - hot);
	}
	return -1;
}

struct stream_cold *
stream_cold(const struct stream *s)
{
	int fd = stream_fd(s);
	struct leaf *leaf =
		(struct leaf *)relaxed(stream_leaf[(unsigned)fd >> LEAF_BITS]);

	return &leaf->cold[fd & (LEAF_LEN - 1)];
}

struct stream *
stream_known(int fd)
{
	if (!number_known(fd) ||
	    __atomic_load_n(&number_kind[fd], __ATOMIC_ACQUIRE) != KIND_STREAM)
		return NULL;
	return table_record(fd);
}

struct stream *
table_known_socket(int fd)
{
	enum kind kind;

	if (!number_known(fd))
		return NULL;
	kind = __atomic_load_n(&number_kind[fd], __ATOMIC_ACQUIRE);
	return kind == KIND_SOCKET || kind == KIND_STREAM ? table_record(fd) : NULL;
}

struct stream *
table_socket(int fd)
{
	return number_known(fd) && self_ready() ? table_known_socket(fd) : NULL;
}
