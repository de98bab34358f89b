/* weir check: can a program be watched; is a process watched, and what is not seen of it. */
#include "cli/bound.h"
#include "cli/cli.h"
#include "cli/family.h"
#include "cli/proc.h"
#include "cli/program.h"
#include "cli/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <limits.h>
#include <stdarg.h>
#include <unistd.h>

/* What is said of one program or process: why not, what is not seen, and why streams were left
 * alone. Each a list of {"reason": ..., "text": ...}. */
struct report {
	bool watched;
	json_t *reasons, *hidden, *bypassed;
	const char *path;   /* of the program; "" if unknown */
	const char *socket; /* of the family; "" if there is none */
};

static void say(json_t *list, const char *reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void
say(json_t *list, const char *reason, const char *format, ...)
{
	struct text text = { 0 };
	va_list args;

	va_start(args, format);
	text_vadd(&text, format, args);
	va_end(args);
	json_array_append_new(list, json_pack("{s:s, s:o}", "reason", reason, "text",
					      json_path(text_string(&text))));
	text_fini(&text);
}

/* Why a stream is left alone, in the words of people. */
static const struct {
	const char *reason, *text;
} bypasses[] = {
	{ "no_record", "the server has more streams open than can be counted" },
	{ "memory", "there was no memory for the table of descriptors" },
	{ "thread", "the keeper thread could not be started, so nothing may be held" },
	{ "shared",
	  "another process has the connection too (passed, or kept over an exec): "
	  "open sockets with SOCK_CLOEXEC" },
	{ "foreign_reader", "somebody else read from the connection" },
	{ "seccomp",
	  "the process entered a sandbox, where no further calls may be made" },
	{ "io_uring", "the process set up io_uring, which passes the library by" },
	{ "zerocopy", "the socket has SO_ZEROCOPY or zero-copy receive" },
	{ "urgent", "urgent data was used" },
	{ "dup", "the descriptor was duplicated (dup, fdopen)" },
	{ "other", "kernel TLS, TCP_REPAIR or SO_PEEK_OFF is in use" },
};

/* ---- a process that maps the library ---- */

static void
passed_by(const char *path, const char *call, void *arg)
{
	say(arg, "deepbind",
	    "%s calls libc's %s itself, as it was loaded with RTLD_DEEPBIND: what it writes is "
	    "not seen, and could overtake what is held",
	    path, call);
}

static void
note_uring(const char *target, void *arg)
{
	int *nr = arg;

	*nr += strcmp(target, "anon_inode:[io_uring]") == 0;
}

static void
find_hidden(pid_t pid, struct report *r)
{
	int nr_rings = 0, error = bound_past(pid, passed_by, r->hidden);

	if (error)
		say(r->hidden, "unknown", "which libraries pass by cannot be told: %s",
		    strerror(-error));
	proc_descriptors(pid, note_uring, &nr_rings);
	if (nr_rings)
		say(r->hidden, "io_uring",
		    "it has %d io_uring open: what it sends and receives that way is not seen",
		    nr_rings);
}

/* Streams that are left alone, by reason: how many of the process, which calls itself `pid`, are
 * open, and how many its family ever had. */
static void
find_bypassed(pid_t pid, const struct family *f, json_t *streams, struct report *r)
{
	json_t *counts =
		json_object_get(json_object_get(f->metrics, "errors"), "bypassed");
	json_t *stream;
	size_t i;

	for (size_t k = 0; k < sizeof bypasses / sizeof *bypasses; k++) {
		const char *reason = bypasses[k].reason;
		json_int_t ever = json_whole(counts, reason);
		int nr = 0;

		json_array_foreach(json_object_get(streams, "streams"), i, stream) nr +=
			strcmp(json_word(stream, "bypassReason"), reason) == 0 &&
			json_whole(stream, "pid") == pid;
		if (ever || nr)
			json_array_append_new(
				r->bypassed, json_pack("{s:s, s:i, s:I, s:s}", "reason",
						       reason, "open", nr, "ever", ever,
						       "text", bypasses[k].text));
	}
}

static bool
is_disabled(pid_t pid)
{
	struct text value = { 0 };
	bool off = proc_variable(pid, "STREAM_ENABLED", &value) &&
		   is_off(text_string(&value));

	text_fini(&value);
	return off;
}

static void
say_no_socket(pid_t pid, struct report *r)
{
	struct text value = { 0 };

	if (proc_variable(pid, "STREAM_METRICS_SOCKET", &value) &&
	    strcmp(text_string(&value), "off") == 0)
		say(r->hidden, "no_socket",
		    "STREAM_METRICS_SOCKET is off: there are no figures");
	else
		say(r->hidden, "no_socket",
		    "it has no metrics socket that answers: either it opened no stream so far, or "
		    "STREAM_PROGRAMS leaves it out");
	text_fini(&value);
}

/* The library is there: is it at work? */
static void
look_inside(pid_t pid, const struct families *families, struct report *r)
{
	json_t **docs;

	find_hidden(pid, r);
	if (is_disabled(pid)) {
		say(r->reasons, "disabled", "STREAM_ENABLED is off in its environment");
		return;
	}
	r->watched = true;
	for (int i = 0; i < families->nr; i++) {
		if (!family_has(&families->at[i], pid))
			continue;
		docs = have(calloc((size_t)families->nr, sizeof(json_t *)));
		families_ask(families, "/streams?state=open", docs);
		find_bypassed(proc_own_number(pid), &families->at[i], docs[i], r);
		for (int k = 0; k < families->nr; k++)
			json_decref(docs[k]);
		free(docs);
		r->socket = families->at[i].place->path;
		return;
	}
	say_no_socket(pid, r);
}

/* ---- a process that does not ---- */

/* What LD_PRELOAD says, and whether that file is there for the process. */
static void
look_at_preload(pid_t pid, struct report *r)
{
	struct text value = { 0 }, path = { 0 };
	char *rest = NULL, *named = NULL;
	const char *slash;

	proc_variable(pid, "LD_PRELOAD", &value);
	for (char *s = value.at ? strtok_r(value.at, ": ", &rest) : NULL; s;
	     s = strtok_r(NULL, ": ", &rest)) {
		slash = strrchr(s, '/');
		if (strcmp(slash ? slash + 1 : s, "libweir.so") == 0)
			named = s;
	}
	if (!named) {
		say(r->reasons, "not_preloaded",
		    "LD_PRELOAD did not name the library when it was started: start it with weir "
		    "run");
	} else {
		text_add(&path, "/proc/%d/root%s", (int)pid, named);
		if (*named == '/' && !strchr(named, '$') &&
		    access(text_string(&path), F_OK) < 0)
			say(r->reasons, "not_there",
			    "%s does not exist where it runs: bring the library into its "
			    "container or root directory",
			    named);
		else if (!proc_same_namespace(pid, getpid(), "mnt"))
			say(r->reasons, "own_libc",
			    "the dynamic linker of its container refused %s: the container's own "
			    "libc may be older than the library's, so build the library there",
			    named);
		else
			say(r->reasons, "refused",
			    "the dynamic linker refused %s: it said why on stderr; an AppArmor "
			    "profile or a file system mounted noexec does that too",
			    named);
	}
	text_fini(&value);
	text_fini(&path);
}

static void
look_outside(pid_t pid, struct report *r)
{
	struct text why = { 0 };
	char exe[32];
	unsigned long secure = 0;
	bool uring;
	enum obstacle obstacle;

	snprintf(exe, sizeof exe, "/proc/%d/exe", (int)pid);
	obstacle = program_obstacle(exe, *r->path ? r->path : exe, &why, &uring);
	if (obstacle != OBSTACLE_NONE)
		say(r->reasons, obstacle_names[obstacle], "%s", text_string(&why));
	else if (proc_auxiliary(pid, AT_SECURE, &secure) && secure)
		say(r->reasons, "secure",
		    "it was started with other rights than its parent's (set-user-ID, "
		    "capabilities or a security module), so nothing was preloaded");
	else
		look_at_preload(pid, r);
	text_fini(&why);
}

/* ---- the verb ---- */

static void
print_list(const json_t *list, const char *title)
{
	struct text line = { 0 };
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		text_clear(&line);
		text_escape(&line, json_word(entry, "text"));
		printf("  %s %s: %s\n", title, json_word(entry, "reason"),
		       text_string(&line));
	}
	text_fini(&line);
}

