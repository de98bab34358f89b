#include "stream/share.h"
#include "count/holder.h"
#include "count/member.h"
#include "stream/interest.h"
#include "stream/options.h"
#include "stream/pair.h"
#include "stream/section.h"
#include "stream/table.h"

enum { SHARED_EPOCH = 0xffffffffu };

/* What a child is to know of a stream. */
struct heir {
	uint64_t cookie; /* A: 0 none */
	uint32_t holder; /* its entry in count/holder */
	uint32_t walk;   /* which walk over the streams made the entry */
	int32_t other;   /* of stream/pair */
	uint8_t role;
	bool unborrowable;
	bool cloexec; /* A */
};

/* All of this in ordinary memory. A stream that was made before the last fork asks. */
union share_copies share_copies = { .forks = 1 };
static uint32_t nr_walks;                 /* 0: there is no entry */
static struct heir *heir_leaf[NR_LEAVES]; /* A: made when first needed, never freed */

void
share_begin(struct stream *s)
{
	relaxed_set(s->epoch, relaxed(share_copies.forks));
	stream_cold(s)->spawn_epoch =
		__atomic_load_n(&share_copies.spawns, __ATOMIC_RELAXED);
}

static bool
spawned(const struct stream *s)
{
	return !(relaxed(s->options) & OPTION_CLOEXEC) &&
	       stream_cold(s)->spawn_epoch !=
		       __atomic_load_n(&share_copies.spawns, __ATOMIC_RELAXED);
}

bool
stream_private(const struct stream *s)
{
	return relaxed(s->epoch) == relaxed(share_copies.forks) && !spawned(s);
}

/* ---- what a child is to know ---- */

/* NULL: nothing was ever kept of numbers like this one. */
static struct heir *
heir_find(int fd)
{
	struct heir *leaf =
		number_known(fd)
			? __atomic_load_n(&heir_leaf[(unsigned)fd >> LEAF_BITS],
					  __ATOMIC_ACQUIRE)
			: NULL;

	return leaf ? &leaf[fd & (LEAF_LEN - 1)] : NULL;
}

/* The entry of the stream, if there is one. */
static struct heir *
heir_of(int fd, uint64_t cookie)
{
	struct heir *heir = heir_find(fd);

	return heir && cookie &&
			       __atomic_load_n(&heir->cookie, __ATOMIC_ACQUIRE) == cookie
		       ? heir
		       : NULL;
}

