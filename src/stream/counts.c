#include "stream/counts.h"

void
count_size_shared(enum size_histogram which, uint64_t len)
{
	bool shared;
	struct tally *tally = region_tally_get(&shared);

	count_add(&tally->count[which][size_bits(len)], 1);
	if (!shared)
		self.tally = tally;
}

void
count_native(struct stream *s, enum dir dir, uint64_t went)
{
	struct flow *flow = &stream_record(s)->flow[dir];
	uint32_t chunk = count_chunk(s, dir);

	count_add(&flow->native_calls, 1);
	count_add(&flow->native_bytes, went);
	if (chunk && went > chunk)
		count_add(&flow->chunks, (went + chunk - 1) / chunk - 1);
	count_size(dir == SENT ? SIZE_NATIVE_WRITE : SIZE_NATIVE_READ, went);
}
