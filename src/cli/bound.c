#include "cli/bound.h"
#include "cli/cli.h"
#include "cli/proc.h"
#include "cli/text.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { BOUND_SLOT = R_X86_64_JUMP_SLOT, BOUND_GLOBAL = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { BOUND_SLOT = R_AARCH64_JUMP_SLOT, BOUND_GLOBAL = R_AARCH64_GLOB_DAT };
#else
enum { BOUND_SLOT = R_386_JMP_SLOT, BOUND_GLOBAL = R_386_GLOB_DAT };
#endif

#if __SIZEOF_POINTER__ == 8
#define REL_SYMBOL(info) ELF64_R_SYM(info)
#define REL_TYPE(info) ELF64_R_TYPE(info)
#else
#define REL_SYMBOL(info) ELF32_R_SYM(info)
#define REL_TYPE(info) ELF32_R_TYPE(info)
#endif

enum { MOST_PARTS = 64, MOST_DYNAMIC = 256, MOST_RELOCATIONS = 1 << 17 };

/* What moves a stream's bytes. */
static const char *const calls[] = { "write",    "writev",  "send",  "sendto",
				     "sendmsg",  "read",    "readv", "recv",
				     "recvfrom", "recvmsg", NULL };

struct mapping {
	uint64_t from, to, offset;
	char *path;
};

struct process {
	int memory;
	struct mapping *maps;
	int nr_maps;
};

static bool
get(const struct process *p, uint64_t at, void *out, size_t len)
{
	return at <= INT64_MAX && pread(p->memory, out, len, (off_t)at) == (ssize_t)len;
}

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool
is_libc(const char *path)
{
	return strncmp(base_name(path), "libc.so.", 8) == 0 ||
	       strncmp(base_name(path), "libc-2.", 7) == 0;
}

static bool
leads_to_libc(const struct process *p, uint64_t address)
{
	for (int i = 0; i < p->nr_maps; i++)
		if (address >= p->maps[i].from && address < p->maps[i].to)
			return is_libc(p->maps[i].path);
	return false;
}

/* The dynamic section of the library at `base`, as far as it is needed. */
struct tables {
	uint64_t symbols, strings;
	struct {
		uint64_t at, len;
	} relocations[2]; /* of calls bound late, and of all else */
};

/* The dynamic linker has made addresses of these; what it left alone counts from the base. */
static uint64_t
address(uint64_t base, uint64_t value)
{
	return value < base ? base + value : value;
}