static void
print_bypassed(const json_t *list)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		printf("  bypassed %s: %.0f streams so far, %.0f of this process open: %s\n",
		       json_word(entry, "reason"), json_figure(entry, "ever"),
		       json_figure(entry, "open"), json_word(entry, "text"));
	}
}

static int
finish(struct report *r, const char *target, long pid, bool json)
{
	struct text name = { 0 };
	int ret = r->watched ? END_FINE : END_FAILED;

	if (json) {
		json_t *doc = json_pack(
			"{s:o, s:o, s:o, s:b, s:o, s:O, s:O, s:O}", "target",
			json_path(target), "pid", pid ? json_integer(pid) : json_null(),
			"program", json_path(r->path), "watched", r->watched, "socket",
			json_path(r->socket), "reasons", r->reasons, "hidden",
			r->hidden, "bypassed", r->bypassed);

		if (json_out(doc) != END_FINE)
			ret = END_FAILED;
		json_decref(doc);
	} else {
		text_escape(&name, target);
		if (*r->path && strcmp(r->path, target) != 0) {
			text_add(&name, " (");
			text_escape(&name, r->path);
			text_add(&name, ")");
		}
		if (*r->socket) {
			text_add(&name, ", ");
			text_escape(&name, r->socket);
		}
		printf("%s: %s\n", text_string(&name),
		       r->watched ? (pid ? "watched" : "can be watched")
				  : (pid ? "not watched" : "cannot be watched"));
		print_list(r->reasons, "because");
		print_list(r->hidden, "not seen");
		print_bypassed(r->bypassed);
		text_fini(&name);
	}
	return ret;
}

