#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H
/* base/log: one line on stderr, "weir: ..." and a newline, written by one system call.
 *
 * None where descriptor 2 is a socket, or the write would wait or end the process by a signal; none stops it.
 * Formats %s %d %u %llu %o into 512 bytes on the
 * stack; a longer line is cut. STREAM_LOG rules what is written; config sets it.
 * Threads: any. Signals: safe. errno is left alone. No malloc, no stdio. */

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#endif