static bool
find_dynamic(const struct process *p, uint64_t base, ElfW(Phdr) * dynamic)
{
	ElfW(Ehdr) head;
	bool first_found = false;
	uint64_t first = 0;
	bool found = false;

	*dynamic = (ElfW(Phdr)){ 0 };

	if (!get(p, base, &head, sizeof head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
	    head.e_phentsize != sizeof(ElfW(Phdr)) || head.e_phnum > MOST_PARTS)
		return false;
	for (int i = 0; i < head.e_phnum; i++) {
		ElfW(Phdr) part;

		if (!get(p, base + head.e_phoff + (uint64_t)i * sizeof part, &part,
			 sizeof part))
			return false;
		if (part.p_type == PT_LOAD && !first_found) {
			first = part.p_vaddr;
			first_found = true;
		} else if (part.p_type == PT_DYNAMIC) {
			*dynamic = part;
			found = true;
		}
	}
	/* A program that is no PIE has addresses in its file already. */
	if (found && first)
		dynamic->p_vaddr -= first & ~UINT64_C(0xfff);
	return found;
}

static bool
read_tables(const struct process *p, uint64_t base, struct tables *t)
{
	ElfW(Phdr) dynamic;
	ElfW(Dyn) entry;

	*t = (struct tables){ 0 };
	if (!find_dynamic(p, base, &dynamic))
		return false;
	for (uint64_t i = 0; i < MOST_DYNAMIC; i++) {
		if (!get(p, base + dynamic.p_vaddr + i * sizeof entry, &entry,
			 sizeof entry))
			return false;
		switch (entry.d_tag) {
		case DT_NULL:
			return t->symbols && t->strings;
		case DT_SYMTAB:
			t->symbols = address(base, entry.d_un.d_ptr);
			break;
		case DT_STRTAB:
			t->strings = address(base, entry.d_un.d_ptr);
			break;
		case DT_JMPREL:
			t->relocations[0].at = address(base, entry.d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			t->relocations[0].len = entry.d_un.d_val;
			break;
		case DT_RELA:
			t->relocations[1].at = address(base, entry.d_un.d_ptr);
			break;
		case DT_RELASZ:
			t->relocations[1].len = entry.d_un.d_val;
			break;
		default:
			break;
		}
	}
	return false;
}

/* The call that a relocation stands for, or NULL. */
static const char *
call_of(const struct process *p, const struct tables *t, const ElfW(Rela) * r)
{
	ElfW(Sym) symbol;
	char name[16] = "";

	if (REL_TYPE(r->r_info) != BOUND_SLOT && REL_TYPE(r->r_info) != BOUND_GLOBAL)
		return NULL;
	if (!get(p, t->symbols + REL_SYMBOL(r->r_info) * sizeof symbol, &symbol,
		 sizeof symbol) ||
	    !get(p, t->strings + symbol.st_name, name, sizeof name - 1))
		return NULL;
	for (int i = 0; calls[i]; i++)
		if (strcmp(calls[i], name) == 0)
			return calls[i];
	return NULL;
}

/* One call of the library at `base` that leads to libc, or NULL. */
static const char *
passes_by(const struct process *p, uint64_t base)
{
	const char *found = NULL;
	struct tables t;

	if (!read_tables(p, base, &t))
		return NULL;
	for (int i = 0; i < 2 && !found; i++) {
		uint64_t nr = t.relocations[i].len / sizeof(ElfW(Rela));
		ElfW(Rela) * all;

		if (!nr || nr > MOST_RELOCATIONS)
			continue;
		all = have(calloc(nr, sizeof *all));
		if (!get(p, t.relocations[i].at, all, nr * sizeof *all))
			nr = 0;
		for (uint64_t k = 0; k < nr && !found; k++) {
			const char *call = call_of(p, &t, &all[k]);
			ElfW(Addr) leads;

			/* A program that is no PIE has whole addresses here too. */
			if (call &&
			    get(p, address(base, all[k].r_offset), &leads,
				sizeof leads) &&
			    leads_to_libc(p, leads))
				found = call;
		}
		free(all);
	}
	return found;
}

static void
read_maps(pid_t pid, struct text *text, struct process *p)
{
	char *rest = NULL;
	int cap = 0;

	if (!proc_read(pid, "maps", text) || !text->at)
		return;
	for (char *line = strtok_r(text->at, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		struct mapping m = { .path = strchr(line, '/') };

		if (!m.path ||
		    sscanf(line, "%lx-%lx %*s %lx", &m.from, &m.to, &m.offset) != 3)
			continue;
		if (p->nr_maps == cap) {
			cap = cap ? 2 * cap : 64;
			p->maps = have(realloc(p->maps, (size_t)cap * sizeof *p->maps));
		}
		p->maps[p->nr_maps++] = m;
	}
}

int
bound_past(pid_t pid, void (*with)(const char *path, const char *call, void *arg),
	   void *arg)
{
	struct process p = { 0 };
	struct text maps = { 0 };
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
	p.memory = open(path, O_RDONLY | O_CLOEXEC);
	if (p.memory < 0)
		return -errno;
	read_maps(pid, &maps, &p);
	for (int i = 0; i < p.nr_maps; i++) {
		const struct mapping *m = &p.maps[i];
		const char *call;

		/* Ours calls libc, that is what it is for; libc itself calls itself. */
		if (m->offset || is_libc(m->path) ||
		    strcmp(base_name(m->path), "libweir.so") == 0)
			continue;
		call = passes_by(&p, m->from);
		if (call)
			with(m->path, call, arg);
	}
	free(p.maps);
	text_fini(&maps);
	close(p.memory);
	return 0;
}
