/* The head of a request, which anybody who may connect to the metrics socket chooses. */
#include "metrics/answer.h"
#include "target.h"
#include <string.h>

/* As the server looks for it: after each piece, from where it has looked before. */
static size_t
end_in_pieces(const char *p, size_t len, size_t piece)
{
	size_t end = 0;

	for (size_t before = 0; !end && before < len; before += piece)
		end = request_end(p, before + piece < len ? before + piece : len,
				  before);
	return end;
}

static void
check_end(const char *p, size_t len)
{
	size_t end = request_end(p, len, 0);

	MUST(end <= len);
	MUST(!end || p[end - 1] == '\n');
	for (size_t piece = 1; piece < 6; piece++)
		MUST(end_in_pieces(p, len, piece) == end);
}

static void
check_plain(int status, bool head)
{
	struct out out = { 0 };

	answer_plain(&out, status, head);
	MUST(!out.failed && out.len > 15 && !memcmp(out.text, "HTTP/1.1 ", 9));
	MUST(atoi(out.text + 9) == status);
	out_free(&out);
}

static void
check_parsed(int status, const struct request *req)
{
	if (status != 200) {
		MUST(status == 400 || status == 404 || status == 405);
		check_plain(status, req->head);
		return;
	}
	MUST(req->document > DOC_NONE && req->document <= DOC_LIST);
	MUST(req->format == TEXT_PROMETHEUS || req->format == TEXT_OPENMETRICS);
	MUST(req->query.sort <= SORT_AGE && req->query.state <= STATE_CLOSED);
	MUST(answer_type(req) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct request req, again;
	char *head, *longer;
	size_t end;
	int status;

	if (len > HEAD_MAX)
		len = HEAD_MAX;
	/* No byte more than there is, so that a sanitizer sees who looks beyond. */
	head = malloc(len ? len : 1);
	memcpy(head, data, len);
	check_end(head, len);
	end = request_end(head, len, 0);
	head = realloc(head, end ? end : len + !len);
	status = request_parse(head, end ? end : len, &req);
	check_parsed(status, &req);

	/* What follows the head is none of it. */
	longer = malloc(len + 16);
	memcpy(longer, head, end ? end : len);
	memset(longer + (end ? end : len), 'A', 16);
	MUST(request_parse(longer, end ? end : len, &again) == status);
	MUST(again.head == req.head && again.document == req.document &&
	     again.format == req.format);
	free(longer);
	free(head);
	return 0;
}
