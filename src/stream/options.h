#ifndef WEIR_STREAM_OPTIONS_H
#define WEIR_STREAM_OPTIONS_H
/* stream/options: how sockets are set, asked of the kernel; what the application's own calls tell is
 * stream/stream.h's. Threads: any. Signals: safe. */
#include "stream/stream.h"

/* An int option; 0 where it cannot be had. */
int option_ask(int fd, int level, int name);

/* All that rules what is held or borrowed, save what `keep` says already of blocking and
 * close-on-exec, and what stream_ask_push() asks. */
uint8_t option_ask_all(int fd, bool tcp, uint8_t keep);

/* Another process has set it in a way that, were it our application's call, had it bypassed. */
bool option_left_alone(int fd, bool tcp);
#endif
