#ifndef WEIR_METRICS_SERVER_H
#define WEIR_METRICS_SERVER_H
/* metrics/server: answers on the metrics socket, from a thread that shares no descriptor
 * with the application. Limits: interface "The metrics socket" in the manual page.
 *
 * Never waits for one client; whoever reads slowly, sends garbage or nothing is dropped at
 * its deadline. One snapshot a second is shared by all, and equal documents are rendered
 * once. Memory: pages, given back at the end.
 *
 * server_run() is what the thread does that holds the server's lock (metrics/standby.h): it
 * returns when *stop is not 0 and SERVER_WAKE was sent to it (blocked here, so only its own
 * signalfd sees it). Errors: counted, and it returns. */
#include <signal.h>
#include <stdint.h>

/* Sent to the thread alone. Real-time signals can be refused (RLIMIT_SIGPENDING), and this
 * one no kernel sends and no program uses. */
#ifdef SIGSTKFLT
#define SERVER_WAKE SIGSTKFLT
#else
#define SERVER_WAKE SIGWINCH
#endif

enum { SERVER_CLIENTS = 16 };

void server_run(int fd, const uint32_t *stop);
#endif
