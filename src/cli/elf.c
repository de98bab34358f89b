#include "cli/elf.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { OUR_MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { OUR_MACHINE = EM_AARCH64 };
#elif defined(__i386__)
enum { OUR_MACHINE = EM_386 };
#else
enum { OUR_MACHINE = EM_NONE }; /* unknown: no file is taken for ours */
#endif

enum {
	OUR_CLASS = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32,
	OUR_ORDER =
		__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB,
	MOST_HEADERS = 512, /* real programs have about a dozen */
	MOST_SECTIONS = 4096,
	MOST_ENTRIES = 4096, /* of the dynamic section */
};

struct file {
	int fd;
	ElfW(Ehdr) head;
	ElfW(Phdr) parts[MOST_HEADERS];
};

static bool
get(const struct file *f, uint64_t at, void *out, size_t len)
{
	return at <= INT64_MAX && pread(f->fd, out, len, (off_t)at) == (ssize_t)len;
}

/* The string at a place of the file, cut to what fits. */
static bool
get_string(const struct file *f, uint64_t at, char *out, size_t cap)
{
	ssize_t n = at <= INT64_MAX ? pread(f->fd, out, cap - 1, (off_t)at) : -1;

	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

/* Where in the file an address of the loaded program lies. */
static bool
file_place(const struct file *f, uint64_t address, uint64_t *at)
{
	for (int i = 0; i < f->head.e_phnum; i++) {
		const ElfW(Phdr) *p = &f->parts[i];

		if (p->p_type != PT_LOAD || address < p->p_vaddr ||
		    address - p->p_vaddr >= p->p_filesz)
			continue;
		*at = p->p_offset + (address - p->p_vaddr);
		return true;
	}
	return false;
}

static void
read_dynamic(const struct file *f, const ElfW(Phdr) * part, struct elf *elf)
{
	uint64_t strings = 0, needed[64];
	int nr_needed = 0;
	char name[64];
	ElfW(Dyn) entry;

	for (uint64_t i = 0; i < MOST_ENTRIES && i < part->p_filesz / sizeof entry;
	     i++) {
		if (!get(f, part->p_offset + i * sizeof entry, &entry, sizeof entry) ||
		    entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_STRTAB)
			strings = entry.d_un.d_ptr;
		else if (entry.d_tag == DT_NEEDED && nr_needed < 64)
			needed[nr_needed++] = entry.d_un.d_val;
	}
	if (!file_place(f, strings, &strings))
		return;
	for (int i = 0; i < nr_needed; i++)
		if (get_string(f, strings + needed[i], name, sizeof name) &&
		    strncmp(name, "liburing.so", 11) == 0)
			elf->uring = true;
}

/* Go's linker names its build ID note so; it stays when a program is stripped. */
static bool
go_note(const struct file *f, const ElfW(Phdr) * part)
{
	struct {
		ElfW(Nhdr) head;
		char name[4];
	} note;

	return part->p_filesz >= sizeof note &&
	       get(f, part->p_offset, &note, sizeof note) && note.head.n_namesz == 4 &&
	       memcmp(note.name, "Go\0", 4) == 0;
}

/* So does a section of its own, where C's linker did the last step. */
static bool
go_section(const struct file *f)
{
	ElfW(Shdr) names, section;
	char name[32];

	if (f->head.e_shentsize != sizeof section || f->head.e_shnum > MOST_SECTIONS ||
	    !get(f, f->head.e_shoff + (uint64_t)f->head.e_shstrndx * sizeof names,
		 &names, sizeof names))
		return false;
	for (int i = 0; i < f->head.e_shnum; i++)
		if (get(f, f->head.e_shoff + (uint64_t)i * sizeof section, &section,
			sizeof section) &&
		    get_string(f, names.sh_offset + section.sh_name, name, sizeof name) &&
		    (strcmp(name, ".go.buildinfo") == 0 ||
		     strcmp(name, ".note.go.buildid") == 0))
			return true;
	return false;
}

static int
read_parts(struct file *f, struct elf *elf)
{
	if (f->head.e_phentsize != sizeof *f->parts || f->head.e_phnum > MOST_HEADERS ||
	    !get(f, f->head.e_phoff, f->parts, f->head.e_phnum * sizeof *f->parts))
		return -EBADMSG;
	for (int i = 0; i < f->head.e_phnum; i++) {
		const ElfW(Phdr) *p = &f->parts[i];

		if (p->p_type == PT_INTERP)
			get_string(f, p->p_offset, elf->interpreter,
				   p->p_filesz < sizeof elf->interpreter
					   ? p->p_filesz + 1
					   : sizeof elf->interpreter);
		else if (p->p_type == PT_DYNAMIC)
			read_dynamic(f, p, elf);
		else if (p->p_type == PT_NOTE && go_note(f, p))
			elf->go = true;
	}
	elf->go = elf->go || go_section(f);
	return 0;
}

static int
read_file(struct file *f, struct elf *elf)
{
	const unsigned char *ident = f->head.e_ident;

	if (!get(f, 0, f->head.e_ident, SELFMAG) || memcmp(ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (!get(f, 0, f->head.e_ident, EI_NIDENT))
		return -EBADMSG;
	if (ident[EI_CLASS] != OUR_CLASS || ident[EI_DATA] != OUR_ORDER)
		return 0;
	if (!get(f, 0, &f->head, sizeof f->head))
		return -EBADMSG;
	if (f->head.e_machine != OUR_MACHINE)
		return 0;
	elf->ours = true;
	elf->shared = f->head.e_type == ET_DYN;
	return read_parts(f, elf);
}

int
elf_read(const char *path, struct elf *elf)
{
	static struct file f;
	struct stat st;
	int ret;

	*elf = (struct elf){ 0 };
	f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f.fd < 0)
		return -errno;
	ret = fstat(f.fd, &st) == 0 && S_ISREG(st.st_mode) ? read_file(&f, elf)
							   : -ENOEXEC;
	close(f.fd);
	return ret;
}
