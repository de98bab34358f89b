#ifndef WEIR_CLI_ELF_H
#define WEIR_CLI_ELF_H
/* cli/elf: what an ELF file says of how it is started. Files are not trusted: nothing is read
 * that the file does not have. */
#include <limits.h>
#include <stdbool.h>

struct elf {
	bool ours; /* word size and machine are this command's; else nothing below is set */
	bool shared; /* a library, or a program that can be loaded anywhere */
	bool go;     /* it has what Go's linker leaves */
	bool uring;  /* it needs liburing */
	char interpreter[PATH_MAX]; /* the dynamic linker; "" where the program is static */
};

/* 0; -ENOEXEC: this is no ELF file; -EBADMSG: it is a damaged one; -errno. */
int elf_read(const char *path, struct elf *elf);
#endif
