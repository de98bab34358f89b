#ifndef WEIR_CLI_FAMILY_H
#define WEIR_CLI_FAMILY_H
/* cli/family: the families found, what they are asked, and what fits a TARGET.
 *
 * A family is who answered /metrics.json with the schema that is known. A place where nobody
 * listens is no family; one that cannot be asked (no permission, no answer in time) costs one
 * line on stderr. */
#include "cli/find.h"
#include <jansson.h>

struct http_get;

enum { FAMILY_TIMEOUT_MS = 2000 };

struct family {
	struct place *place; /* in `places` of its families */
	json_t *metrics;     /* /metrics.json, the last that came */
	const char *program; /* in `metrics` */
	pid_t pid;           /* of its first process, as it numbers itself */
	pid_t seen_pid; /* the same where its pid namespace is ours; else who listens, as
	                       * we number it */
};

struct families {
	struct family *at;
	int nr;
	int nr_unasked; /* sockets that could not be asked */
	struct places places;
};

/* All of them. Those that cannot be asked are named on stderr if `loud`. */
void families_find(struct families *, bool loud);

/* The families that fit `target` (a pid, a program's name, a socket's path; NULL: all), ordered
 * by program and pid. END_FINE; END_NOTHING, or END_FAILED where a socket that was named cannot
 * be asked, after one line on stderr. */
int families_open(struct families *, const char *target);

void families_close(struct families *);

/* Makes a family of what `place` answered to /metrics.json; false: it is none. `metrics` is then
 * the family's, to be given back with json_decref(). */
bool family_read(struct family *, struct place *place, const struct http_get *get);

/* True of the error of an answer that says: nobody listens, or who did ended meanwhile. */
bool family_is_gone(int error);

/* True if the process, by the number it has here, is a living one of the family. */
bool family_has(const struct family *, pid_t pid);

/* Asks all of them for a document at once. docs[i] is what family i answered, or NULL: JSON to
 * be given back with json_decref(). */
void families_ask(const struct families *, const char *target, json_t **docs);

/* Likewise for text: to be freed. */
void families_ask_text(const struct families *, const char *target, char **texts);

/* Asks for /metrics.json again; who does not answer is no longer among them. */
void families_refresh(struct families *);

/* Numbers and strings of an untrusted document: 0 or "" where there is none of that kind. */
double json_figure(const json_t *object, const char *key);
json_int_t json_whole(const json_t *object, const char *key);
const char *json_word(const json_t *object, const char *key);

/* A path as a string; what is no UTF-8 in it becomes '?', which JSON cannot say otherwise. */
json_t *json_path(const char *path);

/* One document on stdout with a line's end. END_FINE, or END_FAILED if that cannot be written. */
int json_out(const json_t *doc);
#endif
