#include "stream/evidence.h"

bool
evidence_released(struct stream *s)
{
	bool goes = false;

	if (relaxed(s->second) != SECOND_UNKNOWN)
		return false;
	if (relaxed(s->options) & OPTION_TCP) {
		stream_ask_push(s);
		goes = relaxed(s->options) & OPTION_NODELAY;
	}
	relaxed_set(s->second, goes ? SECOND_GOES : SECOND_HELD);
	if (goes)
		relaxed_set(s->chatty, 0);
	return goes;
}

void
evidence_delays(int fd)
{
	struct stream *s = stream_known(fd);

	if (s && relaxed(s->second) == SECOND_GOES)
		relaxed_set(s->second, SECOND_HELD);
}
