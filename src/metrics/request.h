#ifndef WEIR_METRICS_REQUEST_H
#define WEIR_METRICS_REQUEST_H
/* metrics/request: the head of an HTTP/1.x request, from bytes that may be anything.
 *
 * Understood are GET and HEAD, targets in origin and absolute form, Accept, and the query of
 * /streams. Source: RFC 9112. A line may end in a bare LF.
 * Threads: any, no state. */
#include "metrics/json.h"
#include "metrics/text.h"

enum { HEAD_MAX = 8192 };

enum document {
	DOC_NONE,
	DOC_METRICS,
	DOC_JSON,
	DOC_STREAMS,
	DOC_POOL,
	DOC_HEALTH,
	DOC_LIST
};

struct request {
	bool head; /* HEAD: the answer has no body */
	enum document document;
	enum text_format format;   /* of DOC_METRICS */
	struct stream_query query; /* of DOC_STREAMS */
};

/* Length of the head with its empty line, or 0: incomplete. `from`: bytes that were searched
 * before. */
size_t request_end(const char *p, size_t len, size_t from);

/* 200, or the status to refuse it with: 400, 404 or 405. */
int request_parse(const char *head, size_t len, struct request *req);
#endif
