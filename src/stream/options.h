#ifndef WEIR_STREAM_OPTIONS_H
#define WEIR_STREAM_OPTIONS_H
/* stream/options: how sockets are set, asked of the kernel; what the application's own calls tell is
 * stream/stream.h's. Threads: any. Signals: safe. */
#include "stream/stream.h"

/* Newer than some headers. */
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef TCP_INQ
#define TCP_INQ 36
#endif

/* An option with which a socket is left alone, or only (`reads`) what is read of it. */
struct special_option {
	int level, name;
	int unset; /* its value while it is not set */
	enum bypass_reason why;
	bool reads;
};

/* NULL: it is none. */
const struct special_option *option_special(int level, int name);

/* An int option; 0 where it cannot be had. */
int option_ask(int fd, int level, int name);

/* All that rules what is held or borrowed, save what `keep` says already of blocking and
 * close-on-exec, and what stream_ask_push() asks. */
uint8_t option_ask_all(int fd, bool tcp, uint8_t keep);

/* Another process has set one of those. */
bool option_any_special(int fd);
#endif
