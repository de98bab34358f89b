/* interpose/jump: a signal handler may leave by longjmp what it interrupted, a section of the
 * library included. The section is settled first, because nobody will come back to it. */
#include "interpose/entry.h"
#include "stream/section.h"

void
longjmp(struct __jmp_buf_tag env[1], int value)
{
	real_ready();
	section_settle();
	real.longjmp(env, value);
	__builtin_unreachable();
}

void
_longjmp(struct __jmp_buf_tag env[1], int value)
{
	real_ready();
	section_settle();
	real._longjmp(env, value);
	__builtin_unreachable();
}

void
siglongjmp(sigjmp_buf env, int value)
{
	real_ready();
	section_settle();
	real.siglongjmp(env, value);
	__builtin_unreachable();
}

void
__longjmp_chk(struct __jmp_buf_tag *env, int value)
{
	real_ready();
	section_settle();
	real.__longjmp_chk(env, value);
	__builtin_unreachable();
}
