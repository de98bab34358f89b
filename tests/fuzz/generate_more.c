/* Programs that write, and programs of several threads and processes. */
#include <poll.h>
#include <sys/socket.h>

#include "generator.h"

/* A fork or an exec costs a thousand calls. */
enum { MAX_COSTLY = 8 };

/* ---- writing ---- */

static int
write_size(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (kind < 70)
		return 1 + (int)draw(g, 100);
	if (kind < 88)
		return (int)draw(g, 3000);
	if (kind < 96 || !g->p->floods)
		return (int)draw(g, 12000);
	return 20000 + (int)draw(g, MAX_WRITE - 20000);
}

static int
write_flags(struct generator *g)
{
	int flags = 0;

	if (chance(g, 30))
		flags |= MSG_DONTWAIT;
	if (chance(g, 4))
		flags |= MSG_MORE;
	if (chance(g, 30))
		flags |= MSG_NOSIGNAL;
	return flags;
}

static int
common_write(struct generator *g)
{
	static const int ops[] = { DO_WRITE_PLAIN, DO_WRITE_PLAIN, DO_WRITEV, DO_SEND,
				   DO_SEND,        DO_SENDTO,      DO_SENDMSG };

	return PICK(g, ops);
}

static void
add_write(struct generator *g, int op, int n)
{
	struct step *step = add(g, (enum op)op, n);

	if (op == DO_SPLICE || op == DO_DPRINTF)
		step->n = 1 + n % 5000;
	if (op == DO_WRITEV || op == DO_PWRITEV2 || op == DO_SENDMSG ||
	    op == DO_SENDMMSG)
		step->pieces = (uint8_t)(1 + draw(g, MAX_PIECES));
	if (op == DO_SEND || (op >= DO_SENDTO && op <= DO_SENDMMSG))
		step->flags = write_flags(g);
}

/* A reply in pieces. */
static void
run_of_writes(struct generator *g)
{
	int op = common_write(g), nr = 2 + (int)draw(g, 12), n = 1 + (int)draw(g, 90);

	for (int i = 0; i < nr; i++)
		add_write(g, op, chance(g, 70) ? n : write_size(g));
}

static void
set_sending(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (kind < 40) {
		add(g, DO_NODELAY, chance(g, 75));
	} else if (kind < 60) {
		add(g, DO_CORK, 1);
		add_write(g, common_write(g), write_size(g));
		add(g, DO_CORK, 0);
	} else if (kind < 66) {
		add(g, DO_LINGER, chance(g, 80));
	} else if (kind < 78 && g->p->floods) {
		add(g, DO_SNDBUF, (int)draw(g, 30000));
	} else {
		add(g, DO_NONBLOCK_FCNTL, chance(g, 50));
	}
}

void
generate_writes(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (peer_of(g)->gone)
		return;
	if (kind < 50)
		run_of_writes(g);
	else if (kind < 75)
		add_write(g, DO_SEND + (int)draw(g, DO_SYSCALL_WRITE - DO_SEND + 1),
			  write_size(g));
	else if (kind < 85)
		add(g, PEER_READS, 0)->flags = chance(g, 60) ? FLAG_UNSEEN : 0;
	else if (kind < 93)
		set_sending(g);
	else
		add(g, DO_COMPUTE, 1 + (int)draw(g, 900));
}

/* ---- interruptions ---- */

void
generate_interruption(struct generator *g, struct step *step)
{
	static const int most[] = { 60, 60, 150, 300, 600, 1200, 2500 };

	step->how = INTERRUPTED;
	if (chance(g, 50)) {
		step->after = (uint16_t)(AT_CALLS + draw(g, 8));
		return;
	}
	step->after = (uint16_t)(1 + draw(g, (uint32_t)PICK(g, most)));
}

/* What the library does where it holds or has borrowed something, and more is written or read in the
 * middle of that. */
static void
interrupted_call(struct generator *g)
{
	static const int waits[] = { DO_POLL, DO_PPOLL, DO_SELECT, DO_EPOLL_WAIT };
	int kind = (int)draw(g, 100);

	if (kind < 50)
		add_write(g, common_write(g), write_size(g) % 3000);
	else if (kind < 60)
		add_write(g, common_write(g), 3000 + (int)draw(g, 3000));
	else if (kind < 85)
		add(g, (enum op)PICK(g, waits), 0)->flags = POLLIN;
	else
		add(g, DO_RECV, 1 + (int)draw(g, 30))->flags = MSG_DONTWAIT;
	generate_interruption(g, &g->p->steps[g->p->nr_steps - 1]);
}

