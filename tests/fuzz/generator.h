/* generator.h - what the parts of the generator share. Owns: a program while it is made. */
#ifndef FUZZ_GENERATOR_H
#define FUZZ_GENERATOR_H

#include "program.h"

/* What a program is mostly about. */
enum theme { READING, WRITING, COMPANY };

struct peer_state {
	int sent;    /* bytes of the peer so far */
	bool urgent; /* there was an urgent byte: more than one is not promised */
	bool ended;  /* the peer sends no more, */
	bool gone;   /* and is not there any more */
	bool shut;   /* the reader has ended its own half */
	bool closed; /* by a process: there may be nobody left */
};

struct generator {
	struct program *p;
	uint64_t random;
	enum theme theme;
	int waited;        /* time-outs so far, each a few ms */
	int costly;        /* steps that make processes so far */
	int stream, who;   /* of the steps being made */
	bool about_urgent; /* the program is about urgent data */
	bool interrupts;   /* some of its calls are interrupted */
	bool working[MAX_WORKERS], threads[MAX_WORKERS];
	int maker[MAX_WORKERS];
	struct peer_state peers[MAX_STREAMS];
};

uint32_t draw(struct generator *g, uint32_t below);
bool chance(struct generator *g, uint32_t percent);
struct step *add(struct generator *g, enum op op, int n);
int pick(struct generator *g, const int *from, size_t nr);

#define PICK(g, from) pick(g, from, sizeof(from) / sizeof *(from))

/* The peer's state of the stream that is being made steps for. */
struct peer_state *peer_of(struct generator *g);

/* A step of the peer's, or none. Groups of steps that write; that begin and end workers, pass and duplicate streams. */
void generate_peer(struct generator *g);
void generate_writes(struct generator *g);
void generate_company(struct generator *g);
/* Calls that are interrupted, each with the step that does it; and one that there is. */
void generate_interruptions(struct generator *g);
void generate_interruption(struct generator *g, struct step *step);
/* Every worker but the first ends, in most programs, and then the first. */
void generate_end(struct generator *g);

#endif
