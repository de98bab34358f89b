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
count_more_chunks(struct stream *s, enum dir dir, uint64_t went)
{
	uint32_t chunk = s->rec->chunk[dir];

	if (chunk && went > chunk)
		count_add(&s->rec->flow[dir].chunks, (went + chunk - 1) / chunk - 1);
}
