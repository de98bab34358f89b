/*
 * model.h - what POSIX and Linux promise of one connection, as far as it is more than "the same
 * as natively": which calls would never return, how much a write certainly takes, when a stream
 * is certainly writable. Everything else that is promised is told by the native run, and the bytes
 * are told by their place in the flow (program_byte, program_back).
 *
 * Owns: nothing. Pure functions of what the flow has seen; the same in both runs of a program,
 * since a flow's `load` counts what was asked for, not what was taken.
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include "program.h"

/* What becomes of a write: it is taken whole; it is, if the peer reads meanwhile; some of it, or
 * none. */
enum room { TAKEN_WHOLE, PEER_MUST_READ, NO_PROMISE };

/* And counts what the step asks for. */
enum room model_room(struct flow *flow, const struct step *step);

/* The caller of such a step learns how much was taken. */
bool model_may_fall_short(const struct step *step);

/* The kernel's answer about writing is known, and the library's is the same. */
bool model_writable(const struct flow *flow);

/* What was written has certainly left the send buffer, so that a reset does not discard it. */
bool model_sent(const struct flow *flow);

/* Bytes that are certainly there to be read. An urgent one may have been skipped. */
int64_t model_unread(const struct flow *flow);

/* A read of `step` returns whatever the peer does. */
bool model_read_returns(const struct flow *flow, const struct step *step);

/* A read that timed out or returned less had to wait for that. */
bool model_read_short(const struct flow *flow, const struct step *step, long value,
		      int err);

#endif
