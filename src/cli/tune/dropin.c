#include "cli/tune/dropin.h"
#include "cli/family.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

json_t *
dropin_variables(const struct setting *setting, const char *preload)
{
	json_t *all = json_object();
	char chunk[24], delay[24];

	snprintf(chunk, sizeof chunk, "%ld", setting->chunk);
	snprintf(delay, sizeof delay, "%ld", setting->delay_us);
	json_object_set_new(all, "LD_PRELOAD", json_path(preload));
	json_object_set_new(all, "STREAM_REQUEST_CHUNK_SIZE", json_string(chunk));
	json_object_set_new(all, "STREAM_RESPONSE_CHUNK_SIZE", json_string(chunk));
	json_object_set_new(all, "STREAM_FLUSH_DELAY_US", json_string(delay));
	return all;
}

/* The server's base name, as far as it may be a directory's in a unit. */
static void
unit_name(const char *server, struct text *out)
{
	const char *slash = strrchr(server, '/');

	for (const char *s = slash ? slash + 1 : server; *s; s++)
		if (isalnum((unsigned char)*s) || *s == '-' || *s == '_' || *s == '.')
			text_bytes(out, s, 1);
	if (!out->len || out->at[0] == '.') {
		text_clear(out);
		text_add(out, "server");
	}
}

void
dropin_unit(const char *server, json_t *variables, struct text *out)
{
	struct text name = { 0 };
	const char *key;
	json_t *value;

	unit_name(server, &name);
	text_add(out, "[Service]\n");
	json_object_foreach(variables, key, value)
	{
		text_add(out, "Environment=%s=", key);
		for (const char *s = json_string_value(value); *s; s++)
			text_add(out, "%.*s", *s == '%' ? 2 : 1, *s == '%' ? "%%" : s);
		text_add(out, "\n");
	}
	text_add(out,
		 "RuntimeDirectory=%s\nEnvironment=STREAM_METRICS_SOCKET=/run/%s/weir.sock\n",
		 text_string(&name), text_string(&name));
	text_fini(&name);
}
