#include "base/log.h"

#include "base/sys.h"
#include <stdarg.h>
#include <stdbool.h>

enum { LINE_MAX_LEN = 512 };

struct line {
	char text[LINE_MAX_LEN];
	unsigned len;
};

static int shown = LOG_WARN; /* A */

void
log_set_level(enum log_level level)
{
	__atomic_store_n(&shown, (int)level, __ATOMIC_RELAXED);
}

/* The last byte stays free for the newline. */
static void
put_char(struct line *line, char c)
{
	if (line->len < LINE_MAX_LEN - 1)
		line->text[line->len++] = c;
}

/* A value from the environment may hold newlines or escape sequences; shown as they are they
 * would forge lines and drive terminals. */
static void
put_string(struct line *line, const char *s)
{
	for (s = s != NULL ? s : "(null)"; *s != '\0'; s++)
		put_char(line, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void
put_number(struct line *line, unsigned long long n, unsigned base)
{
	char digits[24];
	unsigned nr = 0;

	do {
		digits[nr++] = (char)('0' + n % base);
		n /= base;
	} while (n != 0);
	while (nr > 0)
		put_char(line, digits[--nr]);
}

static void
put_int(struct line *line, int n)
{
	if (n < 0)
		put_char(line, '-');
	put_number(line, n < 0 ? 0ull - (unsigned long long)n : (unsigned long long)n,
		   10);
}

/* Writes what the conversion at `at`, behind its %, says; returns where the format goes on.
 * %l and %ll are accepted before u; a long is a long long here. */
static const char *
put_converted(struct line *line, const char *at, va_list *args)
{
	bool wide = false;

	while (*at == 'l') {
		wide = true;
		at++;
	}
	switch (*at) {
	case 's':
		put_string(line, va_arg(*args, const char *));
		break;
	case 'd':
		put_int(line, va_arg(*args, int));
		break;
	case 'u':
		put_number(line,
			   wide ? va_arg(*args, unsigned long long)
				: va_arg(*args, unsigned),
			   10);
		break;
	case 'o':
		put_number(line, va_arg(*args, unsigned), 8);
		break;
	case '\0':
		return at;
	default:
		put_char(line, *at);
	}
	return at + 1;
}

/* Descriptor 2 takes `len` bytes at once, and without a signal: SIGXFSZ where a file is as long as it may be,
 * SIGPIPE where nobody reads a pipe. */
static bool
stderr_takes(size_t len)
{
	struct pollfd pfd = { .fd = 2, .events = POLLOUT };
	struct stat st;
	int64_t end;

	if (sys_fstat(2, &st) < 0 || S_ISSOCK(st.st_mode))
		return false;
	if (S_ISREG(st.st_mode)) {
		/* Beyond the size where somebody has cut the file off. */
		end = sys_position(2);
		if (end < st.st_size)
			end = st.st_size;
		return (uint64_t)end + len <= sys_file_limit();
	}
	return sys_poll(&pfd, 1, 0) == 1 && pfd.revents == POLLOUT;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	struct line line = { .len = 0 };
	sigset_t before;
	va_list args;

	if (level == LOG_OFF || (int)level > __atomic_load_n(&shown, __ATOMIC_RELAXED))
		return;
	put_string(&line, "weir: ");
	va_start(args, fmt);
	while (*fmt != '\0')
		if (*fmt == '%')
			fmt = put_converted(&line, fmt + 1, &args);
		else
			put_char(&line, *fmt++);
	va_end(args);
	line.text[line.len++] = '\n';
	if (!stderr_takes(line.len))
		return;
	/* A terminal that stops who writes from behind lets pass who blocks SIGTTOU. */
	sys_signals_block(&before);
	sys_write(2, line.text, line.len);
	sys_signals_restore(&before);
}