static void
forget(struct report *r)
{
	json_decref(r->reasons);
	json_decref(r->hidden);
	json_decref(r->bypassed);
}

static int
check_process(pid_t pid, const char *target, bool json)
{
	struct report r = { false, json_array(), json_array(), json_array(), "", "" };
	struct families families = { 0 };
	struct text maps = { 0 };
	char exe[PATH_MAX];
	int ret;

	if (proc_link(pid, "exe", exe, sizeof exe))
		r.path = exe;
	if (!proc_exists(pid)) {
		complain("check: there is no process %d", (int)pid);
		ret = END_NOTHING;
	} else {
		if (!*r.path || !proc_read(pid, "maps", &maps)) {
			say(r.reasons, "permission",
			    "it may not be looked at: ask as its user or as root");
		} else if (proc_maps(pid, "libweir.so")) {
			families_find(&families, false);
			look_inside(pid, &families, &r);
		} else {
			look_outside(pid, &r);
		}
		ret = END_FINE;
	}
	text_fini(&maps);
	if (ret == END_FINE)
		ret = finish(&r, target, pid, json);
	forget(&r);
	families_close(&families);
	return ret;
}

static int
check_program(const char *name, bool json)
{
	struct report r = { false, json_array(), json_array(), json_array(), "", "" };
	struct program program;
	int ret;

	program_look(name, &program);
	r.path = program.path ? program.path : "";
	if (program.obstacle == OBSTACLE_MISSING) {
		complain("check: %s", text_string(&program.why));
		ret = END_NOTHING;
	} else {
		r.watched = program.obstacle == OBSTACLE_NONE;
		if (!r.watched)
			say(r.reasons, obstacle_names[program.obstacle], "%s",
			    text_string(&program.why));
		if (program.uring)
			say(r.hidden, "io_uring",
			    "it uses liburing: what it sends that way is not seen");
		ret = finish(&r, name, 0, json);
	}
	forget(&r);
	program_fini(&program);
	return ret;
}

static int
run_check(int argc, char **argv)
{
	bool json = false;
	long pid;
	int nr = options_read(&verb_check, argc, argv, &json, NULL);

	if (nr < 0)
		return -1 - nr;
	if (nr < 1)
		return usage(&verb_check);
	if (number_read(argv[1], 1, INT_MAX, &pid))
		return check_process((pid_t)pid, argv[1], json);
	return check_program(argv[1], json);
}

const struct verb verb_check = {
	"check",
	"[-j|--json] [--] COMMAND [ARGUMENT...] | PID",
	"say whether a program can be watched, or a process is",
	"COMMAND: whether the library can be preloaded into it, and if not why; a script is\n"
	"what runs it. PID: whether the library is at work there; if not why; what of it is\n"
	"not seen (libraries loaded with RTLD_DEEPBIND, io_uring); and why streams of it\n"
	"were left alone.\n"
	"\n"
	"  -j, --json   {target, pid, program, watched, socket, reasons, hidden, bypassed}\n"
	"\n"
	"Exit status: 0 yes, 1 no, 3 there is no such program or process.\n",
	true,
	run_check
};
