/* interpose/vfork: vfork returns twice on one stack frame, so nothing may be left to do after it:
 * prepare (spawn.c), then jump to libc's. Who runs here afterwards, parent or child, each
 * thread's next hook finds out (base/self.h). */
	.text
	.globl	vfork
	.globl	__vfork
	.type	vfork, %function
	.type	__vfork, %function
	.p2align 4
vfork:
__vfork:
	.cfi_startproc
#if defined(__x86_64__)
	endbr64
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	before_vfork
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	jmp	*real_vfork(%rip)
#elif defined(__aarch64__)
	hint	#34	/* bti c */
	stp	x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	bl	before_vfork
	ldp	x29, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x29
	.cfi_restore x30
	adrp	x16, real_vfork
	ldr	x16, [x16, #:lo12:real_vfork]
	br	x16
#else
#error "vfork.S: this processor is not known"
#endif
	.cfi_endproc
	.size	vfork, . - vfork
	.size	__vfork, . - __vfork

#if defined(__x86_64__) && defined(__CET__)
#include <cet.h>
#endif
	.section .note.GNU-stack, "", %progbits
