#include "cli/tune/listen.h"
#include "cli/proc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	STATE_LISTEN = 10,
	FLAG_LISTENS = 1 << 16
}; /* the kernel's TCP_LISTEN, __SO_ACCEPTCON */

static const char *const tcp_tables[] = { "net/tcp", "net/tcp6" };

struct row {
	unsigned port, state;
	unsigned long inode;
};

/* Calls `with` with every row of /proc/PID/net/tcp and tcp6. */
static void
each_tcp(pid_t pid, void (*with)(const struct row *, void *arg), void *arg)
{
	for (int i = 0; i < 2; i++) {
		struct text table = { 0 };
		char *line, *rest = NULL;

		if (!proc_read(pid, tcp_tables[i], &table) || !table.at)
			continue;
		/* sl local_address rem_address st queues timer retrnsmt uid timeout inode */
		for (line = strtok_r(table.at, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest)) {
			struct row row;

			if (sscanf(line, "%*s %*[^:]:%x %*s %x %*s %*s %*s %*s %*s %lu",
				   &row.port, &row.state, &row.inode) == 3)
				with(&row, arg);
		}
		text_fini(&table);
	}
}

static bool
has_port(const char *ports, unsigned port)
{
	char word[16];

	snprintf(word, sizeof word, " %u ", port);
	return strstr(ports, word);
}

struct search {
	struct listeners *found;
	struct text inodes;
	const char *apart;
};

static void
look_at_tcp(const struct row *row, void *arg)
{
	struct search *s = arg;

	if (row->state != STATE_LISTEN || !proc_has_socket(&s->inodes, row->inode))
		return;
	s->found->nr++;
	if (!has_port(text_string(&s->found->ports), row->port))
		text_add(&s->found->ports, " %u ", row->port);
}

/* Lines of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path. */
static void
look_at_unix(struct search *s, pid_t pid)
{
	struct text table = { 0 };
	char *line, *rest = NULL, *path;

	proc_read(pid, "net/unix", &table);
	for (line = table.at ? strtok_r(table.at, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		unsigned flags;
		unsigned long inode;

		if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu", &flags, &inode) != 2 ||
		    !(flags & FLAG_LISTENS) || !proc_has_socket(&s->inodes, inode))
			continue;
		path = strchr(line, '/');
		if (!path || strncmp(path, s->apart, strlen(s->apart)) != 0)
			s->found->nr++;
	}
	text_fini(&table);
}

void
listeners_add(struct listeners *found, pid_t pid, const char *apart)
{
	struct search s = { .found = found, .apart = apart };
	int before = found->nr;

	proc_sockets(pid, &s.inodes);
	if (s.inodes.len) {
		each_tcp(pid, look_at_tcp, &s);
		look_at_unix(&s, pid);
	}
	if (found->nr > before)
		found->pid = pid;
	text_fini(&s.inodes);
}

void
listeners_fini(struct listeners *found)
{
	text_fini(&found->ports);
	*found = (struct listeners){ 0 };
}

struct lingering {
	const char *ports;
	bool found;
};

static void
look_for_lingering(const struct row *row, void *arg)
{
	struct lingering *l = arg;

	/* What belongs to a process has an inode. */
	if (!row->inode && has_port(l->ports, row->port))
		l->found = true;
}

bool
ports_linger(const char *ports)
{
	struct lingering l = { ports, false };

	each_tcp(getpid(), look_for_lingering, &l);
	return l.found;
}
