#include "cli/seen.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A server may begin to listen late: looked at again after 0, 1, 3, 7, ... 63 seconds. */
enum { MOST_FRUITLESS = 6, SOON_MS = 1000 };

static void
forget(struct seen_process *all, int nr)
{
	for (int i = 0; i < nr; i++)
		free(all[i].path);
	free(all);
}

static int
by_pid(const void *a, const void *b)
{
	const struct seen_process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

void
seen_begin(struct seen *s)
{
	forget(s->before, s->nr_before);
	if (s->nr)
		qsort(s->at, (size_t)s->nr, sizeof *s->at, by_pid);
	s->before = s->at;
	s->nr_before = s->nr;
	s->at = NULL;
	s->nr = s->cap = 0;
}

struct seen_process *
seen_get(struct seen *s, pid_t pid)
{
	struct seen_process new = { .pid = pid, .first = !s->before }, *old;
	char exe[32];
	struct stat st;

	snprintf(exe, sizeof exe, "/proc/%d/exe", (int)pid);
	if (stat(exe, &st) < 0)
		return NULL;
	new.dev = st.st_dev;
	new.ino = st.st_ino;
	old = s->before ? bsearch(&new, s->before, (size_t)s->nr_before, sizeof new,
				  by_pid)
			: NULL;
	if (old && old->dev == new.dev && old->ino == new.ino) {
		new = *old;
		old->path = NULL;
	}
	if (s->nr == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 256;
		s->at = have(realloc(s->at, (size_t)s->cap * sizeof *s->at));
	}
	s->at[s->nr] = new;
	return &s->at[s->nr++];
}

bool
seen_wants_maps(const struct seen_process *p)
{
	return now_ms() >= p->maps_again_ms;
}

void
seen_maps(struct seen_process *p, bool maps)
{
	/* Many at once would take as long as all did at first. */
	int spread_ms = p->pid % 64 * 1000;

	p->maps = maps;
	p->maps_again_ms = now_ms() + (p->nr_maps ? SEEN_MS + spread_ms
				       : p->first ? SOON_MS + spread_ms
						  : SOON_MS);
	p->nr_maps++;
}

bool
seen_wants_look(const struct seen_process *p)
{
	return now_ms() >= p->again_ms;
}

void
seen_nothing(struct seen_process *p)
{
	p->again_ms = now_ms() + (1000LL << p->fruitless) - 1000;
	if (p->fruitless < MOST_FRUITLESS)
		p->fruitless++;
}

void
seen_fini(struct seen *s)
{
	forget(s->at, s->nr);
	forget(s->before, s->nr_before);
	*s = (struct seen){ 0 };
}
