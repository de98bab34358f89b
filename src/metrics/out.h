#ifndef WEIR_METRICS_OUT_H
#define WEIR_METRICS_OUT_H
/* metrics/out: a text that grows, in pages straight from the kernel: neither malloc nor
 * stdio, which belong to the application, and no locale.
 *
 * Without memory the text stops growing and `failed` is set: who finishes it looks there
 * once. A zeroed struct is an empty text.
 * Threads: one owner. Signals: no. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out {
	char *text; /* not terminated */
	size_t len, cap;
	bool failed;
};

void out_mem(struct out *out, const char *p, size_t len);
void out_str(struct out *out, const char *s);
void out_char(struct out *out, char c);
void out_u64(struct out *out, uint64_t n);
void out_i64(struct out *out, int64_t n);

/* n / 10^decimals in plain decimals, without trailing zeros: never an exponent. */
void out_fixed(struct out *out, uint64_t n, unsigned decimals);
/* Likewise, with ".0" where it is a whole number. */
void out_float(struct out *out, uint64_t n, unsigned decimals);

/* The value of a label of the Prometheus formats, without its quotes. */
void out_label(struct out *out, const char *s);

/* A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD, one for each maximal
 * part of a broken sequence. */
void out_json(struct out *out, const char *p, size_t len);

void out_clear(struct out *out); /* empty again, the pages stay */
void out_free(struct out *out);
#endif
