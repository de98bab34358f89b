#include "stream/evidence.h"

/* In how many writes was the reply made that is held? */
static uint64_t
writes_of_reply(const struct stream *s)
{
	return relaxed(stream_record(s)->flow[SENT].held_calls) -
	       stream_cold(s)->first_call + relaxed(s->left);
}

/* Did the application set TCP_NODELAY? Asked anew, for another process may have cleared it on the socket that
 * this one was accepted from; and in a section, for a push has it set for the length of its flight. */
static bool
has_nodelay(struct stream *s)
{
	if (!(relaxed(s->options) & OPTION_TCP))
		return false;
	stream_cold(s)->option_sets = relaxed(process->nr_option_sets) - 1;
	stream_ask_push(s);
	return relaxed(s->options) & OPTION_NODELAY;
}

bool
evidence_released(struct stream *s)
{
	bool goes = false;

	if (relaxed(s->second) != SECOND_UNKNOWN)
		return false;
	section_enter(s);
	/* Else the number may be another stream by now. */
	if (stream_held(s)) {
		/* Said first, then asked: so who clears it meanwhile is heard. */
		relaxed_set(s->second, SECOND_GOES);
		goes = writes_of_reply(s) <= 2 && has_nodelay(s);
		if (goes)
			relaxed_set(s->chatty, 0);
		else
			relaxed_set(s->second, SECOND_HELD);
	}
	section_leave(s);
	return goes;
}

void
evidence_delays(int fd)
{
	struct stream *s = stream_known(fd);

	if (s && relaxed(s->second) == SECOND_GOES)
		relaxed_set(s->second, SECOND_HELD);
}
