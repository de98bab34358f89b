/* What the peer does. */
#include "generator.h"

static int
send_size(struct generator *g)
{
	int kind = (int)draw(g, 100), n;

	if (kind < 35 || g->about_urgent)
		n = 1 + (int)draw(g, 200);
	else if (kind < 75)
		n = 200 + (int)draw(g, 3000);
	else if (kind < 92)
		n = 3000 + (int)draw(g, 12000);
	else
		n = 10000 + (int)draw(g, MAX_BYTES - 10000);
	return n < MAX_BYTES - peer_of(g)->sent ? n : MAX_BYTES - peer_of(g)->sent;
}

static void
peer_sends(struct generator *g)
{
	int n = send_size(g);
	struct step *step;

	if (n <= 0)
		return;
	step = add(g, PEER_SENDS, n);
	step->pieces = (uint8_t)(chance(g, 60) ? 1 : 1 + draw(g, MAX_PIECES));
	peer_of(g)->sent += n;
}

/* A peer that said its last word may still read, and go. */
static void
peer_ends(struct generator *g)
{
	int kind = (int)draw(g, 100);

	if (kind < 40) {
		if (!peer_of(g)->ended)
			add(g, PEER_HALF_CLOSES, 0);
		peer_of(g)->ended = true;
	} else if (kind < 55) {
		add(g, PEER_READS, 0);
	} else if (kind < 90) {
		add(g, kind < 72 ? PEER_CLOSES : PEER_RESETS, 0);
		peer_of(g)->ended = peer_of(g)->gone = true;
	}
}

void
generate_peer(struct generator *g)
{
	int kind = (int)draw(g, 100), first = g->p->nr_steps;

	if (peer_of(g)->gone)
		return;
	if (kind >= 91 || peer_of(g)->ended) {
		peer_ends(g);
	} else if (kind < (g->about_urgent ? 50 : 80) || peer_of(g)->urgent) {
		peer_sends(g);
	} else if (kind < 86) {
		add(g, PEER_SENDS_URGENT, 1);
		peer_of(g)->sent++;
		peer_of(g)->urgent = true;
	} else {
		add(g, PEER_READS, 0);
	}
	if (g->p->nr_steps > first && chance(g, 60))
		g->p->steps[first].flags = FLAG_UNSEEN;
}
