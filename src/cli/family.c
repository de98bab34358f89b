#include "cli/family.h"
#include "cli/cli.h"
#include "cli/http.h"
#include "cli/proc.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double
json_figure(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

json_int_t
json_whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const char *
json_word(const json_t *object, const char *key)
{
	const char *word = json_string_value(json_object_get(object, key));

	return word ? word : "";
}

json_t *
json_path(const char *path)
{
	json_t *string = json_string(path);
	char *ascii;

	if (string)
		return string;
	ascii = have(strdup(path));
	for (char *c = ascii; *c; c++)
		if (*c & 0x80)
			*c = '?';
	string = json_string(ascii);
	free(ascii);
	return string;
}

int
json_out(const json_t *doc)
{
	if (json_dumpf(doc, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15)) < 0 ||
	    putchar('\n') == EOF || fflush(stdout) == EOF) {
		complain("cannot write: %s", strerror(errno));
		return END_FAILED;
	}
	return END_FINE;
}

/* The document, if it is an object of that schema (NULL: any). */
static json_t *
parse(const struct http_get *get, const char *schema)
{
	json_t *doc = get->error ? NULL : json_loadb(get->body, get->len, 0, NULL);

	if (!json_is_object(doc) ||
	    (schema && strcmp(json_word(doc, "schema"), schema) != 0)) {
		json_decref(doc);
		return NULL;
	}
	return doc;
}

static const char *
why(const struct http_get *get)
{
	switch (get->error) {
	case 0:
		return "what answers there is no weir of a kind that this command knows";
	case -EACCES:
	case -EPERM:
		return "no permission: ask as the server's user or as root";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EPROTO:
		return "what answers there speaks no HTTP";
	default:
		return strerror(-get->error);
	}
}

bool
family_is_gone(int error)
{
	return error == -ECONNREFUSED || error == -ENOENT || error == -ECONNRESET ||
	       error == -EPIPE;
}

bool
family_read(struct family *family, struct place *place, const struct http_get *get)
{
	json_t *doc = parse(get, "weir.metrics/1");
	json_int_t pid = json_whole(doc, "pid");

	if (!doc)
		return false;
	family->place = place;
	family->metrics = doc;
	family->program = json_word(doc, "program");
	family->pid = pid >= 1 && pid <= INT_MAX ? (pid_t)pid : 0;
	family->seen_pid = family->pid;
	if (get->peer && place->via && !proc_same_namespace(place->via, getpid(), "pid"))
		family->seen_pid = get->peer;
	return true;
}

/* Takes a place for a family if it answers. */
static void
meet(struct families *f, struct place *place, const struct http_get *get, bool loud)
{
	if (family_read(&f->at[f->nr], place, get)) {
		f->nr++;
	} else if (!family_is_gone(get->error)) {
		if (loud)
			complain("%s: %s", place->path, why(get));
		f->nr_unasked++;
	}
}

static struct http_get *
ask(const struct families *f, int nr, const char *target)
{
	struct http_get *gets = have(calloc((size_t)nr + 1, sizeof *gets));

	for (int i = 0; i < nr; i++) {
		gets[i].socket = f->nr ? f->at[i].place->fd : f->places.at[i].fd;
		gets[i].target = target;
	}
	http_run(gets, nr, FAMILY_TIMEOUT_MS);
	return gets;
}

static void
forget(struct http_get *gets, int nr)
{
	for (int i = 0; i < nr; i++)
		free(gets[i].body);
	free(gets);
}

static int
by_program_and_pid(const void *a, const void *b)
{
	const struct family *x = a, *y = b;
	int programs = strcmp(x->program, y->program);

	return programs ? programs
			: (x->seen_pid > y->seen_pid) - (x->seen_pid < y->seen_pid);
}

bool
family_has(const struct family *f, pid_t pid)
{
	pid_t own = proc_own_number(pid), via = f->place->via;
	json_t *process;
	size_t i;

	if (f->seen_pid == pid || via == pid)
		return true;
	/* The family's numbers are those of its own pid namespace. */
	if (!proc_same_namespace(via ? via : getpid(), pid, "pid"))
		return false;
	json_array_foreach(json_object_get(f->metrics, "processes"), i,
			   process) if (strcmp(json_word(process, "state"), "live") ==
						0 &&
					json_whole(process, "pid") == own) return true;
	return false;
}

/* Leaves those that fit. */
static void
choose(struct families *f, const char *target)
{
	long pid;
	bool is_pid = number_read(target, 1, 1L << 30, &pid);
	int nr = 0;

	for (int i = 0; i < f->nr; i++) {
		if (strcmp(f->at[i].program, target) == 0 ||
		    (is_pid && family_has(&f->at[i], (pid_t)pid)))
			f->at[nr++] = f->at[i];
		else
			json_decref(f->at[i].metrics);
	}
	f->nr = nr;
}

/* Who of the places answers. */
static void
meet_all(struct families *f, bool loud)
{
	int nr = f->places.nr;
	struct http_get *gets;

	f->at = have(calloc((size_t)nr + 1, sizeof *f->at));
	gets = ask(f, nr, "/metrics.json");
	for (int i = 0; i < nr; i++)
		meet(f, &f->places.at[i], &gets[i], loud);
	forget(gets, nr);
	qsort(f->at, (size_t)f->nr, sizeof *f->at, by_program_and_pid);
}

void
families_find(struct families *f, bool loud)
{
	places_find(&f->places, NULL);
	meet_all(f, loud);
}

int
families_open(struct families *f, const char *target)
{
	bool is_path = target && strchr(target, '/');
	int error = is_path ? places_add(&f->places, target) : 0;

	if (error) {
		complain("%s: %s", target,
			 error == -ENOTSOCK ? "this is no socket" : strerror(-error));
		return error == -EACCES ? END_FAILED : END_NOTHING;
	}
	if (is_path)
		meet_all(f, true);
	else
		families_find(f, true);
	if (target && !is_path)
		choose(f, target);
	if (f->nr)
		return END_FINE;
	if (is_path && f->nr_unasked)
		return END_FAILED;
	if (target)
		complain(is_path ? "%s: nobody listens there"
				 : "no family fits %s; see weir ps",
			 target);
	else
		complain("no family found; start a server with weir run");
	return END_NOTHING;
}

void
families_close(struct families *f)
{
	for (int i = 0; i < f->nr; i++)
		json_decref(f->at[i].metrics);
	free(f->at);
	places_fini(&f->places);
	*f = (struct families){ 0 };
}

void
families_ask(const struct families *f, const char *target, json_t **docs)
{
	struct http_get *gets = ask(f, f->nr, target);

	for (int i = 0; i < f->nr; i++)
		docs[i] = parse(&gets[i], NULL);
	forget(gets, f->nr);
}

void
families_ask_text(const struct families *f, const char *target, char **texts)
{
	struct http_get *gets = ask(f, f->nr, target);

	for (int i = 0; i < f->nr; i++) {
		texts[i] = NULL;
		if (gets[i].error)
			continue;
		texts[i] = gets[i].body;
		gets[i].body = NULL;
	}
	forget(gets, f->nr);
}

void
families_refresh(struct families *f)
{
	json_t **docs = have(calloc((size_t)f->nr + 1, sizeof(json_t *)));
	int nr = 0;

	families_ask(f, "/metrics.json", docs);
	for (int i = 0; i < f->nr; i++) {
		json_decref(f->at[i].metrics);
		if (!docs[i])
			continue;
		f->at[nr] = f->at[i];
		f->at[nr].metrics = docs[i];
		f->at[nr++].program = json_word(docs[i], "program");
	}
	f->nr = nr;
	free(docs);
}