static struct heir *
heir_make(int fd)
{
	struct heir **place = &heir_leaf[(unsigned)fd >> LEAF_BITS], *none = NULL, *leaf;

	if (!__atomic_load_n(place, __ATOMIC_ACQUIRE)) {
		leaf = sys_map(LEAF_LEN * sizeof(*leaf), 0);
		if (!leaf)
			return NULL;
		if (!__atomic_compare_exchange_n(place, &none, leaf, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			sys_unmap(leaf, LEAF_LEN * sizeof(*leaf));
	}
	return heir_find(fd);
}

/* False: we are a handler that interrupted who holds it, so nobody else does. */
static bool
lock_heirs(void)
{
	section_settle();
	return lock_take(&process->heirs, self.tid);
}

static void
unlock_heirs(bool locked)
{
	if (locked)
		lock_give(&process->heirs);
}

/* Calls `each` for all entries. */
static void
each_heir(void (*each)(struct heir *heir, const void *arg), const void *arg)
{
	for (unsigned i = 0; nr_walks && i < NR_LEAVES; i++) {
		struct heir *leaf = __atomic_load_n(&heir_leaf[i], __ATOMIC_ACQUIRE);

		for (int j = 0; leaf && j < LEAF_LEN; j++)
			if (__atomic_load_n(&leaf[j].cookie, __ATOMIC_ACQUIRE))
				each(&leaf[j], arg);
	}
}

bool
share_close(int fd, uint64_t cookie)
{
	struct heir *heir = heir_find(fd), was;
	bool locked;

	if (!heir || !__atomic_load_n(&heir->cookie, __ATOMIC_ACQUIRE))
		return false;
	locked = lock_heirs();
	was = *heir;
	if (was.cookie && (!cookie || was.cookie == cookie))
		__atomic_store_n(&heir->cookie, 0, __ATOMIC_RELEASE);
	else
		was.cookie = 0;
	unlock_heirs(locked);
	if (was.cookie)
		holder_leave(was.holder, was.cookie, self.tid);
	return was.cookie != 0;
}

bool
share_counted(const struct stream *s)
{
	return heir_of(stream_fd(s), relaxed(stream_cold(s)->cookie)) != NULL;
}

void
share_close_range(unsigned first, unsigned last)
{
	for (unsigned i = first >> LEAF_BITS;
	     nr_walks && i < NR_LEAVES && i <= last >> LEAF_BITS; i++)
		for (unsigned j = 0; relaxed(heir_leaf[i]) && j < LEAF_LEN; j++) {
			unsigned fd = (i << LEAF_BITS) + j;

			if (fd >= first && fd <= last)
				share_close((int)fd, 0);
		}
}

void
share_cloexec(int fd, bool on)
{
	struct stream *s = table_socket(fd);
	struct heir *heir = heir_find(fd);

	/* Who was spawned before has it all the same. */
	if (on && s && spawned(s))
		share_for_good(s);
	if (heir)
		__atomic_store_n(&heir->cloexec, on, __ATOMIC_RELAXED);
}

/* ---- who else has it ---- */

void
share_for_good(struct stream *s)
{
	__atomic_store_n(&s->epoch, (uint32_t)SHARED_EPOCH, __ATOMIC_RELAXED);
}

static void
pass(struct heir *heir, const void *none)
{
	(void)none;
	holder_pass(heir->holder, heir->cookie);
}

static void
pass_inheritable(struct heir *heir, const void *none)
{
	if (!__atomic_load_n(&heir->cloexec, __ATOMIC_RELAXED))
		pass(heir, none);
}

void
share_pass(int fd)
{
	struct stream *s = table_known_socket(fd);
	struct heir *heir = heir_find(fd);

	interest_end_of(fd);
	if (s)
		share_for_good(s);
	if (heir && heir->cookie)
		pass(heir, NULL);
}

void
share_unseen(void)
{
	region_forked_unseen();
	each_heir(pass, NULL);
}

void
share_spawned(void)
{
	__atomic_fetch_add(&share_copies.spawns, 1, __ATOMIC_RELAXED);
	each_heir(pass_inheritable, NULL);
}

void
share_exec(void)
{
	each_heir(pass_inheritable, NULL);
}

/* The last other one has gone: what it may have done to the socket is found out. False: it is used
 * in a way that is left alone. */
static bool
meet_again(struct stream *s)
{
	struct stream_cold *cold = stream_cold(s);
	uint8_t options;

	if (option_any_special(s->fd))
		return false;
	options = relaxed(s->options);
	options = option_ask_all(s->fd, options & OPTION_TCP, options & OPTION_CLOEXEC);
	relaxed_set(s->options, options);
	cold->option_sets = relaxed(process->nr_option_sets) - 1;
	section_enter(s);
	relaxed_set(s->room, 0);
	relaxed_set(s->proven, 0);
	section_leave(s);
	return true;
}

static enum sharing
ask_holders(struct stream *s, uint32_t forks)
{
	uint64_t cookie = relaxed(stream_cold(s)->cookie);
	struct heir *heir = heir_of(s->fd, cookie);
	uint32_t holder = heir ? heir->holder : 0;

	if (!holder || holder_passed(holder, cookie))
		return SHARED_FOR_GOOD;
	if (!holder_alone(holder, cookie)) {
		holder_reap(holder, cookie);
		if (!holder_alone(holder, cookie))
			return SHARED;
	}
	if (!meet_again(s)) {
		share_for_good(s);
		return SHARED_FOR_GOOD;
	}
	__atomic_store_n(&s->epoch, forks, __ATOMIC_RELAXED);
	return PRIVATE;
}

enum sharing
share_ask(struct stream *s)
{
	uint32_t forks;

	if (region_get() && region_has_forked_unseen())
		__atomic_fetch_add(&share_copies.forks, 1, __ATOMIC_RELEASE);
	/* Before the count: a fork that begins now counts one more before it adds to this. */
	forks = __atomic_load_n(&share_copies.forks, __ATOMIC_ACQUIRE);
	if (relaxed(s->epoch) == SHARED_EPOCH || spawned(s))
		return SHARED_FOR_GOOD;
	return relaxed(s->epoch) == forks ? PRIVATE : ask_holders(s, forks);
}

bool
share_inherited(struct stream *s, enum role *role)
{
	uint64_t cookie = relaxed(stream_cold(s)->cookie);
	struct heir *heir = heir_of(s->fd, cookie);

	if (!heir) {
		/* Where the cookie could not be asked it may be that stream all the same. */
		if (cookie)
			share_close(s->fd, 0);
		else
			share_pass(s->fd);
		return false;
	}
	*role = heir->role;
	relaxed_set(s->unborrowable, heir->unborrowable);
	pair_inherited(s, heir->other);
	if (__atomic_load_n(&heir->cloexec, __ATOMIC_RELAXED))
		relaxed_set(s->options, relaxed(s->options) | OPTION_CLOEXEC);
	relaxed_set(s->epoch, relaxed(share_copies.forks) - 1);
	return true;
}

/* ---- fork ---- */

struct walk {
	uint32_t born, after;
};

static void
add_child(struct heir *heir, const void *arg)
{
	const struct walk *walk = arg;

	if (heir->walk <= walk->after)
		return;
	if (walk->born == BORN_WITHOUT_SLOT)
		holder_pass(heir->holder, heir->cookie);
	else
		holder_add(heir->holder, heir->cookie, walk->born - 1);
}

/* In its section, so that it is not closed meanwhile. */
static void
leave_to_children(struct stream *s, uint32_t walk)
{
	uint64_t cookie = relaxed(stream_cold(s)->cookie);
	struct heir *heir = heir_make(s->fd);

	/* Its other end may have been accepted since. */
	if (heir && cookie && heir->cookie == cookie)
		heir->other = relaxed(stream_cold(s)->other);
	if (!heir || !cookie || heir->cookie == cookie ||
	    stream_record(s) == &stream_uncounted)
		return;
	heir->holder = holder_make(stream_record(s), cookie);
	if (!heir->holder)
		return;
	heir->walk = walk;
	heir->role = s->role;
	heir->other = relaxed(stream_cold(s)->other);
	heir->unborrowable = relaxed(s->unborrowable);
	heir->cloexec = relaxed(s->options) & OPTION_CLOEXEC;
	__atomic_store_n(&heir->cookie, cookie, __ATOMIC_RELEASE);
	if (relaxed(s->epoch) == SHARED_EPOCH || spawned(s) ||
	    relaxed(s->mode) == MODE_BYPASSED)
		holder_pass(heir->holder, cookie);
}

/* Every open stream gets an entry, and those made after `after` the child. */
static void
walk_streams(uint32_t born, uint32_t after)
{
	uint32_t walk = ++nr_walks;

	for (unsigned i = 0; i < NR_LEAVES; i++)
		for (int j = 0; relaxed(stream_leaf[i]) && j < LEAF_LEN; j++) {
			struct stream *s = &stream_leaf[i][j];

			if (relaxed(s->state) != STATE_OPEN)
				continue;
			/* A child may clear TCP_NODELAY. */
			if (relaxed(s->second) == SECOND_GOES)
				relaxed_set(s->second, SECOND_UNKNOWN);
			if (share_counted(s) && !relaxed(stream_cold(s)->other))
				continue;
			section_enter(s);
			if (relaxed(s->state) == STATE_OPEN)
				leave_to_children(s, walk);
			section_leave(s);
		}
	each_heir(add_child, &(struct walk){ born, after });
}

uint32_t
share_fork(uint32_t born)
{
	bool locked = lock_heirs();
	uint32_t walk = nr_walks + 1;

	walk_streams(born, 0);
	unlock_heirs(locked);
	return walk;
}

void
share_forked(uint32_t born, uint32_t walk)
{
	bool locked;

	if (born) {
		/* What other threads accepted meanwhile, the child may have as well. */
		locked = lock_heirs();
		walk_streams(born, walk);
		unlock_heirs(locked);
	}
	__atomic_fetch_add(&share_copies.forks, 1, __ATOMIC_RELEASE);
}
