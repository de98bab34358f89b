/* The region, which each member of the family may overwrite: four bytes say which documents are asked
 * for, and then pieces of STEP bytes each store one word somewhere, or make one call. The region
 * lies between pages without access (tests/unit/noise.h). */
#include "base/config.h"
#include "base/sys.h"
#include "count/holder.h"
#include "count/member.h"
#include "json_check.h"
#include "metrics/answer.h"
#include "noise.h"
#include "target.h"
#include "text_check.h"
#include <string.h>
#include <sys/mman.h>

enum { SHIFT = 5, NR_BUSY = 20, LOOK = 4, STEP = 12 };

static struct config settings = { .enabled = true,
				  .pool_enabled = true,
				  .metrics = true };
static struct answers answers;

static void
address(struct region_addr *addr, sa_family_t family)
{
	addr->len = 16;
	memcpy(addr->bytes, &family, sizeof family);
	addr->bytes[3] = 80;
}

static void
make_busy(uint32_t tid)
{
	struct record *rec;

	for (int i = 0; i < NR_BUSY; i++) {
		rec = region_open((enum role)(i % NR_ROLES), tid);
		MUST(rec);
		rec->fd = i;
		rec->cookie = 1 + (uint64_t)i % 6;
		address(&rec->local, i % 3 ? AF_INET : AF_UNIX);
		address(&rec->peer, i % 3 ? AF_INET : AF_UNIX);
		region_publish(rec);
		count_add(&rec->flow[SENT].native_bytes, 1000);
		if (i % 4 == 0)
			holder_make(rec, rec->cookie);
		if (i % 5 == 0)
			region_close(rec, sys_now_ns(), tid);
	}
}

static void
set_up(void)
{
	config = &settings;
	MUST(region_init());
	region_join(0);
	MUST(noise_region(SHIFT, true));
	region_lock_file(memfd_create("locks", MFD_CLOEXEC));
	noise_no_signals();
	make_busy((uint32_t)sys_gettid());
	noise_keep();
}

/* ---- what a hostile member does ---- */

/* The words of a part of the region; NULL: none. */
static void *
part(uint8_t which, uint16_t index, size_t *len)
{
	struct region *region = region_get();

	switch (which % 8) {
	case 0:
		*len = sizeof region->totals;
		return &region->totals;
	case 1:
		*len = sizeof region->members[0];
		return &region->members[index % 4];
	case 2:
	case 3:
	case 4:
		*len = sizeof region->records[0];
		return &region->records[index % region_nr_records()];
	case 5:
		*len = sizeof region->ended;
		return region->ended;
	case 6:
		*len = sizeof region->holders[0];
		return &region->holders[index % 8];
	}
	*len = offsetof(struct region, totals);
	return region;
}

static void
store(uint8_t which, uint16_t index, uint8_t at, uint64_t value)
{
	size_t len;
	uint64_t *words = part(which, index, &len);

	/* Nobody acts on what was said once. */
	memcpy(&words[at % (len / sizeof *words)], &value, sizeof value);
}

/* ---- what members do on their own account ---- */

static void
call(uint8_t which, uint16_t index, uint64_t value)
{
	struct region *region = region_get();
	uint32_t tid = (uint32_t)sys_gettid();
	struct record *rec;

	switch (which % 8) {
	case 0:
		rec = region_open((enum role)(index % NR_ROLES), tid);
		if (!rec)
			return;
		MUST(rec >= region->records &&
		     rec < region->records + region_nr_records());
		region_publish(rec);
		return;
	case 1:
		region_close(&region->records[index % region_nr_records()],
			     sys_now_ns(), tid);
		return;
	case 2:
		region_reap();
		return;
	case 3:
		holder_leave(index, value, tid);
		return;
	case 4:
		holder_end(index % NR_MEMBERS, tid);
		return;
	case 5:
		holder_alone(index, value);
		holder_reap(index, value);
		return;
	case 6:
		region_left((uint32_t)value, (enum ending)(index % NR_ENDINGS));
		return;
	}
	region_has((uint32_t)value);
	region_has_ended((uint32_t)value);
}

/* ---- documents ---- */

static void
look_at(const struct request *req)
{
	static char text[1 << 18];
	struct body *body = answer_get(&answers, req);

	MUST(body);
	if (req->document == DOC_METRICS) {
		MUST(body->out.len < sizeof text);
		memcpy(text, body->out.text, body->out.len);
		text[body->out.len] = '\0';
		MUST(!text_wrong(text, req->format == TEXT_OPENMETRICS));
	} else {
		MUST(json_valid(body->out.text, body->out.len));
	}
	answer_put(body);
}

static void
look(const uint8_t *choice)
{
	struct request streams = { .document = DOC_STREAMS };

	answers.snap.now_ns = 0; /* so that the next one is of now */
	look_at(&(struct request){ .document = DOC_METRICS,
				   .format = (enum text_format)(choice[0] % 2) });
	look_at(&(struct request){ .document = DOC_JSON });
	look_at(&(struct request){ .document = DOC_POOL });
	streams.query =
		(struct stream_query){ (enum stream_sort)(choice[1] % 5),
				       (enum stream_state)(choice[2] % 3), choice[3] };
	look_at(&streams);
	MUST(answers.snap.nr_streams <= region_nr_records());
	MUST(answers.snap.nr_pids <= NR_MEMBERS);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	uint64_t value;
	uint16_t index;

	if (!ready)
		set_up();
	ready = true;
	if (len < LOOK)
		return 0;
	noise_restore();
	for (const uint8_t *p = data + LOOK; p + STEP <= data + len; p += STEP) {
		memcpy(&index, p + 1, sizeof index);
		memcpy(&value, p + 4, sizeof value);
		if (p[0] & 0x80)
			call(p[0], index, value);
		else
			store(p[0], index, p[3], value);
	}
	look(data);
	return 0;
}
