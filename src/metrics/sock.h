#ifndef WEIR_METRICS_SOCK_H
#define WEIR_METRICS_SOCK_H
/* metrics/sock: Unix sockets at paths of any length, and descriptors at the top of the
 * numbers below 1024: the application keeps its lowest ones.
 * Threads: any. Signals: no. Errors: -errno. */
#include <sys/socket.h>

/* Another number for `fd`, close-on-exec: the highest free one below min(soft limit, 1024),
 * but not `fd` itself. -EMFILE if there is none above `floor`. `fd` itself stays open. */
int sock_high(int fd, int floor);

/* Moves a number the kernel has just given us out of the way; an error is passed on. */
int sock_raised(int fd);

int sock_new(void); /* non-blocking, close-on-exec, raised */

/* sys_bind or sys_connect at `path`. */
int sock_at(int fd, const char *path,
	    int (*call)(int, const struct sockaddr *, socklen_t));

/* What is at `path`? A socket that refuses is dead; one that we may not connect to, or not
 * look at, counts as live. */
enum found { NOTHING, DEAD_SOCKET, LIVE_SOCKET, NO_SOCKET };
enum found sock_look(const char *path);
#endif
