#include "cli/export/exposition.h"
#include "cli/export/billionths.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_METRICS = 500,
	MOST_LABELS = 8,
	MOST_NAME = 128,
	MOST_VALUE = 256, /* of a label */
	MOST_HELP = 512
};

static const char *const suffixes[] = { "_bucket", "_sum", "_count", "" };

struct reader {
	struct exposition *exposition;
	int current;    /* the metric whose samples may come; -1: none yet */
	bool typed;     /* it has its TYPE */
	bool ours;      /* it is the library's */
	int nr_samples; /* of it */
};

/* ---- words ---- */

/* The length of the name at `s`, 0: there is none, or too long a one. */
static size_t
name_length(const char *s, bool colons)
{
	size_t len = 0;

	while (isalpha((unsigned char)s[len]) || s[len] == '_' ||
	       (colons && s[len] == ':') || (len && isdigit((unsigned char)s[len])))
		len++;
	return len <= MOST_NAME ? len : 0;
}

static bool
ends_in(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return len > end && strcmp(name + len - end, suffix) == 0;
}

static bool
is_ours(const char *name)
{
	return strcmp(name, "process_start_time_seconds") == 0 ||
	       (strncmp(name, "weir_", 5) == 0 &&
		strncmp(name, "weir_export_", 12) != 0);
}

/* ---- HELP and TYPE ---- */

/* The metric that a comment is about: the one that begins here, or one that began just before. */
static bool
begin_metric(struct reader *r, char *name)
{
	struct exposition *e = r->exposition;

	if (r->current >= 0 && strcmp(e->metrics[r->current].name, name) == 0)
		return !r->nr_samples && !r->typed;
	for (int i = 0; i < e->nr_metrics; i++)
		if (strcmp(e->metrics[i].name, name) == 0)
			return false;
	if (e->nr_metrics == MOST_METRICS)
		return false;
	r->current = e->nr_metrics++;
	r->typed = false;
	r->ours = is_ours(name);
	r->nr_samples = 0;
	e->metrics[r->current] = (struct metric){ name, "", TYPE_GAUGE, "" };
	return true;
}

/* What a metric's name says of its type must be so: then no two metrics have one sample's name. */
static bool
type_read(struct reader *r, const char *word)
{
	static const char *const words[] = { "counter", "gauge", "histogram" };
	static const char *const taken[] = { "_bucket", "_sum", "_count", "_created",
					     "_total" };
	struct metric *m = &r->exposition->metrics[r->current];
	int type = 0;

	while (type < 3 && strcmp(words[type], word) != 0)
		type++;
	if (type == 3)
		return !r->ours; /* of another's, whatever it is */
	m->type = (enum metric_type)type;
	if (!r->ours)
		return true;
	if (m->type == TYPE_COUNTER)
		return ends_in(m->name, "_total");
	for (int i = 0; i < 5; i++)
		if (ends_in(m->name, taken[i]))
			return false;
	return true;
}

/* What both formats write alike. */
static bool
is_help(const char *s)
{
	if (strlen(s) > MOST_HELP || strchr(s, '"'))
		return false;
	for (; *s; s++)
		if (*s == '\\' && *++s != '\\' && *s != 'n')
			return false;
	return true;
}

/* "# HELP name text", "# TYPE name type"; anything else is a comment. */
static bool
comment_read(struct reader *r, char *line)
{
	bool help = strncmp(line, "# HELP ", 7) == 0;
	char *name = line + 7, *rest;
	size_t len;

	if (!help && strncmp(line, "# TYPE ", 7) != 0)
		return true;
	len = name_length(name, true);
	rest = name + len;
	if (!len || (*rest != ' ' && !(help && !*rest)))
		return false;
	if (*rest)
		*rest++ = '\0';
	if (!begin_metric(r, name))
		return false;
	if (help) {
		r->exposition->metrics[r->current].help = rest;
		return is_help(rest);
	}
	r->typed = true;
	return type_read(r, rest);
}

/* ---- samples ---- */

struct label {
	const char *name, *value;
	size_t name_len, value_len;
};

