/* Programs from seeds. What servers do is likelier than what nobody does: many small reads in a
 * row, a header and then its body, waits in between. */
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "generator.h"

#ifndef MSG_ERRQUEUE
#define MSG_ERRQUEUE 0x2000
#endif

/* Steps a group may need. */
enum { GROUP_MAX = 100, GROUPS_MAX = 5 };

uint32_t
draw(struct generator *g, uint32_t below)
{
	g->random = g->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((g->random >> 33) * below >> 31);
}

bool
chance(struct generator *g, uint32_t percent)
{
	return draw(g, 100) < percent;
}

struct step *
add(struct generator *g, enum op op, int n)
{
	struct step *step = &g->p->steps[g->p->nr_steps++];

	*step = (struct step){ .op = (uint8_t)op,
			       .n = n,
			       .stream = (uint8_t)g->stream,
			       .who = (uint8_t)g->who };
	return step;
}

int
pick(struct generator *g, const int *from, size_t nr)
{
	return from[draw(g, (uint32_t)nr)];
}

struct peer_state *
peer_of(struct generator *g)
{
	return &g->peers[g->stream];
}

/* ---- receiving ---- */

static int
read_size(struct generator *g)
{
	static const int edges[] = { 0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 32768 };
	int kind = (int)draw(g, 100);

	if (kind < 60)
		return 1 + (int)draw(g, 64);
	if (kind < 80)
		return 1 + (int)draw(g, 2000);
	if (kind < 90)
		return PICK(g, edges);
	return 1 + (int)draw(g, MAX_READ);
}

static int
read_flags(struct generator *g)
{
	static const int odd[] = { MSG_TRUNC,
				   MSG_OOB,
				   MSG_OOB | MSG_PEEK,
				   MSG_PEEK | MSG_TRUNC,
				   MSG_ERRQUEUE,
				   MSG_CMSG_CLOEXEC,
				   MSG_PEEK | MSG_WAITALL,
				   MSG_OOB | MSG_WAITALL };
	int flags = 0;

	if (chance(g, 10))
		return PICK(g, odd);
	if (chance(g, 30))
		flags |= MSG_DONTWAIT;
	if (chance(g, 30))
		flags |= MSG_PEEK;
	if (chance(g, 20))
		flags |= MSG_WAITALL;
	if (chance(g, 10))
		flags |= MSG_NOSIGNAL;
	return flags;
}

static void
add_read(struct generator *g, int op, int n, int flags)
{
	struct step *step = add(g, (enum op)op, n);

	if (op != DO_READ && op != DO_RECV)
		step->pieces = (uint8_t)(1 + draw(g, MAX_PIECES));
	if (op >= DO_RECV && op <= DO_RECVMMSG)
		step->flags = flags;
}

static int
common_read(struct generator *g)
{
	static const int ops[] = { DO_READ, DO_READ,  DO_RECV,     DO_RECV,
				   DO_RECV, DO_READV, DO_RECVFROM, DO_RECVMSG };

	return PICK(g, ops);
}

/* Many small reads by the same call, of one size or of many. */
static void
run_of_reads(struct generator *g)
{
	int op = common_read(g), nr = 2 + (int)draw(g, 40), n = 1 + (int)draw(g, 64);
	bool fixed = chance(g, 60);
	int flags = chance(g, 25) ? MSG_DONTWAIT : 0;

	for (int i = 0; i < nr; i++)
		add_read(g, op, fixed ? n : 1 + (int)draw(g, 64), flags);
}

static void
headers_and_bodies(struct generator *g)
{
	int op = common_read(g), header = 1 + (int)draw(g, 8), nr = 1 + (int)draw(g, 8);
	int flags = chance(g, 30) ? MSG_WAITALL : 0;

	for (int i = 0; i < nr; i++) {
		if (chance(g, 20))
			add_read(g, DO_RECV, header, MSG_PEEK | MSG_DONTWAIT);
		add_read(g, op, header, flags);
		add_read(g, op, 1 + (int)draw(g, 1200), flags);
	}
}

static void
any_read(struct generator *g)
{
	int op = DO_READ + (int)draw(g, DO_SYSCALL_READ - DO_READ + 1);

	add_read(g, op, read_size(g), read_flags(g));
}

/* ---- the rest ---- */

static int
wait_time(struct generator *g)
{
	if (g->waited >= 2 || chance(g, 85))
		return 0;
	g->waited++;
	return 1;
}