void
generate_interruptions(struct generator *g)
{
	int nr = 1 + (int)draw(g, 5);

	if (peer_of(g)->gone)
		return;
	add(g, PEER_READS, 0);
	for (int i = 0; i < nr; i++) {
		for (int held = (int)draw(g, 3); held; held--)
			add_write(g, common_write(g), 1 + (int)draw(g, 60));
		interrupted_call(g);
		if (chance(g, 80))
			add_write(g, common_write(g), 1 + (int)draw(g, 60));
		else
			add(g, DO_RECV, 1 + (int)draw(g, 30))->flags = MSG_DONTWAIT;
	}
}

/* ---- company ---- */

static void
begin_worker(struct generator *g)
{
	int who = 1 + (int)draw(g, MAX_WORKERS - 1);
	bool thread = g->costly >= MAX_COSTLY || chance(g, 50);

	if (g->working[who])
		return;
	if (thread)
		add(g, DO_THREAD, who);
	else
		add(g, DO_FORK, who)->flags =
			chance(g, 70) ? FORK : (int)draw(g, NR_FORKS);
	g->costly += !thread;
	g->working[who] = true;
	g->threads[who] = thread;
	g->maker[who] = g->who;
}

static void
end_worker(struct generator *g)
{
	int who = 1 + (int)draw(g, MAX_WORKERS - 1);

	if (!g->working[who] || who == g->who)
		return;
	g->who = g->maker[who];
	add(g, DO_END, who)->flags = (int)draw(g, NR_ENDS);
	g->working[who] = false;
}

/* A process that is not the first closes what it has of the stream. */
static void
close_one(struct generator *g)
{
	add(g, DO_CLOSE_DUP, 0);
	add(g, DO_CLOSE, (int)draw(g, NR_CLOSES));
	peer_of(g)->closed = true;
}

/* A thread of the first process; 0: there is none. */
static int
a_thread(struct generator *g)
{
	for (int who = 1; who < MAX_WORKERS; who++)
		if (g->working[who] && g->threads[who] && !g->maker[who])
			return who;
	return 0;
}

/* All that was unread is read, so that the next read waits. */
static void
read_all(struct generator *g)
{
	add(g, DO_NONBLOCK_FCNTL, 0);
	add(g, DO_RCVTIMEO, 0);
	add(g, DO_RCVLOWAT, 1);
	for (int i = 0; i * MAX_READ < MAX_BYTES; i++)
		add(g, DO_RECV, MAX_READ)->flags = MSG_DONTWAIT;
}

static void
wait_inside(struct generator *g)
{
	static const int ops[] = { DO_READ, DO_READV,   DO_RECV, DO_RECVMSG, DO_PREADV2,
				   DO_POLL, DO_PSELECT, DO_READ, DO_RECV };
	struct peer_state *peer = peer_of(g);
	int op = PICK(g, ops), others = 1 + (int)draw(g, 4), who = a_thread(g);
	struct step *step;

	if (!who || peer->ended || peer->gone || peer->sent > MAX_BYTES / 2)
		return;
	g->who = who;
	read_all(g);
	step = add(g, (enum op)op, op >= DO_POLL ? 0 : 1 + (int)draw(g, 3000));
	step->how = BLOCKED;
	step->flags = op >= DO_POLL ? POLLIN : 0;
	g->who = 0;
	for (int i = 0; i < others; i++)
		add_write(g, common_write(g), write_size(g));
	if (chance(g, 20))
		begin_worker(g);
	add(g, PEER_SENDS, 1 + (int)draw(g, 3000));
	peer->sent += g->p->steps[g->p->nr_steps - 1].n;
}

static void
pass_on(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (kind < 40) {
		add(g, DO_PASS, chance(g, 30));
	} else if (kind < 60) {
		add(g, chance(g, 60) ? DO_DUP : DO_CLOSE_DUP, (int)draw(g, 5));
	} else if (g->costly < MAX_COSTLY) {
		g->costly++;
		if (kind < 80)
			add(g, DO_EXEC, (int)draw(g, NR_EXECS));
		else
			add(g, DO_SPAWN, 1 + (int)draw(g, 900))->flags =
				(int)draw(g, NR_SPAWNS);
	}
}

void
generate_company(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (kind < 40)
		begin_worker(g);
	else if (kind < 48)
		wait_inside(g);
	else if (kind < 60)
		end_worker(g);
	else if (kind < 72)
		close_one(g);
	else if (!peer_of(g)->gone)
		pass_on(g);
}

void
generate_end(struct generator *g)
{
	if (g->theme == COMPANY && chance(g, 80))
		for (int who = MAX_WORKERS - 1; who > 0; who--) {
			if (!g->working[who])
				continue;
			g->who = g->maker[who];
			add(g, DO_END, who)->flags = (int)draw(g, NR_ENDS);
		}
	g->who = g->stream = 0;
	if (g->theme != READING && chance(g, 12))
		add(g, DO_DIE, (int)draw(g, NR_DIES));
	else
		add(g, DO_CLOSE, g->theme == READING ? 0 : (int)draw(g, NR_CLOSES));
}
