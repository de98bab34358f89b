#ifndef WEIR_METRICS_ANSWER_H
#define WEIR_METRICS_ANSWER_H
/* metrics/answer: what a request is answered with: documents rendered from one snapshot that
 * serves for a second, each once, however many clients ask for it.
 *
 * A body stays while a client has it and while its snapshot is the newest; one more place than
 * clients, so that there is always one to use. A large one goes when its snapshot is a second
 * old (answers_tidy()). Threads: the serving thread alone. */
#include "metrics/request.h"

enum { NR_BODIES = 17 };

struct body {
	struct out out;
	unsigned refs;
	struct request of;        /* what it answers, */
	uint64_t snapshot_number; /* and from what */
};

struct answers {
	struct snapshot snap;
	uint64_t listed_ns; /* when somebody last asked for the single streams; 0 never */
	struct body bodies[NR_BODIES];
};

/* The document that `req` asks for; NULL: no memory, or enough of it is in use. */
struct body *answer_get(struct answers *a, const struct request *req);
void answer_put(struct body *body);

/* Status line and headers. `body_len` is shown whether or not a body follows. */
void answer_head(struct out *out, int status, const char *type, size_t body_len);

/* A whole answer that needs no document: the status and its name as text. */
void answer_plain(struct out *out, int status, bool head);

const char *answer_type(const struct request *req);

/* Gives back what is large and of no more use, and the snapshot when nobody asks any more. Returns when to come again, 0: no need to. */
int64_t answers_tidy(struct answers *a, int64_t now_ns);
void answers_free(struct answers *a);
#endif