static int
by_name(const void *a, const void *b)
{
	const struct label *x = a, *y = b;
	int order = memcmp(x->name, y->name,
			   x->name_len < y->name_len ? x->name_len : y->name_len);

	return order ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static bool
label_is(const struct label *l, const char *name)
{
	return l->name_len == strlen(name) && memcmp(l->name, name, l->name_len) == 0;
}

/* The one at *s, and what is behind it. */
static bool
label_read(char **s, struct label *l)
{
	static const char *const added[] = { "program", "pid", "socket" };

	*l = (struct label){ .name = *s, .name_len = name_length(*s, false) };
	*s += l->name_len;
	if (!l->name_len || strncmp(l->name, "__", 2) == 0 || strncmp(*s, "=\"", 2) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (label_is(l, added[i]))
			return false;
	l->value = *s += 2;
	for (; **s != '"'; ++*s) {
		if (**s == '\\' && *++*s != '\\' && **s != '"' && **s != 'n')
			return false;
		if (!**s)
			return false;
	}
	l->value_len = (size_t)(*s - l->value);
	++*s;
	return l->value_len <= MOST_VALUE;
}

/* Without le's name and quotes there is room for both and their ends where they were read. */
static bool
labels_sorted(struct label *labels, int nr, char *out, struct sample *sample)
{
	struct text sorted = { 0 };
	const struct label *le = NULL;

	qsort(labels, (size_t)nr, sizeof *labels, by_name);
	for (int i = 1; i < nr; i++)
		if (by_name(&labels[i - 1], &labels[i]) == 0)
			return false;
	for (int i = 0; i < nr; i++)
		if (label_is(&labels[i], "le"))
			le = &labels[i];
		else
			text_add(&sorted, "%s%.*s=\"%.*s\"", sorted.len ? "," : "",
				 (int)labels[i].name_len, labels[i].name,
				 (int)labels[i].value_len, labels[i].value);
	sample->labels = out;
	sample->le = out + sorted.len;
	if (le) {
		text_bytes(&sorted, "", 1);
		sample->le++;
		text_bytes(&sorted, le->value, le->value_len);
	}
	memcpy(out, text_string(&sorted), sorted.len + 1);
	text_fini(&sorted);
	return true;
}

/* Behind the '{' before s. What is behind the '}'; NULL: these are no labels. */
static char *
labels_read(char *s, struct sample *sample)
{
	struct label labels[MOST_LABELS] = { 0 };
	char *begin = s;
	int nr = 0;

	while (*s != '}') {
		if (nr == MOST_LABELS || !label_read(&s, &labels[nr++]))
			return NULL;
		if (*s == ',')
			s++;
		else if (*s != '}')
			return NULL;
	}
	return labels_sorted(labels, nr, begin, sample) ? s + 1 : NULL;
}

static bool
bound_read(struct sample *sample)
{
	char *end;

	if ((sample->part == PART_BUCKET) != (*sample->le != '\0'))
		return false;
	if (sample->part != PART_BUCKET)
		return true;
	if (strcmp(sample->le, "+Inf") == 0) {
		sample->bound = INFINITY;
		return true;
	}
	if (sample->le[strspn(sample->le, "0123456789.eE+-")])
		return false;
	sample->bound = strtod(sample->le, &end);
	return !*end && isfinite(sample->bound);
}

/* Which part of the current metric a sample of that name is. */
static bool
part_read(const struct reader *r, const char *name, enum part *part)
{
	const struct metric *m = &r->exposition->metrics[r->current];
	size_t len = strlen(m->name);
	int i = m->type == TYPE_HISTOGRAM ? PART_BUCKET : PART_VALUE;
	int last = m->type == TYPE_HISTOGRAM ? PART_COUNT : PART_VALUE;

	if (strncmp(name, m->name, len) != 0)
		return false;
	while (i <= last && strcmp(name + len, suffixes[i]) != 0)
		i++;
	*part = (enum part)i;
	return i <= last;
}

/* name{label="value",...} value */
static bool
sample_read(struct reader *r, char *line)
{
	struct exposition *e = r->exposition;
	struct sample sample = { .metric = r->current, .labels = "", .le = "" };
	char *rest = line + name_length(line, true), mark = *rest;

	if (r->current < 0 || !r->typed)
		return false;
	r->nr_samples++;
	if (!r->ours)
		return true;
	if (rest == line || (mark != '{' && mark != ' '))
		return false;
	*rest++ = '\0';
	if (!part_read(r, line, &sample.part))
		return false;
	if (mark == '{') {
		rest = labels_read(rest, &sample);
		if (!rest || *rest++ != ' ')
			return false;
	}
	if (e->nr_samples == MOST_SAMPLES || !bound_read(&sample) ||
	    !billionths_read(rest, &sample.value) ||
	    (sample.value < 0 && e->metrics[r->current].type != TYPE_GAUGE))
		return false;
	e->samples[e->nr_samples++] = sample;
	return true;
}

/* ---- all of it ---- */

static bool
is_utf8(const char *text, size_t len)
{
	json_t *string = json_stringn(text, len);

	json_decref(string);
	return string != NULL;
}

bool
exposition_read(struct exposition *e, char *text, size_t len)
{
	struct reader r = { .exposition = e, .current = -1 };

	*e = (struct exposition){ .text = text };
	if (!len || text[len - 1] != '\n' || memchr(text, '\0', len) ||
	    !is_utf8(text, len))
		return false;
	e->metrics = have(calloc(MOST_METRICS, sizeof *e->metrics));
	e->samples = have(calloc(MOST_SAMPLES, sizeof *e->samples));
	for (char *line = text, *end; line < text + len; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + len - line));
		*end = '\0';
		if (!*line)
			continue;
		if (*line == '#' ? !comment_read(&r, line) : !sample_read(&r, line))
			return false;
	}
	e->samples = have(
		realloc(e->samples, ((size_t)e->nr_samples + 1) * sizeof *e->samples));
	return exposition_settle(e);
}

void
exposition_fini(struct exposition *e)
{
	for (int i = 0; i < e->nr_metrics; i++)
		if (*e->metrics[i].bounds)
			free((char *)e->metrics[i].bounds);
	free(e->metrics);
	free(e->samples);
	free(e->text);
	*e = (struct exposition){ 0 };
}