static void
wait(struct generator *g)
{
	static const int wanted[] = { POLLIN,
				      POLLIN,
				      POLLIN | POLLOUT,
				      POLLIN | POLLPRI | POLLRDHUP,
				      POLLOUT,
				      POLLPRI,
				      0 };
	int op = DO_POLL + (int)draw(g, DO_EPOLL_WAIT - DO_POLL + 1);

	add(g, (enum op)op, wait_time(g))->flags = PICK(g, wanted);
}

/* As a broker, which says around each write that it waits for room, and then that it does not. */
static void
broker_turns(struct generator *g)
{
	int nr = 2 + (int)draw(g, 12), n = 1 + (int)draw(g, 16);

	for (int i = 0; i < nr; i++) {
		add(g, DO_EPOLL_WAIT, 0);
		add_read(g, DO_READ, n, 0);
		add(g, DO_EPOLL_SET, 0)->flags = EPOLLIN | EPOLLOUT;
		if (chance(g, 30) && !peer_of(g)->gone)
			add(g, DO_WRITE, 1 + (int)draw(g, 60));
		if (chance(g, 95))
			add(g, DO_EPOLL_SET, 0)->flags = EPOLLIN;
	}
}

static void
change_epoll(struct generator *g)
{
	static const int how[] = { 0, 0, (int)EPOLLET, (int)EPOLLET, EPOLLONESHOT };
	static const int wanted[] = { EPOLLIN, EPOLLIN, EPOLLIN | EPOLLRDHUP,
				      EPOLLIN | EPOLLOUT, EPOLLPRI };

	if (chance(g, 40))
		broker_turns(g);
	else if (chance(g, 10))
		add(g, DO_EPOLL_DELETE, 0);
	else
		add(g, DO_EPOLL_SET, 0)->flags = PICK(g, wanted) | PICK(g, how);
	add(g, DO_EPOLL_WAIT, 0);
}

static void
shut(struct generator *g)
{
	int how = (int)draw(g, 3);

	add(g, DO_SHUTDOWN, how);
}

static void
set_option(struct generator *g)
{
	static const int lowats[] = { -1, 0, 1, 2, 10, 100, 3000 };
	int kind = (int)draw(g, 100);

	if (kind < 30)
		add(g, chance(g, 50) ? DO_NONBLOCK_FCNTL : DO_NONBLOCK_IOCTL,
		    chance(g, 60));
	else if (kind < 50)
		add(g, DO_RCVLOWAT, PICK(g, lowats));
	else if (kind < 70)
		add(g, DO_RCVTIMEO, chance(g, 60) ? 12 : 0);
	else if (kind < 78)
		add(g, DO_PEEK_OFF, (int)draw(g, 4) - 1);
	else if (kind < 86)
		add(g, DO_OOBINLINE, chance(g, 70));
	else if (kind < 90)
		add(g, DO_INQ, chance(g, 70));
	else
		shut(g);
}

static void
ask(struct generator *g)
{
	add(g, (enum op)(DO_FIONREAD + draw(g, DO_ERROR - DO_FIONREAD + 1)), 0);
}

/* What is written to a peer that has gone comes back as a reset, at a time that the library may
 * choose. */
static void
put(struct generator *g)
{
	int nr = 1 + (int)draw(g, 4);

	for (int i = 0; i < nr && !peer_of(g)->gone; i++)
		add(g, DO_WRITE, 1 + (int)draw(g, chance(g, 90) ? 60 : 2000));
}

static void
duplicate(struct generator *g)
{
	if (chance(g, 40))
		add(g, DO_CLOSE_DUP, 0);
	else
		add(g, DO_DUP, (int)draw(g, 5));
}

/* What is asked of urgent data, between small reads. */
static void
urgent(struct generator *g)
{
	static const int flags[] = { 0,       0, MSG_OOB, MSG_OOB, MSG_OOB | MSG_PEEK,
				     MSG_PEEK };
	int kind = (int)draw(g, 100);

	if (kind < 10)
		add(g, DO_OOBINLINE, chance(g, 70));
	else if (kind < 40)
		ask(g);
	else if (kind < 50)
		add(g, DO_POLL, 0)->flags = POLLIN | POLLPRI;
	else
		add_read(g, DO_RECV, 1 + (int)draw(g, 30),
			 PICK(g, flags) | MSG_DONTWAIT);
}

