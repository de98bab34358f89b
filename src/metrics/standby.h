#ifndef WEIR_METRICS_STANDBY_H
#define WEIR_METRICS_STANDBY_H
/* metrics/standby: who serves, and who comes next. Two record locks on the listening socket say
 * it, one a byte; the kernel gives them back however their process ends:
 *   SERVER_BYTE    the thread that serves
 *   STANDBY_BYTE   the one that sleeps until the other is free, and then serves
 * Both are held by threads of different processes, each in a descriptor table of its own, which
 * owns the lock: so what the application does to its numbers gives none of them back.
 *
 * Whoever finds that nobody stands by says so in the region (totals.vacant_ns); members that go
 * to sleep see it, and one of them makes the thread.
 * A lock that another thread of this process holds in its own table shows too. The bytes from
 * LOCK_MEMBERS on are of count/member.
 * Threads: standby_seat() any, the rest the thread itself. Signals: no. */
#include <stdbool.h>
#include <stdint.h>

enum { SERVER_BYTE, STANDBY_BYTE, NR_SEATS };
enum seat { SEAT_SERVER, SEAT_STANDBY, SEAT_NONE, SEAT_LATER };

/* What this process could be, were it to start a thread now. Where the parent is of the family,
 * the parent had better serve: it lives longer. SEAT_LATER: the last one that stood by was gone
 * within a second; where a process lives for one connection each would have a thread. */
enum seat standby_seat(int fd);

/* The thread: gets a descriptor table that holds `fd` alone and the server's lock, having stood by
 * for it unless the seat was free. True: it is to serve. False: both seats are taken, *stop is
 * not 0 (sys_thread_end() with SERVER_WAKE), or it failed, which is counted. *apart becomes 1 as soon as
 * it has let go of all else that the application had open: until then a close of that ends no file. */
bool standby_run(int fd, enum seat seat, const uint32_t *stop, uint32_t *apart);

/* The serving thread looks whether somebody stands by. */
void standby_check(int fd);
#endif
