#ifndef WEIR_STREAM_TABLE_H
#define WEIR_STREAM_TABLE_H
/* stream/table: where the kinds of numbers and the private records lie, for stream/stream and
 * stream/options, which know what they mean. Leaves of 1,024 numbers are mapped when first needed,
 * never freed or moved, and wiped by a fork: a child finds unknown numbers and records that are
 * all zero.
 * Threads: any. Signals: safe. */
#include "stream/stream.h"

enum { LEAF_LEN = 1 << LEAF_BITS };

static inline bool
number_known(int fd)
{
	return (unsigned)fd < __atomic_load_n(&nr_numbers, __ATOMIC_RELAXED);
}

static inline void
number_set(int fd, enum kind kind)
{
	__atomic_store_n(&number_kind[fd], (uint8_t)kind, __ATOMIC_RELEASE);
}

/* With what stream_quick() looks at. */
static inline void
table_state(struct stream *s, enum state state)
{
	relaxed_set(s->open, state == STATE_OPEN ? stream_open(s->fd) : 0);
	relaxed_set(s->state, (uint8_t)state);
}

/* The record of a number, whatever it is; NULL: no memory, counted. */
struct stream *table_record_make(int fd);

static inline struct stream *
table_record(int fd)
{
	struct stream *hot = __atomic_load_n(&stream_leaf[(unsigned)fd >> LEAF_BITS],
					     __ATOMIC_ACQUIRE);

	return __builtin_expect(hot != NULL, 1) ? &hot[fd & (LEAF_LEN - 1)]
						: table_record_make(fd);
}

/* The record of a number that is known as a socket of stream type; nobody is asked. The second also
 * answers in a vfork child, where it is the parent's: for single stores. */
struct stream *table_socket(int fd);
struct stream *table_known_socket(int fd);
#endif
