/* interpose/jump: a signal handler may leave by longjmp what it interrupted, a section of the
 * library included. That is put right first, because nobody will come back to it. */
#include "interpose/entry.h"

void
longjmp(struct __jmp_buf_tag env[1], int value)
{
	real_ready();
	life_jump();
	real.longjmp(env, value);
	__builtin_unreachable();
}

void
_longjmp(struct __jmp_buf_tag env[1], int value)
{
	real_ready();
	life_jump();
	real._longjmp(env, value);
	__builtin_unreachable();
}

void
siglongjmp(sigjmp_buf env, int value)
{
	real_ready();
	life_jump();
	real.siglongjmp(env, value);
	__builtin_unreachable();
}

void
__longjmp_chk(struct __jmp_buf_tag *env, int value)
{
	real_ready();
	life_jump();
	real.__longjmp_chk(env, value);
	__builtin_unreachable();
}