static void
reads_and_kin(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (g->about_urgent && kind >= 34 && kind < 80)
		urgent(g);
	else if (kind < 34)
		run_of_reads(g);
	else if (kind < 48)
		headers_and_bodies(g);
	else if (kind < 62)
		any_read(g);
	else if (kind < 74)
		wait(g);
	else if (kind < 79)
		change_epoll(g);
	else if (kind < 83)
		set_option(g);
	else if (kind < 89)
		ask(g);
	else if (kind < 95)
		put(g);
	else if (kind < 98)
		add(g, DO_COMPUTE, 1 + (int)draw(g, 600));
	else
		duplicate(g);
}

/* Who makes the next steps, on which stream. */
static void
choose(struct generator *g)
{
	int who = (int)draw(g, MAX_WORKERS);

	g->stream = (int)draw(g, (uint32_t)g->p->nr_streams);
	g->who = g->working[who] ? who : 0;
}

static void
vary(struct generator *g, int first)
{
	static const uint32_t often[] = { [READING] = 0, [WRITING] = 4, [COMPANY] = 8 };

	for (int i = first; i < g->p->nr_steps && chance(g, 50); i++)
		g->p->steps[i].via = 1;
	for (int i = first; i < g->p->nr_steps; i++)
		if (g->p->steps[i].how == PLAINLY && chance(g, often[g->theme]))
			g->p->steps[i].how = chance(g, 50) ? IN_HANDLER : BY_JUMP;
	for (int i = first; i + 1 < g->p->nr_steps && g->interrupts; i++)
		if (g->p->steps[i].how == PLAINLY && chance(g, 5))
			generate_interruption(g, &g->p->steps[i]);
	if (g->threads[g->who] && chance(g, 4))
		g->p->steps[g->p->nr_steps - 1].how = CANCELLED;
}

static void
group(struct generator *g)
{
	static const uint32_t writes[] = {
		[READING] = 0, [WRITING] = 55, [COMPANY] = 30
	};
	static const uint32_t company[] = {
		[READING] = 0, [WRITING] = 2, [COMPANY] = 35
	};
	int first = g->p->nr_steps;

	choose(g);
	if (g->interrupts && chance(g, 20))
		generate_interruptions(g);
	else if (chance(g, writes[g->theme]))
		generate_writes(g);
	else if (chance(g, company[g->theme]))
		generate_company(g);
	else
		reads_and_kin(g);
	vary(g, first);
}

/* How a server begins. */
static void
opening(struct generator *g)
{
	if (chance(g, 45))
		add(g, chance(g, 80) ? DO_NONBLOCK_FCNTL : DO_NONBLOCK_IOCTL, 1);
	if (chance(g, 25))
		change_epoll(g);
	if (chance(g, 20))
		put(g);
}

static void
begin(struct generator *g)
{
	static const enum theme themes[] = { READING, READING, WRITING, COMPANY,
					     COMPANY };

	g->theme = themes[draw(g, 5)];
	g->working[0] = true;
	g->p->reader_connects = chance(g, 30);
	g->p->nr_streams = 1 + (g->theme != READING && chance(g, 50));
	g->p->writes = g->theme != READING;
	/* Thousands of traps each: not in every program. */
	g->interrupts = g->p->writes && chance(g, 2);
	g->p->floods = g->theme == WRITING && chance(g, 30);
	g->p->seen_turns = chance(g, 50);
	g->about_urgent = g->theme == READING && chance(g, 15);
	opening(g);
}

void
program_generate(struct program *p, uint64_t seed, enum transport transport)
{
	struct generator g = { .p = p };
	int nr_bursts;

	memset(p, 0, sizeof *p);
	p->seed = seed;
	p->transport = transport;
	g.random = seed * 2 + (uint64_t)transport + UINT64_C(0x853c49e6748fea9b);
	draw(&g, 2);
	begin(&g);
	nr_bursts = 1 + (int)draw(&g, 8);
	for (int i = 0; i < nr_bursts; i++) {
		int nr = 1 + (int)draw(&g, GROUPS_MAX);

		if (p->nr_steps > MAX_STEPS - (GROUPS_MAX + 2) * GROUP_MAX)
			break;
		choose(&g);
		generate_peer(&g);
		for (int j = 0; j < nr; j++)
			group(&g);
	}
	generate_end(&g);
}
