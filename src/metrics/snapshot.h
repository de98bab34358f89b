#ifndef WEIR_METRICS_SNAPSHOT_H
#define WEIR_METRICS_SNAPSHOT_H
/* metrics/snapshot: one consistent copy of what the region shows.
 *
 * The region is untrusted: any member may be hostile. Every index, length and enum in it is
 * bounded here, so that who reads a snapshot need not ask again; numbers may be false, never
 * dangerous. kernel_bytes and discarded are read before the application's bytes, so that
 *   app_bytes = kernel_bytes + pending + discarded         in every direction and total
 *
 * Several processes may use one stream; each has a record of its own with the same cookie.
 * Here they are one stream with their flows added, shown as the process that last used it.
 * A record that a dead process left open is closed here.
 *
 * Threads: one at a time. Signals: no. Memory: pages, kept until snapshot_free(). */
#include "count/region.h"
#include "metrics/view.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef PACKAGE_VERSION
#define WEIR_VERSION PACKAGE_VERSION
#else
#define WEIR_VERSION "unknown"
#endif

enum { SHOWN_CLOSED = 256, NR_POOL_TIERS = 9 };

struct stream_view {
	struct flow_view flow[NR_DIRS];
	uint64_t cookie, inode, closed_seq;
	uint64_t opened_ns, age_ns, idle_ns;
	uint64_t moved_ns; /* when bytes last moved: whose pid is shown */
	uint32_t chunk[NR_DIRS];
	int32_t pid, fd;
	bool open;
	uint8_t role, family, mode, bypass, blocked; /* inside their sets */
	struct region_addr local, peer;              /* len inside bytes[] */
};

struct ended {
	int32_t pid;
	enum ending how;
};

struct snapshot {
	uint64_t number; /* of snapshots taken */
	uint64_t now_ns, wall_ms;
	uint64_t started_ns, started_wall_ms;
	int32_t first_pid;
	struct totals totals;
	struct flow_view total[NR_ROLES][NR_DIRS]; /* over all records */
	uint64_t open[NR_ROLES][NR_MODES];         /* opened - closed = open */
	uint64_t stalled; /* streams whose sending is held back now, counted once for each process that
			   * is held back */
	uint64_t sizes[NR_SIZES][NR_SIZE_BOUNDS + 1];
	struct pool_count pool[NR_POOL_TIERS];
	uint64_t accept_queue, accept_limit; /* of the fullest listener */
	uint32_t nr_pids;
	int32_t pids[NR_MEMBERS]; /* live members */
	uint32_t nr_ended;
	struct ended ended[KEPT_ENDED]; /* the last ones that left, or were killed */

	bool listed; /* the streams as well: */
	struct stream_view *streams;
	uint32_t nr_streams;
	uint32_t *order; /* what /streams sorts: indexes of streams */
	size_t streams_cap;
	/* Per record, from look to look: what it had moved, and when that changed. */
	struct last_look *looks;
	uint32_t *join; /* hash table from cookie to 1 + stream */
	uint32_t join_cap;
};

/* Fills `snap`, zeroed before its first use. `list`: with the single streams, of which only /streams
 * tells and which are most of the work. False: no region or no memory. */
bool snapshot_take(struct snapshot *snap, bool list);
void snapshot_free(struct snapshot *snap);

/* Gives the streams back; what the next snapshot compares with stays. */
void snapshot_trim(struct snapshot *snap);

/* Requests are what accepted sockets receive and connected ones send. */
enum way { REQUEST, RESPONSE, NR_WAYS };
static inline enum dir
way_dir(enum way way, enum role role)
{
	return (way == REQUEST) == (role == ROLE_ACCEPTED) ? RECEIVED : SENT;
}
#endif
