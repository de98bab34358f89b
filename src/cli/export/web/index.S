/* The page that weir export answers at /, as it lies in the sources. */
	.section .rodata
	.globl	web_page
	.hidden	web_page
	.globl	web_page_end
	.hidden	web_page_end
web_page:
	.incbin	"cli/export/web/index.html"
web_page_end:
	.byte	0

	.section .note.GNU-stack, "", %progbits
